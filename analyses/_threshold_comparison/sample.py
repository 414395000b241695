"""Answers as a sample of questions: shares with their intervals, and paired differences of shares."""

from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
import pandas as pd

from analyses._statistics.bootstrap import Counts, Means, bootstrap_means, resample_counts
from analyses._statistics.paired import mcnemar_exact, p_above, p_different, score_interval
from analyses._statistics.position import BoolArray
from analyses._statistics.shares import bounded_means, effective_answers, wilson_interval
from analyses._threshold_comparison.answers import Answers
from reasoning_anatomy.types import FloatArray, IntArray

INTERVAL: Final = ["estimate", "ci_low", "ci_high"]
COUNTS: Final = ["n_questions", "n_chains", "n_answers"]
GAINS: Final = ["questions_gained", "questions_lost", "answers_gained", "answers_lost"]
"""Columns that several tables have."""

_PAIRS: Final = "score test and interval"
_BOOTSTRAP: Final = "studentised bootstrap over questions"
_OF_SEVERAL_QUESTIONS: Final = ("ci_low", "ci_high", "p_value", "p_exact", "lower_bound", "p_not_worse")


@dataclass(frozen=True, eq=False)
class AnswerSample:
    """Answers, and one set of resamples of their questions for every table about them.

    Attributes
    ----------
    answers
        Of the sweep.
    draws, confidence, seed
        Of the bootstrap over questions.
    """

    answers: Answers
    draws: int
    confidence: float
    seed: int

    @cached_property
    def _resamples(self) -> Counts:
        return resample_counts(len(self.answers.question_ids), draws=self.draws, rng=np.random.default_rng(self.seed))

    def shares(self, values: FloatArray) -> pd.DataFrame:
        """Share of answers with a property in every cell.

        Parameters
        ----------
        values
            (units, columns) of 1 and 0; NaN = the answer does not count.

        Returns
        -------
        One row per column: ``estimate, ci_low, ci_high, n_questions, n_chains, n_answers``. Wilson's interval, with as many
        answers as those of a question are worth.
        """
        share, counts = self.answers.means(values), self._counts(values)
        worth = effective_answers(self.answers.by_question(values), counts["n_answers"])
        low, high = wilson_interval(share, worth, confidence=self.confidence)
        return _without_single_questions(pd.DataFrame({"estimate": share, "ci_low": low, "ci_high": high, **counts}))

    def differences(self, first: FloatArray, second: FloatArray, *, margin: float | None = None) -> pd.DataFrame:
        """Difference of two shares by question, over the answers that have a value in both.

        Parameters
        ----------
        first, second
            (units, columns) of 1 and 0; NaN = the answer does not count.
        margin
            Loss that is tested to one side, if it is stated.

        Returns
        -------
        One row per column: ``estimate`` (first less second), ``ci_low, ci_high, p_value``; ``p_exact`` (only if there is one
        answer for each question: McNemar's exact test); ``lower_bound`` and ``p_not_worse`` (only with a margin: one-sided
        bound, and p-value of a loss as large as the margin or larger); ``sd_questions``; ``answers_gained``, ``answers_lost``,
        ``questions_gained``, ``questions_lost``; ``n_questions, n_chains, n_answers``; ``method``.
        """
        gaps = first - second
        per_question = self.answers.by_question(gaps)
        is_single = self._is_single(gaps)
        table = self._of_several(per_question, margin)
        if is_single.any():
            pairs = self._of_pairs(gaps[:, is_single], margin)
            table.loc[is_single, pairs.columns] = pairs.to_numpy()
        table = table.assign(
            answers_gained=(gaps > 0).sum(axis=0),
            answers_lost=(gaps < 0).sum(axis=0),
            questions_gained=(per_question > 0).sum(axis=0),
            questions_lost=(per_question < 0).sum(axis=0),
            **self._counts(gaps),
            method=np.where(is_single, _PAIRS, _BOOTSTRAP),
        )
        return _without_single_questions(table)

    def changes(self, values: FloatArray) -> pd.DataFrame:
        """Mean of any difference by question, without a range; (units, columns).

        Returns
        -------
        One row per column: ``estimate, ci_low, ci_high, p_value, n_questions, n_chains``.
        """
        found = bootstrap_means(self.answers.by_question(values), self._resamples, confidence=self.confidence)
        counts = self._counts(values)
        return pd.DataFrame(
            {**_fields(found), "p_value": found.p_value, "n_questions": counts["n_questions"], "n_chains": counts["n_chains"]}
        )

    def bounded(self, per_question: FloatArray) -> pd.DataFrame:
        """Mean of (questions, columns) values that lie between -1 and 1, in rows as of `changes`."""
        found = bounded_means(per_question, self._resamples, confidence=self.confidence, lowest=-1, highest=1)
        n_questions = found.n_questions.astype(np.int64)
        return _without_single_questions(pd.DataFrame({**_fields(found), "p_value": found.p_value, "n_questions": n_questions}))

    def _of_several(self, per_question: FloatArray, margin: float | None) -> pd.DataFrame:
        """Compare by the bootstrap over questions.

        A loss of the margin is also what there would be if questions of one kind lost everything, the others nothing, and none
        of that kind were in the sample: ``p_not_worse`` is never below the probability of that.
        """
        found = bounded_means(per_question, self._resamples, confidence=self.confidence, lowest=-1, highest=1)
        unknown = dict.fromkeys(("p_exact", "lower_bound", "p_not_worse"), np.nan)
        table = pd.DataFrame({**_fields(found), "p_value": found.p_value, **unknown, "sd_questions": found.sd})
        if margin is None:
            return table
        one_sided = bounded_means(
            per_question + margin, self._resamples, confidence=2 * self.confidence - 1, lowest=margin - 1, highest=margin + 1
        )
        upper_tail = np.where(one_sided.estimate > 0, one_sided.p_value / 2, 1 - one_sided.p_value / 2)
        n = np.maximum(found.n_questions, 1)
        return table.assign(
            lower_bound=np.minimum(one_sided.ci_low - margin, (1 - self.confidence) ** (1 / n) - 1),
            p_not_worse=np.maximum(upper_tail, (1 - margin) ** n),
        )

    def _of_pairs(self, gaps: FloatArray, margin: float | None) -> pd.DataFrame:
        """Compare one pair for each question."""
        gained, lost = (gaps > 0).sum(axis=0), (gaps < 0).sum(axis=0)
        n = np.maximum(np.isfinite(gaps).sum(axis=0), 1)
        low, high = score_interval(gained, lost, n, confidence=self.confidence)
        tests = {"p_value": p_different(gained, lost, n), "p_exact": mcnemar_exact(gained, lost)}
        table = pd.DataFrame({"ci_low": low, "ci_high": high, **tests})
        if margin is None:
            return table
        lower_bound, _ = score_interval(gained, lost, n, confidence=2 * self.confidence - 1)
        return table.assign(lower_bound=lower_bound, p_not_worse=p_above(gained, lost, n, -margin))

    def _is_single(self, values: FloatArray) -> BoolArray:
        """(columns,) whether no question has more than one answer."""
        return np.asarray(self.answers.answers_per_question(values).max(axis=0, initial=0) <= 1)

    def _counts(self, values: FloatArray) -> dict[str, IntArray]:
        present = np.isfinite(values)
        return {
            "n_questions": (self.answers.answers_per_question(values) > 0).sum(axis=0),
            "n_chains": np.isfinite(self.answers.by_chain(values)).sum(axis=0),
            "n_answers": present.sum(axis=0),
        }


def _fields(means: Means) -> dict[str, FloatArray]:
    return dict(zip(INTERVAL, (means.estimate, means.ci_low, means.ci_high), strict=True))


def _without_single_questions(table: pd.DataFrame) -> pd.DataFrame:
    """Take away what one question cannot say: there is no variation between questions."""
    columns = [name for name in _OF_SEVERAL_QUESTIONS if name in table]
    table.loc[table["n_questions"] < 2, columns] = np.nan
    return table
