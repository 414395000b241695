"""The per-chain correlations of a run: which chains can be used, and what each of them says."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from analyses._exclusions import most_left_out
from analyses._rank_correlation.reading import Deletions, read_scored
from analyses._statistics.correlation import TERMS, correlations, partial_tau
from reasoning_anatomy.errors import AnalysisError
from reasoning_anatomy.run.folder import Run
from reasoning_anatomy.types import FloatArray, IntArray, PruningPath


@dataclass(frozen=True, eq=False)
class ChainEvidence:
    """What one chain says of one scorer.

    Attributes
    ----------
    chain_id, question_id
        Of the chain.
    n_tokens, n_censored
        Reasoning tokens, and those that were never deleted.
    overall
        (4,) the ``TERMS`` of the scores.
    partial_tau
        Of the same scores: Kendall's own coefficient, see `partial_tau`.
    layers
        (layers, 4) of the profile averaged over heads; (0, 4) if the scorer has none.
    attends
        (layers,) whether a layer has a profile; what has none is NaN in ``layers`` and ``heads``.
    heads
        (layers, heads, 4); (0, 0, 4) if the scorer has none.
    """

    chain_id: str
    question_id: str
    n_tokens: int
    n_censored: int
    overall: FloatArray
    partial_tau: float
    layers: FloatArray
    heads: FloatArray
    attends: npt.NDArray[np.bool_]


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


def gather(run: Run, *, scorers: Sequence[str], strategy: str) -> dict[str, Evidence]:
    """Correlate each scorer with the deletion order in every chain of a run that can be used; by scorer.

    Of every chain the path and the scores of these scorers are read, once, and nothing else.

    Raises
    ------
    AnalysisError
        No chain can be used for any of the scorers.
    """
    measured = run.measured
    chains: dict[str, list[ChainEvidence]] = {scorer: [] for scorer in scorers}
    exclusions = {scorer: Counter({"not_measured": len(run.chains) - len(measured)}) for scorer in scorers}
    for chain_id in measured:
        path = run.path(chain_id, strategy)
        for scorer in scorers:
            found = _read_chain(run, chain_id, scorer, path)
            if isinstance(found, str):
                exclusions[scorer][found] += 1
            else:
                chains[scorer].append(found)
                exclusions[scorer]["no_value_given_position"] += int(np.isnan(found.overall).any())
                exclusions[scorer]["constant_layer"] += int(np.isnan(found.layers[found.attends, 0]).sum())
                exclusions[scorer]["constant_head"] += int(np.isnan(found.heads[found.attends, :, 0]).sum())
    evidence = {
        scorer: Evidence(
            tuple(chains[scorer]), {reason: count for reason, count in sorted(exclusions[scorer].items()) if count}
        )
        for scorer in scorers
    }
    if not any(found.chains for found in evidence.values()):
        most = most_left_out([found.exclusions for found in evidence.values()])
        reasons = ", ".join(f"{count} {reason}" for reason, count in most.items())
        raise AnalysisError(f"{run.folder}: none of {len(run.chains)} chains can be used ({reasons}); measure other chains")
    return evidence


def _read_chain(run: Run, chain_id: str, scorer: str, path: PruningPath | None) -> ChainEvidence | str:
    """Return what a chain says of a scorer, or the reason why it says nothing."""
    if path is None:
        return "not_measured"
    deletions = Deletions(path)
    if reason := deletions.why_unusable():
        return reason
    scored = read_scored(run, chain_id, scorer, deletions)
    if isinstance(scored, str):
        return scored
    importance = deletions.importance
    n_layers, n_heads, n = scored.received.shape
    averages = scored.received.mean(axis=1) if n_layers else np.empty((0, n))
    rows = np.concatenate([scored.score[None], averages, scored.received.reshape(-1, n)])
    is_known = ~np.isnan(rows).any(axis=1)
    found = np.full((len(rows), len(TERMS)), np.nan)
    found[is_known] = correlations(rows[is_known], importance)
    return ChainEvidence(
        chain_id=chain_id,
        question_id=run.chains[chain_id].question_id,
        n_tokens=n,
        n_censored=n - len(path.deleted),
        overall=found[0],
        partial_tau=partial_tau(scored.score, importance),
        layers=found[1 : 1 + n_layers],
        heads=found[1 + n_layers :].reshape(n_layers, n_heads, len(TERMS)),
        attends=is_known[1 : 1 + n_layers],
    )
