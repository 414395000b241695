"""Train the learned annotator: ``python -m annotations.train GOLD.jsonl [MORE.jsonl ...] --out weights.json``."""

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final

import numpy as np
import tyro
from numpy.typing import NDArray
from scipy.special import logsumexp
from sklearn.feature_extraction.text import CountVectorizer  # type: ignore[import-untyped]
from sklearn.linear_model import LogisticRegression  # type: ignore[import-untyped]
from sklearn.model_selection import GroupKFold  # type: ignore[import-untyped]
from tyro.conf import Positional, arg

from annotations._features import read_features
from annotations._text.alignment import NO_UNIT, deciding_units
from annotations._text.parse import pipeline_for
from annotations.agreement import Agreement, GoldChain, compare, read_gold, report
from reasoning_anatomy.categories import CATEGORIES
from reasoning_anatomy.errors import AnnotationError
from reasoning_anatomy.files import write_atomic
from reasoning_anatomy.types import FloatArray

STRENGTH: Final = 1.0
"""Inverse of the L2 penalty, scikit-learn's ``C``."""
MIN_UNITS: Final = 2
"""A feature of fewer units is left out."""
FOLDS: Final = 10
TEMPERATURES: Final = np.geomspace(0.25, 4.0, 65)


@dataclass(frozen=True)
class Examples:
    """Units to learn from: their texts, features, categories (index into ``CATEGORIES``) and questions."""

    text: list[str]
    features: list[list[str]]
    category: NDArray[np.int64]
    question: list[str]


@dataclass(frozen=True)
class Trained:
    """A classifier, and how well such classifiers do on questions that were left out of their training.

    Attributes
    ----------
    features, matrix, temperature
        Names of the features, their (n_features, 6) log-odds, and the divisor that calibrates the log-odds.
    held_out
        Agreement of the gold labels, over all units, with classifiers that never saw a chain of the question.
    confidence, accuracy
        Mean stated probability of these predictions, and the share that is correct.
    """

    features: list[str]
    matrix: FloatArray
    temperature: float
    held_out: Agreement
    confidence: float
    accuracy: float


def read_examples(chains: Sequence[GoldChain], *, model: str = "auto") -> Examples:
    """Features of the units of gold chains, each with the gold category of the span that covers most of it."""
    pipeline = pipeline_for(model, annotator="learned")
    text: list[str] = []
    features: list[list[str]] = []
    category: list[int] = []
    questions: list[str] = []
    for chain in chains:
        layout, unit_features = read_features(chain.reasoning, chain.question, pipeline)
        spans = np.array([(unit.start, unit.end) for unit in layout.units], dtype=np.int64).reshape(-1, 2)
        for unit, owner in enumerate(deciding_units(spans, chain.spans, chain.category)):
            if owner != NO_UNIT:
                text.append(layout.units[unit].text)
                features.append(unit_features[unit])
                category.append(CATEGORIES.index(chain.category[owner]))
                questions.append(chain.question)
    return Examples(text, features, np.array(category), questions)


def train(examples: Examples) -> Trained:
    """Fit on all examples; the temperature comes from predictions for questions that were held out in turn."""
    logits, gold = held_out_logits(examples), examples.category
    features, matrix = _fit(examples.features, gold)
    predicted = logits.argmax(axis=1)
    temperature = _temperature(logits, gold)
    return Trained(
        features,
        matrix,
        temperature,
        held_out=compare([CATEGORIES[at] for at in gold], [CATEGORIES[at] for at in predicted], examples.text),
        confidence=float(np.exp(_log_probabilities(logits / temperature).max(axis=1)).mean()),
        accuracy=float((predicted == gold).mean()),
    )


