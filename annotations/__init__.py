"""From tokens to functional categories: one annotator per file, the guidelines, the gold labels, agreement."""

import re
import warnings
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from annotations.token_roles import TokenRoles
from reasoning_anatomy import plugins
from reasoning_anatomy.errors import AnnotationError
from reasoning_anatomy.language import language_caveat
from reasoning_anatomy.plugins import Plugin
from reasoning_anatomy.run.folder import Run
from reasoning_anatomy.run.labels import expect_annotator_name
from reasoning_anatomy.types import Annotation

__all__ = ["Annotator", "NamesItsLabels", "annotate_run", "label_spans"]


class Annotator(Plugin, Protocol):
    """What a plugin of the kind ``annotator`` is: a frozen dataclass with this method; `NamesItsLabels` is an optional part."""

    def annotate(
        self, text: str, spans: Sequence[tuple[int, int]] | npt.NDArray[np.integer], *, question: str | None = None
    ) -> Annotation:
        """Label every span of a text.

        Parameters
        ----------
        text
            The reasoning of one chain.
        spans
            (n, 2) half-open character spans of its tokens, in any order; they may share characters or be empty.
        question
            The problem that the reasoning solves, if it is known.

        Returns
        -------
        One category per span, in the order of the spans, with the annotator's ``repr`` as provenance.

        Raises
        ------
        AnnotationError
            A span does not fit the text, or the annotator cannot label it: there is no default category.
        """


@runtime_checkable
class NamesItsLabels(Annotator, Protocol):
    """An annotator whose labels a run does not keep under its key and options, but under a name of its own."""

    @property
    def name(self) -> str:
        """Name of the labels: of their file and of their columns."""


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
        The problem that the reasoning solves, if it is known: it tells words of the story from words of the solver.

    Returns
    -------
    One of ``reasoning_anatomy.categories.CATEGORIES`` per span.

    Raises
    ------
    AnnotationError
        A span does not fit the text, the text holds half of a surrogate pair, or the annotator cannot label a span.
    """
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise AnnotationError(f"text holds half of a surrogate pair at character {error.start}; repair the text") from error
    category = _load(annotator).annotate(text, spans, question=question).category
    labels = [label for label in category if label is not None]
    if len(labels) < len(category):
        raise AnnotationError(f"{annotator}: leaves span {category.index(None)} without a category; take another annotator")
    return labels


def annotate_run(
    run: Run,
    *,
    annotator: str = "rules",
    name: str | None = None,
    progress: Callable[[Iterable[str]], Iterable[str]] | None = None,
) -> Path:
    """Label every measured chain of a run and write the labels, and the roles of its tokens, into it.

    If chains are not in English, it warns once and says how many.

    Parameters
    ----------
    run
        The run, which has the chains and the spans of their tokens.
    annotator
        Key and options of an annotator.
    name
        Name of the labels: of their file and of their columns. If None, the annotator's own: its key and the options that
        differ from the default (``rules``, ``rules-model-blank``), unless it has a name for them (`NamesItsLabels`).
    progress
        Wraps the iteration over the chains, as ``tqdm.tqdm`` does.

    Returns
    -------
    The file written, ``RUN/annotations/<name>.parquet``. It replaces labels that the same annotator wrote there before.

    Raises
    ------
    AnnotationError
        No chain is measured, the name holds labels of another annotator, or a chain cannot be labelled.
    RunError
        The name cannot be that of a file.
    """
    plugin = _load(annotator)
    measured = run.measured
    if not measured:
        raise AnnotationError(f"{run.folder}: has no measured chain to annotate; finish the run first")
    kept_as = name or _own_name(plugin)
    expect_annotator_name(kept_as)
    _expect_own(run, kept_as, plugins.key_of(plugin))
    if caveat := language_caveat([run.chains[chain_id].reasoning for chain_id in measured]):
        warnings.warn(caveat, UserWarning, stacklevel=2)
    labels, roles = {}, {}
    for chain_id in progress(measured) if progress else measured:
        chain, encoded = run.chains[chain_id], run.encoded(chain_id)
        try:
            labels[chain_id] = plugin.annotate(chain.reasoning, encoded.spans, question=chain.question)
            roles[chain_id] = TokenRoles().roles(chain, encoded.spans)
        except AnnotationError as error:
            raise AnnotationError(f"chain {chain_id!r}: {error}") from error
    run.write_token_roles(roles)
    return run.write_annotations(kept_as, labels)


def _load(spec: str) -> Annotator:
    annotator: Annotator = plugins.load("annotator", spec)
    return annotator


def _own_name(annotator: Annotator) -> str:
    if isinstance(annotator, NamesItsLabels):
        return annotator.name
    return re.sub(r"[^\w.]+", "-", plugins.label(annotator), flags=re.ASCII)


def _expect_own(run: Run, name: str, key: str) -> None:
    """Refuse a name that holds labels of another annotator: those of people cannot be made again."""
    if name not in run.annotators:
        return
    provenance = run.annotator(name)
    class_name = provenance.partition("(")[0].lower()  # a plugin's class has the name of its key, present or former
    if class_name not in {own.replace("_", "") for own in (key, *plugins.available("annotator")[key].also_called)}:
        raise AnnotationError(f"{run.folder}: {name!r} holds the labels of {provenance}; give another name with --as")
