"""Whether attention, or another score, predicts when a token is deleted."""

import dataclasses
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any, Final

from analyses._rank_correlation.caveats import caveats
from analyses._rank_correlation.evidence import Evidence, choose, expect_chains, gather
from analyses._rank_correlation.side_by_side import joined_details, joined_exclusions, main_table, per_scorer
from analyses._rank_correlation.tables import ScorerTables, tables_of_scorer
from analyses._statistics.bootstrap import check_options
from analyses._statistics.families import adjust
from reasoning_anatomy.plugins import key_of
from reasoning_anatomy.run.folder import Run
from reasoning_anatomy.types import RESULT_COLUMNS, AnalysisResult

_VERSIONS_OF: Final = ("reasoning-anatomy", "numpy", "pandas", "scipy", "statsmodels")


@dataclass(frozen=True, kw_only=True)
class RankCorrelation:
    """Rank correlation of the scores of tokens, such as attention, with the step at which they are deleted.

    Spearman's rho and Kendall's tau-b within each chain, raw and given position (both regressed on it); averaged
    within each question, then over questions. Positive = the tokens with a higher score are deleted later.
    Tokens that were never deleted are tied after the last deletion. ``docs/statistics.md`` says why, and how well the
    intervals do.

    Attributes
    ----------
    scorer
        Label of the scorer that is read. None sets all scorers of the run side by side.
    strategy
        Label of the strategy whose path is read; None takes the first of the run.
    draws
        Bootstrap resamples of the questions.
    confidence
        Of the intervals, in 0..1.
    seed
        Of the resamples; the same run and seed give the same result to the last bit.

    Raises
    ------
    ValueError
        An option is out of its range.

    References
    ----------
    Singh & Hakkani-Tür (2026), Do LLMs Encode Functional Importance of Reasoning Tokens?, arXiv 2601.03066.
    """

    scorer: str | None = None
    strategy: str | None = None
    draws: int = 9999
    confidence: float = 0.95
    seed: int = 0

    def __post_init__(self) -> None:
        check_options(draws=self.draws, confidence=self.confidence, seed=self.seed)

    def analyse(self, run: Run) -> AnalysisResult:
        """Correlate and combine.

        Parameters
        ----------
        run
            With the scorer and the strategy measured.

        Returns
        -------
        Table, for one scorer: one row per term, ``p_adjusted`` by Holm over them. For several: the rows ``scorer: spearman``
        and ``scorer: spearman_given_position`` of each, ``p_adjusted`` by Holm over the scorers of a term. Details, unrounded:
        ``between_questions``, ``per_chain`` and, for a scorer with a profile, ``per_layer`` (Holm over the layers of a term)
        and ``per_head`` (Benjamini-Hochberg over the heads of a term, and ``p_max_t``). For several scorers they have a
        column ``scorer``, and ``per_scorer`` has every term of each.

        Raises
        ------
        AnalysisError
            The run has no such scorer or strategy, or no chain of it can be used.
        """
        configuration = run.manifest.configuration
        strategy = choose(run, "strategy", self.strategy, configuration.strategies)
        if self.scorer is None and len(configuration.scorers) > 1:
            return self._side_by_side(run, list(configuration.scorers), strategy)
        scorer = choose(run, "scorer", self.scorer, configuration.scorers)
        evidence = gather(run, scorers=[scorer], strategy=strategy)[scorer]
        expect_chains(run, evidence)
        found = self._tables(evidence)
        table = found.table.assign(p_adjusted=adjust(found.table["p_value"].to_numpy(), "holm"))[list(RESULT_COLUMNS)]
        return AnalysisResult(
            name=key_of(self),
            table=table,
            details=found.details,
            exclusions=evidence.exclusions,
            warnings=tuple(caveats(evidence, table, found.details["between_questions"])),
            config=repr(dataclasses.replace(self, scorer=scorer, strategy=strategy)),
            provenance=_provenance(run, configuration.scorers[scorer], strategy),
        )

    def _side_by_side(self, run: Run, scorers: list[str], strategy: str) -> AnalysisResult:
        """Analyse every scorer of the run."""
        evidence = gather(run, scorers=scorers, strategy=strategy)
        usable = {scorer: found for scorer, found in evidence.items() if found.chains}
        expect_chains(run, next(iter(usable.values() or evidence.values())))
        tables = {scorer: self._tables(found) for scorer, found in usable.items()}
        rows, details = per_scorer(tables), joined_details(tables)
        table = main_table(rows)
        largest = max(usable.values(), key=lambda found: len(found.chains))
        unusable = [f"{scorer}: no chain can be used" for scorer in scorers if scorer not in usable]
        return AnalysisResult(
            name=key_of(self),
            table=table,
            details={"per_scorer": rows, **details},
            exclusions=joined_exclusions(evidence),
            warnings=(*unusable, *caveats(largest, table, details["between_questions"])),
            config=repr(dataclasses.replace(self, strategy=strategy)),
            provenance=_provenance(run, dict(run.manifest.configuration.scorers), strategy),
        )

    def _tables(self, evidence: Evidence) -> ScorerTables:
        return tables_of_scorer(evidence, draws=self.draws, seed=self.seed, confidence=self.confidence)


def _provenance(run: Run, scorer: str | dict[str, str], strategy: str) -> dict[str, Any]:
    configuration = run.manifest.configuration
    model = configuration.model
    facts = ("revision", "dtype", "quantization")
    return {
        "run": run.folder.resolve().name,
        "model": model.id if model else f"none; {configuration.encoding}",
        **{fact: getattr(model, fact) for fact in facts if model},
        "scorer": scorer,
        "strategy": configuration.strategies[strategy],
        "versions": {package: version(package) for package in _VERSIONS_OF},
    }


if __name__ == "__main__":
    from reasoning_anatomy.cli import analysis_main

    analysis_main(__spec__.name)