def held_out_logits(examples: Examples) -> FloatArray:
    """Log-odds of every unit from a classifier that never saw a chain of its question. (n_units, 6)."""
    logits = np.zeros((len(examples.features), len(CATEGORIES)))
    n_questions = len(set(examples.question))
    if n_questions < 2:
        raise AnnotationError(
            f"cross-validation needs gold chains of at least two questions, got {n_questions}; name more files of gold labels"
        )
    for kept, left_out in GroupKFold(min(FOLDS, n_questions)).split(logits, groups=examples.question):
        names, matrix = _fit([examples.features[index] for index in kept], examples.category[kept])
        rows = {name: row for row, name in enumerate(names)}
        for index in left_out:
            logits[index] = matrix[[rows[name] for name in examples.features[index] if name in rows]].sum(axis=0)
    return logits


def write(trained: Trained, path: Path) -> None:
    """Write a classifier as JSON, one feature per line, so that two classifiers can be compared line by line."""
    rows = [
        f"{json.dumps(name, ensure_ascii=False)}: {json.dumps([round(float(value), 3) + 0.0 for value in weights])}"
        for name, weights in zip(trained.features, trained.matrix, strict=True)
        if np.abs(weights).max() >= 0.0005
    ]
    head = f'"categories": {json.dumps(list(CATEGORIES))},\n"temperature": {trained.temperature:.3f},\n'
    write_atomic(path, "{\n" + head + '"weights": {\n' + ",\n".join(rows) + "\n}\n}\n")


def _fit(features: Sequence[Sequence[str]], category: NDArray[np.int64]) -> tuple[list[str], FloatArray]:
    vectorizer = CountVectorizer(analyzer=list, binary=True, min_df=MIN_UNITS)
    classifier = LogisticRegression(C=STRENGTH, max_iter=1000, fit_intercept=False)
    classifier.fit(vectorizer.fit_transform(features), category)
    matrix = np.full((len(vectorizer.vocabulary_), len(CATEGORIES)), 0.0)
    matrix[:, classifier.classes_] = classifier.coef_.T if len(classifier.classes_) > 2 else _two(classifier)
    return list(vectorizer.get_feature_names_out()), matrix


def _two(classifier: Any) -> FloatArray:
    """scikit-learn keeps one column for two classes."""
    return np.concatenate([-classifier.coef_, classifier.coef_]).T / 2


def _temperature(logits: FloatArray, category: NDArray[np.int64]) -> float:
    rows = np.arange(len(category))
    losses = [-_log_probabilities(logits / temperature)[rows, category].mean() for temperature in TEMPERATURES]
    return float(TEMPERATURES[int(np.argmin(losses))])


def _log_probabilities(logits: FloatArray) -> FloatArray:
    result: FloatArray = logits - logsumexp(logits, axis=1, keepdims=True)
    return result


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of ``python -m annotations.train``."""
    from reasoning_anatomy.cli import errors_as_one_line

    with errors_as_one_line():
        tyro.cli(_train_and_write, prog="python -m annotations.train", args=arguments)


def _train_and_write(
    gold: Annotated[
        Positional[tuple[Path, ...]], arg(help="Files of gold labels.", help_behavior_hint="", metavar="GOLD [GOLD ...]")
    ],
    out: Annotated[Path, arg(help="File to write; name it in learned:weights=FILE.")],
    model: Annotated[str, arg(help="spaCy pipeline, as for the annotator rules.")] = "auto",
) -> None:
    """Train the learned annotator and print how well it does on questions left out of the training."""
    examples = read_examples([chain for path in gold for chain in read_gold(path)], model=model)
    trained = train(examples)
    write(trained, out)
    sys.stdout.write(_report(trained, examples, out))


def _report(trained: Trained, examples: Examples, path: Path) -> str:
    return (
        f"{path}: trained on {len(examples.features)} units of {len(set(examples.question))} questions\n"
        f"on questions left out of the training:\n\n{report(trained.held_out)}\n"
        f"mean confidence        {trained.confidence:.3f}\n"
        f"accuracy               {trained.accuracy:.3f}\n"
    )


if __name__ == "__main__":
    main()
