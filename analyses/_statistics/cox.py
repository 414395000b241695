"""Cox's model of which group is deleted sooner, stratified by chain: within a chain, a model of the order alone.

The partial likelihood is a sum over chains, so it is one over questions; leaving out a question takes its score and information
away. Deletions at one time are handled as Efron does.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from analyses._statistics.position import BoolArray
from reasoning_anatomy.types import FloatArray, IntArray

_ITERATIONS: Final = 50
_PRECISION: Final = 1e-8
_LARGEST: Final = 12.0
"""Largest log hazard ratio that is believed: beyond it, a group goes first or last throughout, and there is no maximum."""


@dataclass(frozen=True, eq=False)
class Deletions:
    """Every deletion, with those who could have been deleted instead.

    Attributes
    ----------
    at_risk
        (deletions, groups) tokens of each group that could have been deleted, those of the same time in part (Efron).
    group
        (deletions,) number of the group of the token that was deleted.
    token
        (deletions,) which of the tokens it was.
    """

    at_risk: FloatArray
    group: IntArray
    token: IntArray

    def where(self, chosen: BoolArray) -> "Deletions":
        """Only some of the (deletions,), each with those who could have been deleted instead."""
        return Deletions(self.at_risk[chosen], self.group[chosen], self.token[chosen])


def deletions_of(time: FloatArray, is_deleted: BoolArray, member: BoolArray, chain: IntArray) -> Deletions:
    """Read the deletions of chains, one chain after the other, in the order of time.

    Parameters
    ----------
    time, is_deleted
        (tokens,) each, as in `survival`.
    member
        (tokens, groups) in which group a token is; one that is in none does not take part.
    chain
        (tokens,) number of the chain of each: only tokens of one chain compete.

    Notes
    -----
    Of d tokens that are deleted at one time the l-th, from 0, could have been any of those at risk less l/d of each of the d.

    References
    ----------
    Efron (1977), The efficiency of Cox's likelihood function for censored data, JASA 72:557.
    """
    order = np.lexsort((~is_deleted, time, chain))
    order = order[member[order].any(axis=1)]
    time, is_deleted, chain = time[order], is_deleted[order], chain[order]
    in_group = member[order].astype(np.float64)
    so_far = np.concatenate([np.zeros((1, in_group.shape[1])), in_group.cumsum(axis=0)])
    events = np.flatnonzero(is_deleted)
    if not len(events):
        return Deletions(np.empty((0, in_group.shape[1])), np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64))
    is_new = np.append(True, (np.diff(time[events]) != 0) | (np.diff(chain[events]) != 0))
    block = is_new.cumsum() - 1
    start, n_tied = events[is_new][block], np.bincount(block)[block]
    end_of_chain = np.searchsorted(chain, chain[events], side="right")
    at_risk = so_far[end_of_chain] - so_far[start]
    together = so_far[start + n_tied] - so_far[start]
    share = (np.arange(len(events)) - np.flatnonzero(is_new)[block]) / n_tied
    return Deletions(at_risk - share[:, None] * together, in_group[events].argmax(axis=1), order[events])


def log_hazard_ratios(deletions: Deletions, *, reference: int) -> FloatArray:
    """Fit how much sooner each group is deleted than the reference, all else equal.

    Parameters
    ----------
    deletions
        Of all chains, one after the other.
    reference
        Number of the group to which the others are compared.

    Returns
    -------
    (groups,) log hazard ratios, higher = deleted sooner, 0 for the reference. A group without a deletion is NaN; if there is no
    maximum, because a group goes first or last throughout, or the reference was never deleted, all are.
    """
    n_groups = deletions.at_risk.shape[1]
    found = np.full(n_groups, np.nan)
    free = free_groups(deletions, reference=reference)
    if not np.isin(reference, deletions.group) or not len(free):
        return found
    estimate = np.zeros(n_groups)
    estimate[np.setdiff1d(np.arange(n_groups), [*free, reference])] = -np.inf
    likelihood = _log_likelihood(deletions, estimate)
    for _ in range(_ITERATIONS):
        score, information = _score_and_information(deletions, estimate)
        try:
            step = np.linalg.solve(information[np.ix_(free, free)], score[free])
        except np.linalg.LinAlgError:
            return found
        for _halving in range(_ITERATIONS):
            candidate = estimate.copy()
            candidate[free] += step
            risen = _log_likelihood(deletions, candidate)
            if risen >= likelihood - _PRECISION * abs(likelihood):
                break
            step = step / 2
        estimate, likelihood = candidate, risen
        if np.abs(estimate[free]).max() > _LARGEST:
            return found
        if np.abs(step).max() < _PRECISION:
            found[[*free, reference]] = estimate[[*free, reference]]
            return found
    return found


def free_groups(deletions: Deletions, *, reference: int) -> IntArray:
    """Numbers of the groups that have a deletion, the reference aside."""
    n_deleted = np.bincount(deletions.group, minlength=deletions.at_risk.shape[1])
    n_deleted[reference] = 0
    return np.flatnonzero(n_deleted)


def leave_one_out(
    deletions: Deletions, question: IntArray, n_questions: int, estimate: FloatArray, *, reference: int
) -> FloatArray:
    """Pseudo-values of the log hazard ratios, one for each question: the jackknife by one step of Newton's method.

    Parameters
    ----------
    deletions
        Of all chains.
    question
        (deletions,) number of the question of each.
    n_questions
        Their number.
    estimate
        (groups,) from `log_hazard_ratios`.
    reference
        As there.

    Returns
    -------
    (questions, groups) whose mean is the estimate and whose spread is its sampling error; NaN where the estimate is, and
    throughout if the sample without one of the questions has no maximum.

    References
    ----------
    Lipsitz, Dear & Zhao (1994), Jackknife estimators of variance for parameter estimates from estimating equations with
    applications to clustered survival data, Biometrics 50:842.
    """
    free = np.flatnonzero(np.isfinite(estimate) & (np.arange(len(estimate)) != reference))
    found = np.full((n_questions, len(estimate)), np.nan)
    if not len(free):
        return found
    chance = _chances(deletions, np.where(np.isfinite(estimate), estimate, -np.inf))[:, free]
    excess = (deletions.group[:, None] == free) - chance
    score = _sums(excess, question, n_questions)
    mixed = _sums((chance[:, :, None] * chance[:, None, :]).reshape(len(chance), -1), question, n_questions)
    information = _diagonal(_sums(chance, question, n_questions)) - mixed.reshape(n_questions, len(free), len(free))
    left = information.sum(axis=0) - information
    if n_questions < 2 or np.linalg.cond(left).max() > 1e12:
        return found
    pull = (n_questions - 1) * np.linalg.solve(left, score[:, :, None])[:, :, 0]
    found[:, free] = estimate[free] + pull - pull.mean(axis=0)
    return found


def _chances(deletions: Deletions, estimate: FloatArray) -> npt.NDArray[np.float64]:
    """Chance that the token that is deleted is of each group. -> (deletions, groups)."""
    hazard = deletions.at_risk * np.exp(estimate)
    return np.asarray(hazard / hazard.sum(axis=1, keepdims=True))


def _log_likelihood(deletions: Deletions, estimate: FloatArray) -> float:
    return float((estimate[deletions.group] - np.log(deletions.at_risk @ np.exp(estimate))).sum())


def _score_and_information(deletions: Deletions, estimate: FloatArray) -> tuple[FloatArray, FloatArray]:
    chance = _chances(deletions, estimate)
    n_deleted = np.bincount(deletions.group, minlength=chance.shape[1])
    return n_deleted - chance.sum(axis=0), np.diag(chance.sum(axis=0)) - chance.T @ chance


def _sums(values: FloatArray, question: IntArray, n_questions: int) -> FloatArray:
    """Sum the (rows, columns) of each question. -> (questions, columns)."""
    return np.stack([np.bincount(question, weights=column, minlength=n_questions) for column in values.T], axis=1)


def _diagonal(values: FloatArray) -> FloatArray:
    """(questions, k) -> (questions, k, k)."""
    return np.asarray(values[:, :, None] * np.eye(values.shape[1]))
