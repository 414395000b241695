"""What annotators said of the same tokens, question by question, and the intervals that follow from it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from analyses._annotator_agreement.labels import Labels
from analyses._statistics.agreement import MISSING, coincidences, confusion
from analyses._statistics.bootstrap import Counts, bootstrap_means, resample_counts
from analyses._statistics.questions import pseudo_values
from reasoning_anatomy.categories import CATEGORIES
from reasoning_anatomy.types import FloatArray, IntArray

Measure = Callable[[FloatArray], FloatArray]


@dataclass(frozen=True, eq=False)
class LabelSample:
    """The tokens that some annotators have labelled, as a sample of questions.

    Attributes
    ----------
    codes
        (annotators, n) place in ``CATEGORIES``; `MISSING` for a token without a label.
    questions
        (n,) number of every token's question, from 0.
    n_chains
        Chains that the tokens are of.
    draws, confidence, seed
        Of the bootstrap.
    """

    codes: IntArray
    questions: IntArray
    n_chains: int
    draws: int
    confidence: float
    seed: int

    @classmethod
    def of(cls, labels: Labels, chosen: Sequence[int], *, draws: int, confidence: float, seed: int) -> "LabelSample":
        """Take the tokens that at least two of the chosen annotators, by number, have labelled."""
        codes = labels.codes[list(chosen)]
        used = (codes != MISSING).sum(axis=0) > 1
        chains = {chain_id for chain_id, is_used in zip(labels.chain_ids, used, strict=True) if is_used}
        return cls(
            codes[:, used], np.unique(labels.questions[used], return_inverse=True)[1], len(chains), draws, confidence, seed
        )

    @property
    def n_tokens(self) -> int:
        """Number of tokens."""
        return int(self.codes.shape[1])

    @property
    def n_questions(self) -> int:
        """Number of questions."""
        return int(self.questions.max()) + 1

    @cached_property
    def confusions(self) -> FloatArray:
        """(questions, categories, categories) of the two annotators."""
        return self._by_question(lambda codes: confusion(codes[0], codes[1], len(CATEGORIES)))

    @cached_property
    def coincidences(self) -> FloatArray:
        """(questions, categories, categories) of all annotators."""
        return self._by_question(lambda codes: coincidences(codes, len(CATEGORIES)))

    @cached_property
    def _resamples(self) -> Counts:
        return resample_counts(self.n_questions, draws=self.draws, rng=np.random.default_rng(self.seed))

    def _by_question(self, count: Callable[[IntArray], FloatArray]) -> FloatArray:
        return np.stack([count(self.codes[:, self.questions == question]) for question in range(self.n_questions)])

    def rows(self, counts: FloatArray, measure: Measure, terms: Sequence[str], *, lowest: float) -> list[dict[str, Any]]:
        """One row of the table per term.

        Parameters
        ----------
        counts
            (questions, categories, categories) to compute from.
        measure
            (many, categories, categories) to (many, terms).
        terms
            Their names.
        lowest
            Of the measure; its largest is 1, and no interval leaves the two.
        """
        values = pseudo_values(counts, measure)
        means = bootstrap_means(values, self._resamples, confidence=self.confidence)
        estimate = measure(counts.sum(axis=0)[None])[0]
        return [
            {
                "term": term,
                "estimate": estimate[column],
                "ci_low": max(means.ci_low[column], lowest),
                "ci_high": min(means.ci_high[column], 1.0),
                "p_value": np.nan,
                "p_adjusted": np.nan,
                "n_questions": self.n_questions,
                "n_chains": self.n_chains,
                "n_tokens": self.n_tokens,
            }
            for column, term in enumerate(terms)
        ]
