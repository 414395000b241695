"""How good predictions are: over all candidates together, and within a stage of a chain."""

from dataclasses import dataclass

import numpy as np

from analyses._predict_likelihood.evidence import Candidates
from analyses._statistics.questions import pseudo_values
from analyses._statistics.within_groups import centred, pearson, pearson_sums, spearman_within_given
from reasoning_anatomy.types import FloatArray


@dataclass(frozen=True, eq=False)
class Outcomes:
    """How good several predictions, the columns, are.

    Attributes
    ----------
    pooled
        (questions, columns) pseudo-values of Pearson's r over all candidates, whose mean is that r; see `pseudo_values`.
    pooled_within
        (questions, columns) the same after the mean of the stage is taken from outcome and prediction.
    spearman
        (chains, columns) Spearman's rho within a stage, the mean over the stages of the chain.
    given_place
        (chains, columns) the same with the place in the chain held constant.
    r, r_within
        (columns,) Pearson's r themselves, which a single question has, too.
    """

    pooled: FloatArray
    pooled_within: FloatArray
    spearman: FloatArray
    given_place: FloatArray
    r: FloatArray
    r_within: FloatArray


def outcomes(predicted: FloatArray, candidates: Candidates) -> Outcomes:
    """Judge predictions (rows, columns) by the nll of candidates."""
    nll, stage = candidates.nll[:, None], candidates.stage
    pooled = pearson_sums(predicted, nll[:, 0], candidates.question)
    within = pearson_sums(centred(predicted, stage), centred(nll, stage)[:, 0], candidates.question)
    raw, given = spearman_within_given(predicted, candidates.nll, candidates.place, stage)
    return Outcomes(
        pooled=pseudo_values(pooled, pearson),
        pooled_within=pseudo_values(within, pearson),
        spearman=of_chains(raw, candidates),
        given_place=of_chains(given, candidates),
        r=pearson(pooled.sum(axis=0, keepdims=True))[0],
        r_within=pearson(within.sum(axis=0, keepdims=True))[0],
    )


def of_chains(values: FloatArray, candidates: Candidates) -> FloatArray:
    """Average the stages of every chain, (stages, columns) -> (chains, columns); NaN if none has a value."""
    present = np.isfinite(values)
    n_chains = len(candidates.chain_ids)
    sums, counts = np.zeros((2, n_chains, values.shape[1]))
    np.add.at(sums, candidates.chain_of_stage, np.where(present, values, 0.0))
    np.add.at(counts, candidates.chain_of_stage, present)
    return np.divide(sums, counts, out=np.full_like(sums, np.nan), where=counts > 0)
