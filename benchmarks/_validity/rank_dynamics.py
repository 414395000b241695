"""``rank_dynamics``: paths that follow a hidden order, and rankings at three stages that know some of it.

Neighbouring tokens resemble each other, in the hidden order and in what rankings err by, and how much a ranking knows differs
between questions. As in greedy search, the lowest token of the ranking that is made at a stage is the next to be deleted. The
path ends when 30 % of the tokens are left. Rankings of so many tokens cost more than what is to be tried: so the samples of
one size are drawn, each without repetition, from the same many questions.
"""

from collections.abc import Callable
from functools import cache
from typing import Final, Literal

import numpy as np

from analyses._statistics.foretelling import TERMS, foretold, lowest_of_any
from analyses._statistics.position import BoolArray
from benchmarks._validity import Rate
from benchmarks._validity._rates import any_found, combined, finding, holding
from benchmarks._validity._series import TOKENS, autocorrelated
from reasoning_anatomy.types import FloatArray

_CHAINS: Final = 2
"""Of every question."""

_DELETED: Final = (0, 12, 20)
"""Tokens that are gone at the stages 1, 0.7 and 0.5."""

_END: Final = 28
_WINDOW: Final = 4
_AT_ONCE: Final = 2000
_POOL: Final = 20_000
"""Questions that samples are drawn from, at most."""

_REFERENCE: Final = 8_000
"""Other questions, behind the truth of a coverage."""

_FAMILY: Final = "Holm over stages of the same chains is careful."
_FEW: Final = "The studentised bootstrap is careful with so few questions."
_HANDICAP: Final = "Without its lowest token, which is deleted next, a fresh ranking of 28 or 20 tokens has a mean of -0.002."
_TRACE: Final = "A strong trend that is no straight line in the ranks leaves a trace of 0.008, which many questions show."

Part = Literal["alone", "compared", "both"]
Knowledge = Callable[[np.random.Generator, int], FloatArray]
"""Draws how much the rankings know in each question: (questions, 3), by stage."""


def simulate(n_questions: int, samples: int, seed: int) -> list[Rate]:
    """Judge rankings that know nothing on average, that know as much as one another, and of which the fresh ones know more."""
    rng = np.random.default_rng(seed)
    few = _FEW if n_questions < 20 else ""
    ignorant = draw(rng, n_questions, samples, knowledge=_nothing)
    blank = draw(rng, n_questions, samples, knowledge=_blank)
    drifting = draw(rng, n_questions, samples, knowledge=_nothing, trend=1.5, part="alone")
    alike = draw(rng, n_questions, samples, knowledge=_as_much, part="compared")
    better = draw(rng, n_questions, samples, knowledge=_more, part="compared")
    truth, given, windowed = _truth(), TERMS.index("kendall_given_position"), TERMS.index("overlap")
    shown = []
    for number, term in enumerate(TERMS):
        world, setting = (blank, "nothing known") if number == windowed else (ignorant, "nothing known on average")
        for name, of in _RANKINGS.items():
            share = finding(combined(of(world)[..., number]))
            note = _HANDICAP if name == "fresh" and n_questions > 50 else few
            shown.append(Rate(f"{name}, {term}", "false positives", share, samples, setting, note))
    share = finding(combined(_frozen(drifting)[..., given]))
    note = few or _TRACE
    shown.append(Rate("made at 1, kendall_given_position", "false positives", share, samples, "shared trend", note))
    share = finding(combined(_mean_difference(alike)[..., 0]))
    shown.append(Rate("fresh less made at 1, kendall", "false positives", share, samples, "as much known", few))
    by_stage = [combined(_difference(alike)[:, :, stage, 0]).p_value for stage in range(2)]
    shown.append(
        Rate(
            "any of 2 stages, Holm", "false positives", any_found(np.stack(by_stage, axis=1)), samples, "as much known", _FAMILY
        )
    )
    for number, term in enumerate(TERMS):
        share = holding(combined(_mean_difference(better)[..., number]), truth[number])
        shown.append(Rate(f"fresh less made at 1, {term}", "coverage", share, samples, "fresh knows more", few))
    found = combined(_mean_difference(better)[..., 0])
    return [*shown, Rate("fresh less made at 1, kendall", "power", finding(found), samples, f"{truth[0]:.2f}")]


def draw(
    rng: np.random.Generator, n_questions: int, samples: int, *, knowledge: Knowledge, trend: float = 0, part: Part = "both"
) -> FloatArray:
    """Draw questions and judge their rankings.

    Parameters
    ----------
    rng
        Of the draws.
    n_questions, samples
        To draw.
    knowledge
        How much rankings know.
    trend
        How much the hidden order, and every ranking, rise with position.
    part
        What is worked out of what is returned; NaN for the rest.

    Returns
    -------
    (samples, questions, 4, 2, 4): the `TERMS` of the ranking made at either of the later stages and of the one made at the
    first, both judged at that stage, and of both once more where they are compared; means of the chains of a question.
    """
    total = samples * n_questions
    n_drawn = min(total, _POOL)
    blocks = [min(_AT_ONCE, n_drawn - start) for start in range(0, n_drawn, _AT_ONCE)]
    found = np.concatenate([_judged(rng, knowledge(rng, block), trend, part) for block in blocks])
    if n_drawn == total:
        return found.reshape(samples, n_questions, *found.shape[1:])
    return found[np.stack([rng.choice(n_drawn, n_questions, replace=False) for _ in range(samples)])]


