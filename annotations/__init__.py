"""Tokens to functional categories: one annotator per file, the guidelines, the gold labels, agreement."""

import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from annotations.token_roles import write_token_roles
from reasoning_anatomy import plugins
from reasoning_anatomy.errors import AnnotationError
from reasoning_anatomy.run.folder import Run, expect_annotator_name

__all__ = ["annotate_run", "label_spans"]


def label_spans(
    text: str,
    spans: Sequence[tuple[int, int]] | npt.NDArray[np.integer],
    annotator: str = "rules",
    question: str | None = None,
) -> list[str]:
    """Category of every token of a text.

    Parameters
    ----------
    text
        The reasoning of one chain.
    spans
        (n, 2) half-open character spans of its tokens.
    annotator
        Key and options of an annotator: ``"rules"``, ``"rules:model=blank"``.
    question
        The problem that the reasoning solves, where known: it tells the story's words from the solver's.

    Returns
    -------
    One of ``reasoning_anatomy.categories.CATEGORIES`` per span.

    Raises
    ------
    AnnotationError
        A span does not fit the text, the text is none that can be written, or the annotator cannot label it.
    """
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise AnnotationError(f"text holds half of a surrogate pair at character {error.start}; repair the text") from error
    return list(plugins.load("annotator", annotator).annotate(text, spans, question=question).category)


def annotate_run(
    run: Run,
    *,
    annotator: str = "rules",
    name: str | None = None,
    progress: Callable[[Iterable[str]], Iterable[str]] | None = None,
) -> Path:
    """Label every measured chain of a run and write the labels, and the roles of its tokens, into it.

    Parameters
    ----------
    run
        Where the chains and the spans of their tokens are.
    annotator
        Key and options of an annotator.
    name
        Under which the labels are kept: that of the file and of the columns. Where None, the annotator's own, with the options
        that differ from the default: ``rules``, ``rules-model-blank``.
    progress
        Wraps the iteration over the chains, as ``tqdm.tqdm`` does.

    Returns
    -------
    The file written, ``RUN/annotations/<name>.parquet``; labels that this annotator wrote there before are replaced.

    Raises
    ------
    AnnotationError
        No chain is measured, the name holds the labels of somebody else, or a chain cannot be labelled.
    RunError
        The name cannot be that of a file.
    """
    plugin = plugins.load("annotator", annotator)
    measured = run.measured
    if not measured:
        raise AnnotationError(f"{run.folder}: has no measured chain to annotate; finish the run first")
    kept_as = name or str(getattr(plugin, "name", re.sub(r"[^\w.]+", "-", plugins.label(plugin), flags=re.ASCII)))
    expect_annotator_name(kept_as)
    _expect_own(run, kept_as, plugins.key_of(plugin))
    labels = {}
    for chain_id in progress(measured) if progress else measured:
        chain, encoded = run.chains[chain_id], run.measurement(chain_id).encoded
        try:
            labels[chain_id] = plugin.annotate(chain.reasoning, encoded.spans, question=chain.question)
        except AnnotationError as error:
            raise AnnotationError(f"chain {chain_id!r}: {error}") from error
    write_token_roles(run)
    return run.write_annotations(kept_as, labels)


def _expect_own(run: Run, name: str, key: str) -> None:
    """Refuse a name that holds labels of another annotator: those of people cannot be made again."""
    if name not in run.annotators:
        return
    provenance = run.annotator(name)
    class_name = provenance.partition("(")[0].lower()  # a plugin's class has the name of its key, now or formerly
    if class_name not in {own.replace("_", "") for own in (key, *plugins.available("annotator")[key].also_called)}:
        raise AnnotationError(f"{run.folder}: {name!r} holds the labels of {provenance}; give another name with --as")
