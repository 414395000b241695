"""The chains of an analysis as a sample of questions: values per chain in, rows of a table out."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from analyses._statistics.bootstrap import Counts, Means, bootstrap_means, resample_counts, simultaneous
from analyses._statistics.families import max_t, random_signs
from analyses._statistics.power import detectable_effect
from analyses._statistics.questions import question_index, question_means
from analyses._statistics.shares import bounded_means
from reasoning_anatomy.types import FloatArray, IntArray


@dataclass(frozen=True)
class QuestionSample:
    """Chains with the questions that they are on, and one set of resamples for every table about them.

    Attributes
    ----------
    question_ids
        Of every chain.
    draws, confidence, seed
        Of the bootstrap over questions.
    """

    question_ids: tuple[str, ...]
    draws: int
    confidence: float
    seed: int

    @cached_property
    def questions(self) -> IntArray:
        """(chains,) number of every chain's question, from 0."""
        return question_index(self.question_ids)

    @cached_property
    def _resamples(self) -> Counts:
        n_questions = int(self.questions.max()) + 1
        return resample_counts(n_questions, draws=self.draws, rng=np.random.default_rng(self.seed))

    def summary(
        self, values: FloatArray, labels: pd.DataFrame, *, n_tokens: IntArray, lowest: float = -1, highest: float = 1
    ) -> pd.DataFrame:
        """Combine chains within their question, then over questions.

        Parameters
        ----------
        values
            (chains, columns); NaN = the chain has no value.
        labels
            One row per column.
        n_tokens
            (chains, columns) tokens behind each value, or (chains, 1) behind all values of a chain.
        lowest, highest
            Smallest and largest value that there can be; no interval goes beyond the two.

        Returns
        -------
        ``labels`` with ``estimate, ci_low, ci_high, p_value, sd_questions, n_questions, n_chains, n_tokens``.
        """
        means = bootstrap_means(question_means(values, self.questions), self._resamples, confidence=self.confidence)
        present = np.isfinite(values)
        return labels.assign(
            estimate=means.estimate,
            ci_low=np.maximum(means.ci_low, np.minimum(lowest, means.estimate)),
            ci_high=np.minimum(means.ci_high, np.maximum(highest, means.estimate)),
            p_value=means.p_value,
            sd_questions=means.sd,
            n_questions=means.n_questions.astype(np.int64),
            n_chains=present.sum(axis=0),
            n_tokens=(n_tokens * present).sum(axis=0),
        )

    def p_max_t(self, values: FloatArray, p_values: FloatArray) -> FloatArray:
        """Adjust for all columns by max-T; (chains, columns) and the (columns,) p-values of their summary -> (columns,).

        None falls below its own p-value.
        """
        signs = random_signs(int(self.questions.max()) + 1, draws=self.draws, rng=np.random.default_rng(self.seed))
        return np.maximum(max_t(question_means(values, self.questions), signs), p_values)

    def combined(self, per_question: FloatArray) -> Means:
        """Combine (questions, columns) values, such as pseudo-values, over questions, with the resamples of every table."""
        return bootstrap_means(per_question, self._resamples, confidence=self.confidence)

    def shares(self, values: FloatArray) -> Means:
        """Combine (chains, columns) of shares in 0..1 over chains, then questions; in most of these they may all be alike."""
        return bounded_means(
            question_means(values, self.questions), self._resamples, confidence=self.confidence, lowest=0, highest=1
        )

    def band(self, values: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Intervals that hold a curve at all times at once; (chains, times) of shares in 0..1 -> 2 x (times,).

        NaN at times at which most questions are alike, or some have no value.
        """
        low, high = simultaneous(question_means(values, self.questions), self._resamples, confidence=self.confidence)
        return np.maximum(low, 0), np.minimum(high, 1)

    def spread(self, values: FloatArray, terms: Sequence[str]) -> pd.DataFrame:
        """How far the questions differ, and the smallest mean that this number of them would show.

        Returns
        -------
        ``term, n_questions, mean, sd, min, q25, median, q75, max, detectable_effect``, one row per column of (chains, columns).
        """
        per_question = pd.DataFrame(question_means(values, self.questions), columns=list(terms))
        spread = per_question.describe().T.rename(
            columns={"count": "n_questions", "std": "sd", "25%": "q25", "50%": "median", "75%": "q75"}
        )
        spread = spread.rename_axis("term").reset_index().astype({"n_questions": "int64"})
        effects = [
            detectable_effect(sd, n, confidence=self.confidence)
            for sd, n in zip(spread["sd"], spread["n_questions"], strict=True)
        ]
        return spread.assign(detectable_effect=effects)
