"""A second opinion: a linear classifier of units, trained on gold labels."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from annotations._features import read_features
from annotations._text.alignment import NO_UNIT, check_spans, deciding_units
from annotations._text.english import without_confidence
from annotations._text.parse import name_of, pipeline_for
from reasoning_anatomy.categories import CATEGORIES, FUNCTION
from reasoning_anatomy.errors import AnnotationError
from reasoning_anatomy.types import Annotation, FloatArray

if TYPE_CHECKING:
    from spacy.language import Language

SHIPPED: Final = Path(__file__).parent / "learned.json"


@dataclass(frozen=True)
class Weights:
    """A trained classifier.

    Attributes
    ----------
    features
        Row of every feature.
    matrix
        (n_features, 6) log-odds, one column per category in the order of ``reasoning_anatomy.categories.CATEGORIES``.
    temperature
        Divisor of the log-odds, fitted on questions held out of the training, so that a stated confidence is the share of
        units that are correct.
    digest
        Digest of the file.
    """

    features: dict[str, int]
    matrix: FloatArray
    temperature: float
    digest: str

    def probabilities(self, units: Sequence[Sequence[str]]) -> FloatArray:
        """Probability of every category for every unit, given the features of each. (n_units, 6)."""
        logits = np.zeros((len(units), len(CATEGORIES)))
        for row, features in enumerate(units):
            logits[row] = self.matrix[[self.features[name] for name in features if name in self.features]].sum(axis=0)
        logits = logits / self.temperature
        exponentials = np.exp(logits - logits.max(axis=1, keepdims=True, initial=-np.inf))
        probabilities: FloatArray = exponentials / exponentials.sum(axis=1, keepdims=True)
        return probabilities


@dataclass(frozen=True, kw_only=True)
class Learned:
    """Six categories from a logistic regression over characters, neighbours, tags, dependencies and the question.

    Each unit is decided by itself, without the lexicons and decisions of ``rules``; a token takes the category of the unit
    that it overlaps most. ``docs/annotation.md`` says how well this works on questions held out of the training.

    Attributes
    ----------
    weights
        File that ``python -m annotations.train`` wrote; empty for the file that comes with the package.
    model
        Name of an installed spaCy pipeline for English, as for ``rules``.
    """

    weights: str = ""
    model: str = "auto"

    def annotate(
        self, text: str, spans: Sequence[tuple[int, int]] | npt.NDArray[np.integer], *, question: str | None = None
    ) -> Annotation:
        """Label every span of a text.

        Parameters
        ----------
        text
            The reasoning of one chain.
        spans
            (n, 2) half-open character spans of the tokens.
        question
            The problem that the reasoning solves.

        Returns
        -------
        One category per span, in the order of the spans; its confidence is the probability of the category, or NaN as for
        ``rules``, because the classifier learned from English alone.

        Raises
        ------
        AnnotationError
            A span does not fit the text, the file of weights cannot be read, or the spaCy model is not installed.
        """
        checked = check_spans(spans, len(text))
        weights = read_weights(Path(self.weights).expanduser() if self.weights else SHIPPED)
        pipeline = pipeline_for(self.model, annotator="learned")
        layout, features = read_features(text, question, pipeline)
        probabilities = weights.probabilities(features)
        best = probabilities.argmax(axis=1) if len(features) else np.zeros(0, dtype=np.int64)
        category = [CATEGORIES[index] for index in best]
        confidence = np.where(without_confidence(layout), np.nan, probabilities.max(axis=1)) if len(features) else np.zeros(0)
        units = [(unit.start, unit.end) for unit in layout.units]
        owners = deciding_units(checked, units, category, in_formula=layout.formula, text=text)
        return Annotation(
            self._provenance(weights, pipeline),
            tuple(FUNCTION if index == NO_UNIT else category[index] for index in owners),
            np.array([1.0 if index == NO_UNIT else confidence[index] for index in owners], np.float64),
        )

    def _provenance(self, weights: Weights, pipeline: "Language | None") -> str:
        return f"{self!r} weights {weights.digest[:12]}, {name_of(pipeline)}"


def read_weights(path: Path) -> Weights:
    """Read a trained classifier; `AnnotationError` says what is wrong with its file."""
    try:
        return _read_weights(path, path.stat().st_mtime_ns)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise AnnotationError(
            f"{path}: does not hold weights of the learned annotator ({error!r}); make them with: python -m annotations.train"
        ) from error


@cache
def _read_weights(path: Path, modified: int) -> Weights:
    content = path.read_bytes()
    record = json.loads(content)
    if record["categories"] != list(CATEGORIES):
        raise ValueError(f"categories are {record['categories']}, expected {list(CATEGORIES)}")
    rows = record["weights"]
    matrix = np.array(list(rows.values()), dtype=np.float64).reshape(len(rows), len(CATEGORIES))
    temperature = float(record["temperature"])
    if not (np.isfinite(matrix).all() and 0 < temperature < np.inf):
        raise ValueError(f"temperature {temperature} and weights must be finite, the temperature above zero")
    features = {name: row for row, name in enumerate(rows)}
    return Weights(features, matrix, temperature, hashlib.sha256(content).hexdigest())
