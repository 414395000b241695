"""What every head says of the deletion order, question by question."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from analyses._exclusions import most_left_out
from analyses._rank_correlation.reading import Deletions, read_scored
from analyses._statistics.correlation import centred_ranks, residual_ranks
from analyses._statistics.questions import question_means
from analyses._statistics.shifts import ShiftedMeans, shifted_correlations
from reasoning_anatomy.errors import AnalysisError, MissingError
from reasoning_anatomy.randomness import chain_generator
from reasoning_anatomy.run.folder import Run
from reasoning_anatomy.types import FloatArray, IntArray

CONTROLS: Final = ("raw", "given_position")
"""Ranks as they are, and regressed on position."""


@dataclass(frozen=True, eq=False)
class Heads:
    """What the heads say, raw or given position.

    Attributes
    ----------
    question_ids
        Of the questions that say something, in alphabetical order.
    rho
        (questions, heads) Spearman's rho, averaged over the chains of the question; NaN = in no chain.
    n_chains, n_tokens
        (questions,) that say something.
    p_max_shift
        (heads,) p-value under circular shifts, adjusted for all heads.
    """

    question_ids: tuple[str, ...]
    rho: FloatArray
    n_chains: IntArray
    n_tokens: IntArray
    p_max_shift: FloatArray

    @property
    def known(self) -> IntArray:
        """Numbers of the heads that have a value in every question: those among which one is chosen."""
        return np.flatnonzero(np.isfinite(self.rho).all(axis=0))

    @property
    def n_missing(self) -> int:
        """Heads that have a value in some questions and not in all."""
        return int(np.isfinite(self.rho).any(axis=0).sum()) - self.known.size


@dataclass(frozen=True, eq=False)
class Evidence:
    """What the heads of a scorer say.

    Attributes
    ----------
    shape
        Layers and heads of each.
    by_control
        By the `CONTROLS`; empty if no chain can be used.
    exclusions
        What says nothing, by reason.
    """

    shape: tuple[int, int]
    by_control: Mapping[str, Heads]
    exclusions: Mapping[str, int]

    @property
    def n_questions(self) -> int:
        """Questions that say something."""
        return len(self.by_control["raw"].question_ids) if self.by_control else 0


@dataclass(frozen=True, kw_only=True)
class Shifts:
    """How the deletion order is shifted.

    Attributes
    ----------
    draws, seed
        Of the shifts.
    either_sign
        Whether a correlation far below zero is as good as one far above.
    """

    draws: int
    seed: int
    either_sign: bool

    def of_chain(self, chain_id: str, n_tokens: int) -> IntArray:
        """(draws,) places by which the order of a chain is shifted; the same whatever other chains there are."""
        return chain_generator("best_head", self.seed, chain_id).integers(0, n_tokens, size=self.draws)


def gather(run: Run, *, scorers: Sequence[str], strategy: str, shifts: Shifts) -> dict[str, Evidence]:
    """Correlate every head of these scorers with the deletion order; by scorer, without those that have no heads.

    Chains are read one question at a time, in alphabetical order, so that the order of the run does not matter.

    Raises
    ------
    MissingError
        None of the scorers has a value per layer and head.
    AnalysisError
        Fewer than two questions can be used.
    """
    found = {scorer: _of_scorer(run, scorer, strategy, shifts) for scorer in scorers}
    evidence = {scorer: each for scorer, each in found.items() if each is not None}
    if not evidence:
        raise MissingError(
            f"{run.folder}: {', '.join(scorers)} {'has' if len(scorers) == 1 else 'have'} no value per layer and head; measure "
            f"attention: reasoning-anatomy run CHAINS.jsonl --out {run.folder} --scorers answer_attention"
        )
    if not any(each.n_questions > 1 for each in evidence.values()):
        most = most_left_out([each.exclusions for each in evidence.values()])
        reasons = f" ({', '.join(f'{count} {reason}' for reason, count in most.items())})" if most else ""
        raise AnalysisError(
            f"{run.folder}: a head is judged on other questions than those that chose it, and fewer than 2 questions can be "
            f"used{reasons}; measure chains on more questions"
        )
    return evidence


def _of_scorer(run: Run, scorer: str, strategy: str, shifts: Shifts) -> Evidence | None:
    """Return what the heads of a scorer say; None if it has none."""
    measured = run.measured
    by_question: dict[str, list[str]] = {}
    for chain_id in sorted(measured):
        by_question.setdefault(run.chains[chain_id].question_id, []).append(chain_id)
    exclusions = Counter({"not_measured": len(run.chains) - len(measured)})
    shape = (0, 0)
    tallies: dict[str, _Tally] = {}
    for question_id, chain_ids in sorted(by_question.items()):
        chains = []
        for chain_id in chain_ids:
            found = _read(run, chain_id, scorer, strategy)
            if isinstance(found, str):
                exclusions[found] += 1
            elif found[0].size == 0:
                return None
            else:
                shape = found[0].shape[:2]
                chains.append(_Chain(chain_id, *_both_controls(*found)))
        tallies = tallies or {control: _Tally(shape, shifts) for control in CONTROLS if chains}
        for control, tally in tallies.items():
            left_out = tally.add(question_id, [(chain.chain_id, chain.by_control[control]) for chain in chains])
            if control == "given_position":
                exclusions["no_value_given_position"] += left_out
            else:
                exclusions["constant_head"] += int(sum(chain.n_constant for chain in chains))
    by_control = {control: tally.heads() for control, tally in tallies.items()}
    exclusions["head_missing_in_a_question"] += by_control["raw"].n_missing if by_control else 0
    return Evidence(shape, by_control, {reason: count for reason, count in sorted(exclusions.items()) if count})


@dataclass(frozen=True, eq=False)
class _Chain:
    """A chain: by control, (tokens, heads) correlations under all shifts; and how many of its heads are constant."""

    chain_id: str
    by_control: Mapping[str, FloatArray]
    n_constant: int


def _read(run: Run, chain_id: str, scorer: str, strategy: str) -> tuple[FloatArray, FloatArray] | str:
    """Return what the heads of a chain received, (layers, heads, n), and its (n,) order; or the reason why it says nothing."""
    path = run.path(chain_id, strategy)
    if path is None:
        return "not_measured"
    deletions = Deletions(path)
    if reason := deletions.why_unusable():
        return reason
    scored = read_scored(run, chain_id, scorer, deletions)
    return scored if isinstance(scored, str) else (scored.received, deletions.importance)


def _both_controls(received: FloatArray, importance: FloatArray) -> tuple[dict[str, FloatArray], int]:
    rows = received.reshape(-1, importance.size)
    is_known = ~np.isnan(rows).any(axis=1)
    ranks, order = centred_ranks(rows[is_known]), centred_ranks(importance)
    by_control = {}
    for control, series, one in (
        ("raw", ranks, order),
        ("given_position", residual_ranks(ranks).astype(np.float64), residual_ranks(order).astype(np.float64)),
    ):
        by_control[control] = np.full((importance.size, len(rows)), np.nan)
        by_control[control][:, is_known] = shifted_correlations(series, one)
    return by_control, int(np.isnan(by_control["raw"][0, is_known]).sum())


class _Tally:
    """Adds up questions."""

    def __init__(self, shape: tuple[int, int], shifts: Shifts) -> None:
        self._shifts = shifts
        self._means = ShiftedMeans(draws=shifts.draws, n_columns=shape[0] * shape[1])
        self._rows: dict[str, FloatArray] = {}
        self._sizes: dict[str, tuple[int, int]] = {}

    def add(self, question_id: str, chains: Sequence[tuple[str, FloatArray]]) -> int:
        """Add the chains of a question that say something; return the number of those that do not."""
        usable = [(chain_id, by_shift) for chain_id, by_shift in chains if np.isfinite(by_shift[0]).any()]
        if usable:
            self._rows[question_id] = mean_of_chains(np.stack([by_shift[0] for _, by_shift in usable]))
            self._sizes[question_id] = (len(usable), sum(len(by_shift) for _, by_shift in usable))
            self._means.add([(by_shift, self._shifts.of_chain(chain_id, len(by_shift))) for chain_id, by_shift in usable])
        return len(chains) - len(usable)

    def heads(self) -> Heads:
        n_chains, n_tokens = np.array(list(self._sizes.values()), dtype=np.int64).reshape(-1, 2).T
        values = np.stack(list(self._rows.values())) if self._rows else np.empty((0, self._means.n_columns))
        p_values = self._means.p_max(either_sign=self._shifts.either_sign)
        return Heads(tuple(self._rows), values, n_chains, n_tokens, p_values)


def mean_of_chains(values: FloatArray) -> FloatArray:
    """Average over the chains that have a value. (chains, heads) -> (heads,), NaN if none has."""
    (means,) = question_means(values, np.zeros(len(values), dtype=np.int64))
    return np.asarray(means)