def _judged(rng: np.random.Generator, known: FloatArray, trend: float, part: Part) -> FloatArray:
    """Draw the chains of some questions; (questions, stages) -> (questions, 4, later stages, terms)."""
    shape = (len(known), _CHAINS, TOKENS)
    rise = trend * np.linspace(-1, 1, TOKENS)
    own = autocorrelated(rng, shape)
    rankings = [weight[:, None, None] * own + autocorrelated(rng, shape) + rise for weight in known.T]
    hidden = own + rise
    time = np.full(shape, np.inf)
    for stage, ranking in enumerate(rankings):
        start, stop = _DELETED[stage], (*_DELETED, _END)[stage + 1]
        left = np.where(np.isinf(time), hidden, np.inf)
        lowest = np.where(np.isinf(time), ranking, np.inf).argmin(axis=-1)
        np.put_along_axis(left, lowest[..., None], -np.inf, axis=-1)
        place = left.argsort(axis=-1).argsort(axis=-1)
        time = np.where(np.isinf(time) & (place < stop - start), start + place, time)
    time[np.isinf(time)] = _END
    found = []
    for stage, ranking in list(enumerate(rankings))[1:]:
        tokens = np.sort(time.argsort(axis=-1, kind="stable")[..., _DELETED[stage] :], axis=-1)
        left = np.stack([np.take_along_axis(each, tokens, axis=-1) for each in (ranking, rankings[0])], axis=-2)
        after = np.take_along_axis(time, tokens, axis=-1)
        n, alone, pair = tokens.shape[-1], *np.full((2, *left.shape[:-1], len(TERMS)), np.nan)
        if part != "compared":
            is_out = after == _DELETED[stage]
            alone = _without(is_out.reshape(-1, n), left.reshape(-1, 2, n), after.reshape(-1, n)).reshape(alone.shape)
        if part != "alone":
            is_out = lowest_of_any(left)
            pair = _without(is_out.reshape(-1, n), left.reshape(-1, 2, n), after.reshape(-1, n)).reshape(pair.shape)
        found.append(np.concatenate([alone, pair], axis=-2).mean(axis=1))
    return np.stack(found, axis=2)


def _without(is_out: BoolArray, left: FloatArray, after: FloatArray) -> FloatArray:
    """Judge two rankings of the tokens left, but for some; (rows, n), (rows, 2, n) and (rows, n) -> (rows, 2, terms)."""
    is_in = ~is_out
    found = np.empty((*left.shape[:2], len(TERMS)))
    for n in np.unique(is_in.sum(axis=-1)):
        rows = is_in.sum(axis=-1) == n
        tokens = np.nonzero(is_in[rows])[1].reshape(-1, 1, n)
        found[rows] = foretold(
            np.take_along_axis(left[rows], tokens, axis=-1), np.take_along_axis(after[rows, None], tokens, axis=-1), _WINDOW
        )
    return found


def _nothing(rng: np.random.Generator, n: int) -> FloatArray:
    return 0.5 * rng.standard_normal((n, 3))


def _blank(_: np.random.Generator, n: int) -> FloatArray:
    """Overlap cannot be below -window / n, so that its mean over knowing more and less than nothing is not zero."""
    return np.zeros((n, 3))


def _as_much(rng: np.random.Generator, n: int) -> FloatArray:
    return np.asarray(0.7 + 0.3 * rng.standard_normal((n, 1)) + 0.3 * rng.standard_normal((n, 3)))


def _more(rng: np.random.Generator, n: int) -> FloatArray:
    return np.asarray(_as_much(rng, n) + np.array([0.0, 0.2, 0.4]))


@cache
def _truth() -> FloatArray:
    """Mean difference of a large sample of its own, by term."""
    reference = draw(np.random.default_rng(1234), _REFERENCE, 1, knowledge=_more, part="compared")
    return np.asarray(_mean_difference(reference)[0].mean(axis=0))


def _frozen(found: FloatArray) -> FloatArray:
    """First ranking, mean over the later stages; (samples, questions, terms)."""
    return np.asarray(found[:, :, 1].mean(axis=2))


def _fresh(found: FloatArray) -> FloatArray:
    """Fresh rankings, mean over the later stages; (samples, questions, terms)."""
    return np.asarray(found[:, :, 0].mean(axis=2))


def _difference(found: FloatArray) -> FloatArray:
    """Fresh less first ranking at the later stages; (samples, questions, stages, terms)."""
    return np.asarray(found[:, :, 2] - found[:, :, 3])


def _mean_difference(found: FloatArray) -> FloatArray:
    return np.asarray(_difference(found).mean(axis=2))


_RANKINGS: Final = {"made at 1": _frozen, "fresh": _fresh, "fresh less made at 1": _mean_difference}
