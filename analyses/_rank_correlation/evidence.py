"""The per-chain correlations of a run: which chains can be used, and what each of them says."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from analyses._exclusions import most_left_out
from analyses._rank_correlation.competitors import Scores
from analyses._rank_correlation.reading import Deletions, Scored, as_scored, read_scored
from analyses._rank_correlation.terms import ALL_TERMS, CENSORED_TERMS, WITHIN_BINS, censored_terms, more_terms
from analyses._statistics.correlation import TERMS, correlations, partial_tau
from analyses._statistics.kendall import kendall
from analyses._statistics.position import BoolArray
from reasoning_anatomy.errors import AnalysisError
from reasoning_anatomy.run.folder import Run
from reasoning_anatomy.types import FloatArray, IntArray

_GIVEN_POSITION = [number for number, term in enumerate(TERMS) if term.endswith("given_position")]


@dataclass(frozen=True, eq=False)
class ChainEvidence:
    """What one chain says of one scorer.

    Attributes
    ----------
    chain_id, question_id
        Of the chain.
    n_tokens, n_censored
        Reasoning tokens, and those that were never deleted.
    n_units
        What is correlated: as many tokens, or its steps.
    overall
        (7,) `ALL_TERMS` of the scores.
    partial_tau
        Of the same scores: Kendall's own coefficient, see `partial_tau`.
    censored
        (2,) `CENSORED_TERMS`; NaN if all tokens were deleted.
    layers
        (layers, 4) `TERMS` of the profile averaged over heads; (0, 4) if the scorer has none.
    attends
        (layers,) whether a layer has a profile; what has none is NaN in ``layers`` and ``heads``.
    heads
        (layers, heads, 4); (0, 0, 4) if the scorer has none.
    """

    chain_id: str
    question_id: str
    n_tokens: int
    n_censored: int
    n_units: int
    overall: FloatArray
    partial_tau: float
    censored: FloatArray
    layers: FloatArray
    heads: FloatArray
    attends: BoolArray


@dataclass(frozen=True, eq=False)
class Evidence:
    """What every usable chain says of one scorer, and why the others say nothing."""

    chains: tuple[ChainEvidence, ...]
    exclusions: Mapping[str, int]

    @property
    def n_tokens(self) -> IntArray:
        """(chains,) reasoning tokens."""
        return np.array([chain.n_tokens for chain in self.chains])

    @property
    def n_censored(self) -> IntArray:
        """(chains,) tokens that were never deleted."""
        return np.array([chain.n_censored for chain in self.chains])


@dataclass(frozen=True, eq=False)
class _Readings:
    """The chains of one scorer while they are gathered."""

    chains: list[ChainEvidence] = field(default_factory=list)
    exclusions: Counter[str] = field(default_factory=Counter)

    def add(self, chain: ChainEvidence) -> None:
        """Add a chain, and count what of it says nothing."""
        self.chains.append(chain)
        self.exclusions["no_value_given_position"] += int(np.isnan(chain.overall[_GIVEN_POSITION]).any())
        self.exclusions["no_value_within_bins"] += int(np.isnan(chain.overall[ALL_TERMS.index(WITHIN_BINS)]))
        self.exclusions["constant_layer"] += int(np.isnan(chain.layers[chain.attends, 0]).sum())
        self.exclusions["constant_head"] += int(np.isnan(chain.heads[chain.attends, :, 0]).sum())

    @property
    def evidence(self) -> Evidence:
        """What was gathered."""
        return Evidence(tuple(self.chains), {reason: count for reason, count in sorted(self.exclusions.items()) if count})


def gather(
    run: Run,
    *,
    scorers: Sequence[str],
    strategy: str,
    competitors: Mapping[str, Scores] | None = None,
    steps: Mapping[str, IntArray] | None = None,
) -> dict[str, Evidence]:
    """Correlate each scorer with the deletion order in every chain of a run that can be used; by scorer.

    Of every chain the path and the scores of these scorers are read, once, and nothing else.

    Parameters
    ----------
    run
        With the strategy measured.
    scorers
        Labels of its scorers.
    strategy
        Label of the strategy whose path is read.
    competitors
        Further scores of tokens, by name.
    steps
        (n,) the step of every token by chain_id, if steps are compared; chains that have none are left out.

    Raises
    ------
    AnalysisError
        No chain can be used for any of the scorers.
    """
    measured, competitors = run.measured, competitors or {}
    readings = {scorer: _Readings() for scorer in (*scorers, *competitors)}
    for chain_id in measured:
        deletions = _deletions(run, chain_id, strategy, steps)
        usable: dict[str, Scored] = {}
        for scorer, reading in readings.items():
            if isinstance(deletions, str):
                found: Scored | str = deletions
            elif scorer in competitors:
                score = competitors[scorer].get(chain_id)
                found = "scorer_not_measured" if score is None else as_scored(score, None, deletions)
            else:
                found = read_scored(run, chain_id, scorer, deletions)
            if isinstance(found, str):
                reading.exclusions[found] += 1
            else:
                usable[scorer] = found
        if usable and isinstance(deletions, Deletions):
            for scorer, chain in _correlated(run, chain_id, usable, deletions).items():
                readings[scorer].add(chain)
    for reading in readings.values():
        reading.exclusions["not_measured"] += len(run.chains) - len(measured)
    evidence = {scorer: reading.evidence for scorer, reading in readings.items()}
    if not any(evidence[scorer].chains for scorer in scorers):
        most = most_left_out([evidence[scorer].exclusions for scorer in scorers])
        reasons = ", ".join(f"{count} {reason}" for reason, count in most.items())
        raise AnalysisError(f"{run.folder}: none of {len(run.chains)} chains can be used ({reasons}); measure other chains")
    return evidence


def _deletions(run: Run, chain_id: str, strategy: str, steps: Mapping[str, IntArray] | None) -> Deletions | str:
    """Return when the units of a chain were deleted, or the reason why that says nothing."""
    path = run.path(chain_id, strategy)
    if path is None:
        return "not_measured"
    if steps is not None and chain_id not in steps:
        return "no_steps"
    deletions = Deletions(path, None if steps is None else steps[chain_id])
    return deletions.why_unusable() or deletions


def _correlated(run: Run, chain_id: str, usable: Mapping[str, Scored], deletions: Deletions) -> dict[str, ChainEvidence]:
    """Correlate the scores of a chain with its order of deletion, by scorer."""
    importance, is_censored = deletions.importance, deletions.is_censored
    scores = np.stack([scored.score for scored in usable.values()])
    rows = [scores, *(_rows_of_profile(scored) for scored in usable.values())]
    of_rows = np.split(_where_known(np.concatenate(rows), importance), np.cumsum([len(part) for part in rows])[:-1])
    overall = np.concatenate([of_rows[0], more_terms(scores, importance)], axis=-1)
    *with_position, of_importance = kendall(np.vstack([scores, importance]), np.arange(importance.size))
    partial_taus = partial_tau(overall[:, TERMS.index("kendall")], np.array(with_position), of_importance)
    censored = np.full((len(usable), len(CENSORED_TERMS)), np.nan)
    if is_censored.any():
        censored = censored_terms(np.stack([scored.token_score for scored in usable.values()]), is_censored)
    found = {}
    for number, (scorer, scored) in enumerate(usable.items()):
        n_layers, n_heads, _ = scored.received.shape
        of_profile = of_rows[1 + number]
        found[scorer] = ChainEvidence(
            chain_id=chain_id,
            question_id=run.chains[chain_id].question_id,
            n_tokens=is_censored.size,
            n_censored=int(is_censored.sum()),
            n_units=deletions.n_units,
            overall=overall[number],
            partial_tau=float(partial_taus[number]),
            censored=censored[number],
            layers=of_profile[:n_layers],
            heads=of_profile[n_layers:].reshape(n_layers, n_heads, len(TERMS)),
            attends=np.asarray(np.isfinite(rows[1 + number][:n_layers]).all(axis=1), dtype=np.bool_),
        )
    return found


def _rows_of_profile(scored: Scored) -> FloatArray:
    """Rows of every layer, averaged over its heads, and then of every head. -> (layers + layers x heads, units)."""
    n_layers, _, n = scored.received.shape
    averages = scored.received.mean(axis=1) if n_layers else np.empty((0, n))
    return np.concatenate([averages, scored.received.reshape(-1, n)])


def _where_known(rows: FloatArray, importance: FloatArray) -> FloatArray:
    """Correlate the rows that are known; the others are NaN. (rows, n), (n,) -> (rows, 4)."""
    is_known = ~np.isnan(rows).any(axis=1)
    found = np.full((len(rows), len(TERMS)), np.nan)
    found[is_known] = correlations(rows[is_known], importance)
    return found
