"""Tokens to functional categories: one annotator per file, the guidelines, the gold labels, agreement."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from reasoning_anatomy import plugins
from reasoning_anatomy.errors import AnnotationError
from reasoning_anatomy.run import Run

__all__ = ["annotate_run", "label_spans"]


def label_spans(
    text: str,
    spans: Sequence[tuple[int, int]] | npt.NDArray[np.integer],
    annotator: str = "spacy",
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
        Key and options of an annotator: ``"spacy"``, ``"spacy:model=blank"``.
    question
        The problem that the reasoning solves, where known: it tells the story's words from the solver's.

    Returns
    -------
    One of ``annotations.scheme.CATEGORIES`` per span.
    """
    return list(plugins.load("annotator", annotator).annotate(text, spans, question=question).category)


def annotate_run(
    run: Run, *, annotator: str = "spacy", progress: Callable[[Iterable[str]], Iterable[str]] | None = None
) -> Path:
    """Label every measured chain of a run and write the labels into it.

    Parameters
    ----------
    run
        Where the chains and the spans of their tokens are.
    annotator
        Key and options of an annotator.
    progress
        Wraps the iteration over the chains, as ``tqdm.tqdm`` does.

    Returns
    -------
    The file written, ``RUN/annotations/<key>.parquet``; labels that were there before are replaced.
    """
    plugin = plugins.load("annotator", annotator)
    measured = run.measured
    if not measured:
        raise AnnotationError(f"{run.folder}: has no measured chain to annotate; finish the run first")
    labels = {}
    for chain_id in progress(measured) if progress else measured:
        chain, encoded = run.chains[chain_id], run.measurement(chain_id).encoded
        labels[chain_id] = plugin.annotate(chain.reasoning, encoded.spans, question=chain.question)
    return run.write_annotations(plugins.key_of(plugin), labels)
