"""Train the learned annotator: ``python -m annotations.train GOLD.jsonl [MORE.jsonl ...] --out weights.json``."""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp
from sklearn.feature_extraction.text import CountVectorizer  # type: ignore[import-untyped]
from sklearn.linear_model import LogisticRegression  # type: ignore[import-untyped]
from sklearn.model_selection import GroupKFold  # type: ignore[import-untyped]

from annotations._features import read_features
from annotations._text.alignment import NO_UNIT, deciding_units
from annotations._text.parse import pipeline_for
from annotations.agreement import Agreement, GoldChain, compare, read_gold, report
from reasoning_anatomy.categories import CATEGORIES
from reasoning_anatomy.errors import AnnotationError, ReasoningAnatomyError
from reasoning_anatomy.files import write_atomic
from reasoning_anatomy.types import FloatArray

STRENGTH: Final = 1.0
"""Inverse of the L2 penalty, scikit-learn's ``C``."""
MIN_UNITS: Final = 2
"""A feature that holds of fewer units is left out."""
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
    """A classifier and how well its like did on questions left out of the training.

    Attributes
    ----------
    features, matrix, temperature
        Names of the features, their (n_features, 6) log-odds, and what divides the log-odds for calibration.
    held_out
        Agreement with the gold labels of classifiers that never saw a chain of the question, over all units.
    confidence, accuracy
        Mean stated probability of these predictions, and the share that is right.
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
        layout, found = read_features(chain.reasoning, chain.question, pipeline)
        spans = np.array([(unit.start, unit.end) for unit in layout.units], dtype=np.int64).reshape(-1, 2)
        for unit, owner in enumerate(deciding_units(spans, chain.spans, chain.category)):
            if owner != NO_UNIT:
                text.append(layout.units[unit].text)
                features.append(found[unit])
                category.append(CATEGORIES.index(chain.category[owner]))
                questions.append(chain.question)
    return Examples(text, features, np.array(category), questions)


def train(examples: Examples) -> Trained:
    """Fit on all examples; the temperature comes from predictions across questions that were held out in turn."""
    features, matrix = _fit(examples.features, examples.category)
    logits, gold = held_out_logits(examples), examples.category
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
        raise AnnotationError(f"gold chains of {n_questions} question cannot be cross-validated; give those of two or more")
    for kept, left_out in GroupKFold(min(FOLDS, n_questions)).split(logits, groups=examples.question):
        names, matrix = _fit([examples.features[index] for index in kept], examples.category[kept])
        rows = {name: row for row, name in enumerate(names)}
        for index in left_out:
            logits[index] = matrix[[rows[name] for name in examples.features[index] if name in rows]].sum(axis=0)
    return logits


def write(trained: Trained, path: Path) -> None:
    """Write a classifier as JSON, one feature per line, so that two of them can be compared."""
    rows = [
        f"{json.dumps(name, ensure_ascii=False)}: {json.dumps([round(float(value), 3) + 0.0 for value in weights])}"
        for name, weights in zip(trained.features, trained.matrix, strict=True)
        if np.abs(weights).max() >= 0.0005
    ]
    head = f'"categories": {json.dumps(list(CATEGORIES))},\n"temperature": {trained.temperature:.3f},\n'
    write_atomic(path, "{\n" + head + '"weights": {\n' + ",\n".join(rows) + "\n}\n}\n")


def _fit(features: Sequence[Sequence[str]], category: NDArray[np.int64]) -> tuple[list[str], FloatArray]:
    vectorizer = CountVectorizer(analyzer=_itself, binary=True, min_df=MIN_UNITS)
    classifier = LogisticRegression(C=STRENGTH, max_iter=1000, fit_intercept=False)
    classifier.fit(vectorizer.fit_transform(features), category)
    matrix = np.full((len(vectorizer.vocabulary_), len(CATEGORIES)), 0.0)
    matrix[:, classifier.classes_] = classifier.coef_.T if len(classifier.classes_) > 2 else _two(classifier)
    return list(vectorizer.get_feature_names_out()), matrix


def _two(classifier: Any) -> FloatArray:
    """scikit-learn keeps one column for two classes."""
    return np.concatenate([-classifier.coef_, classifier.coef_]).T / 2


def _itself(features: Sequence[str]) -> Sequence[str]:
    return features


def _temperature(logits: FloatArray, category: NDArray[np.int64]) -> float:
    rows = np.arange(len(category))
    losses = [-_log_probabilities(logits / temperature)[rows, category].mean() for temperature in TEMPERATURES]
    return float(TEMPERATURES[int(np.argmin(losses))])


def _log_probabilities(logits: FloatArray) -> FloatArray:
    result: FloatArray = logits - logsumexp(logits, axis=1, keepdims=True)
    return result


def main(arguments: Sequence[str] | None = None) -> int:
    """Train on files of gold labels and write the weights."""
    parser = argparse.ArgumentParser(prog="python -m annotations.train", description="Train the learned annotator.")
    parser.add_argument("gold", nargs="+", type=Path, help="files of gold labels")
    parser.add_argument("--out", required=True, type=Path, help="file to write; name it in learned:weights=FILE")
    parser.add_argument("--model", default="auto", help="spaCy pipeline, as for the annotator rules")
    chosen = parser.parse_args(arguments)
    try:
        examples = read_examples([chain for path in chosen.gold for chain in read_gold(path)], model=chosen.model)
        trained = train(examples)
        write(trained, chosen.out)
    except ReasoningAnatomyError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.write(_report(trained, examples, chosen.out))
    return 0


def _report(trained: Trained, examples: Examples, path: Path) -> str:
    return (
        f"{path}: trained on {len(examples.features)} units of {len(set(examples.question))} questions\n"
        f"on questions left out of the training:\n\n{report(trained.held_out)}\n"
        f"mean confidence        {trained.confidence:.3f}\n"
        f"accuracy               {trained.accuracy:.3f}\n"
    )


if __name__ == "__main__":
    sys.exit(main())
