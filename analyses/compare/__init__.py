"""Whether runs differ on the chains that they share: other models, strategies or annotators on the same text."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import ClassVar, Final

import numpy as np
import pandas as pd

from analyses._sample import QuestionSample
from analyses._statistics.bootstrap import check_options
from analyses._statistics.families import adjust
from analyses._statistics.questions import question_means
from analyses.compare.quantities import Matched, matched
from analyses.compare.words import finding, warnings
from reasoning_anatomy.errors import AnalysisError
from reasoning_anatomy.run.folder import Run
from reasoning_anatomy.run.naming import names_of
from reasoning_anatomy.types import RESULT_COLUMNS, AnalysisResult

KEY: Final = "compare"
_PRINTED: Final = 12
"""Rows that a terminal shows, the clearest first."""


@dataclass(frozen=True, kw_only=True)
class RunComparison:
    """Differences between runs, chain by chain: every further run less the first one.

    Chains are the same if id, question, reasoning and answer are. Differences are taken within the chain, averaged within
    the question, then over questions. What is compared: the nll of the answer after the whole chain, its rise at keep ratios
    0.9, 0.7 and 0.5 and the mean rise down to the last, by strategy; accuracy at thresholds; rank correlations with the order
    of deletion, by scorer, if both runs have the analysis; the share of each category, by annotator. Labels that both runs have
    are compared; where they share none and have one each, these two are. It reads several runs, so it is not among the analyses
    of one run.

    Attributes
    ----------
    draws
        Bootstrap resamples of the questions.
    confidence
        Of the intervals, in 0..1; 1 - confidence is the level of the tests.
    seed
        Of the resamples; the same runs and seed give the same result to the last bit.

    Raises
    ------
    ValueError
        An option is out of its range.
    """

    title: ClassVar[str] = "Do the runs differ on the same chains?"

    draws: int = 9999
    confidence: float = 0.95
    seed: int = 0

    def __post_init__(self) -> None:
        check_options(draws=self.draws, confidence=self.confidence, seed=self.seed)

    def compare(self, runs: Sequence[Run]) -> AnalysisResult:
        """Compare every further run with the first.

        Parameters
        ----------
        runs
            Two or more.

        Returns
        -------
        Table with first columns ``run, less, part``: the mean difference of every quantity, ``run`` less ``less``;
        ``p_adjusted`` by Holm over all quantities of a run. Details, unrounded: ``levels``, the means of both runs over the
        same chains, and ``per_chain``.

        Raises
        ------
        AnalysisError
            There are fewer than two runs, or two share no chain, or have measured nothing in common on them.
        """
        if len(runs) < 2:
            raise AnalysisError("a comparison needs two runs or more; name another one")
        names = names_of(runs)
        pairs = {
            name: _expect_something(matched(runs[0], run), names[0], name)
            for name, run in zip(names[1:], runs[1:], strict=True)
        }
        table = pd.concat([self._differences(pair, name, names[0]) for name, pair in pairs.items()], ignore_index=True)
        exclusions: Counter[str] = Counter()
        for pair in pairs.values():
            exclusions |= Counter(pair.exclusions)
        return AnalysisResult(
            name=KEY,
            table=table,
            details={
                "levels": pd.concat([self._levels(pair, name, names[0]) for name, pair in pairs.items()], ignore_index=True),
                "per_chain": pd.concat([_per_chain(pair, name, names[0]) for name, pair in pairs.items()], ignore_index=True),
            },
            exclusions=dict(sorted(exclusions.items())),
            warnings=warnings(
                table, dict(zip(names, runs, strict=True)), {name: pair.exclusions for name, pair in pairs.items()}
            ),
            config=repr(self),
            provenance={
                "runs": names,
                "versions": {package: version(package) for package in ("reasoning-anatomy", "numpy", "pandas", "scipy")},
            },
            finding=finding(table, confidence=self.confidence),
            printed=table.sort_values(["p_adjusted", "p_value"], kind="stable").head(_PRINTED),
        )

    def _sample(self, pair: Matched) -> QuestionSample:
        return QuestionSample(pair.question_ids, self.draws, self.confidence, self.seed)

    def _differences(self, pair: Matched, run: str, first: str) -> pd.DataFrame:
        sample, difference = self._sample(pair), pair.second - pair.first
        frames = []
        for _, rows in pair.quantities.groupby("part", sort=False):
            labels = rows[["part", "term"]].reset_index(drop=True)
            frames.append(
                sample.summary(
                    difference[:, rows.index],
                    labels,
                    n_tokens=pair.n_tokens[:, None],
                    lowest=rows["lowest"].iloc[0],
                    highest=rows["highest"].iloc[0],
                )
            )
        table = pd.concat(frames, ignore_index=True).drop(columns="sd_questions")
        table = table.assign(run=run, less=first, p_adjusted=adjust(table["p_value"].to_numpy(), "holm"))
        return table[["run", "less", "part", *RESULT_COLUMNS]]

    def _levels(self, pair: Matched, run: str, first: str) -> pd.DataFrame:
        """Means of both runs over the chains on which both have a value."""
        in_both = np.isfinite(pair.first) & np.isfinite(pair.second)
        questions = self._sample(pair).questions
        means = [
            np.nanmean(question_means(np.where(in_both, values, np.nan), questions), axis=0)
            for values in (pair.first, pair.second)
        ]
        labels = pair.quantities[["part", "term"]]
        return labels.assign(run=run, less=first, mean_of_run=means[1], mean_of_less=means[0])[
            ["run", "less", "part", "term", "mean_of_run", "mean_of_less"]
        ]


def _expect_something(pair: Matched, first: str, second: str) -> Matched:
    if not pair.chain_ids:
        reasons = (
            ", ".join(f"{count} {reason.replace('_', ' ')}" for reason, count in pair.exclusions.items()) or "none is measured"
        )
        raise AnalysisError(f"{first} and {second} share no chain ({reasons}); compare runs on the same chains")
    if pair.quantities.empty:
        raise AnalysisError(
            f"{first} and {second} have measured nothing in common on the {len(pair.chain_ids)} chains that they share; prune "
            "them with the same strategy, or analyse both with: reasoning-anatomy analyse RUN"
        )
    return pair


def _per_chain(pair: Matched, run: str, first: str) -> pd.DataFrame:
    n_chains, n_terms = pair.first.shape
    table = pair.quantities[["part", "term"]].loc[np.tile(np.arange(n_terms), n_chains)].reset_index(drop=True)
    return table.assign(
        run=run,
        less=first,
        chain_id=np.repeat(pair.chain_ids, n_terms),
        question_id=np.repeat(pair.question_ids, n_terms),
        value_of_run=pair.second.ravel(),
        value_of_less=pair.first.ravel(),
        difference=(pair.second - pair.first).ravel(),
    )
