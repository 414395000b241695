"""``best_head``: heads that resemble each other, of which none goes with the deletion order, or one, or all more or less."""

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np

from analyses._best_head.tables import FLATTERY, OTHER, mirrored
from analyses._statistics.bootstrap import bootstrap_means, resample_counts
from analyses._statistics.correlation import centred_ranks, given_position
from analyses._statistics.halves import judge, random_halves
from analyses._statistics.shifts import ShiftedMeans, shifted_correlations
from benchmarks._validity import Kind, Rate
from benchmarks._validity._rates import FEW
from benchmarks._validity._series import CHAINS, TOKENS, autocorrelated
from reasoning_anatomy.types import FloatArray

_DRAWS: Final = 499
_HEADS: Final = 100
_HEADS_OF_TOKENS: Final = 8
_HALVINGS: Final = 25
_SD: Final = 0.2
"""Between questions, half of whose variance all heads share."""

_PLACES: Final = np.linspace(-np.sqrt(3), np.sqrt(3), TOKENS)
_LEFT_BY_SHIFTS: Final = (
    "A shift by a few tokens leaves some of the relation that a question has, so that chance seems to give more than it does."
)
_AVERAGED_OUT: Final = (
    "Where no head is better than others, every half chooses another, and what they are judged at averages out."
)

_SERIES: Final[Sequence[tuple[str, bool, Mapping[str, float]]]] = (
    ("", False, {}),
    ("questions differ around zero", False, {"slope": 0.3}),
    ("both rise with position", True, {"trend": 0.6}),
    ("one head of 8, slope 0.15, both rise with position", True, {"effect": 0.15, "trend": 0.6}),
)
"""Of what tokens are drawn: setting, whether position is held constant, and options of `any_head_found`."""

MEANS: Final = {
    "no head": np.zeros(_HEADS),
    "one head, rho 0.2": 0.2 * (np.arange(_HEADS) == 7),
    "all heads, rho 0.1 with sd 0.1": 0.1 + 0.1 * np.random.default_rng(0).standard_normal(_HEADS),
}
"""True means of the heads."""


def simulate(n_questions: int, samples: int, seed: int) -> list[Rate]:
    """Draw what the questions say of every head, and, for the shifts, tokens."""
    rates = []
    for number, (world, means) in enumerate(MEANS.items()):
        found = judged(means, n_questions, samples, seed=seed + number)
        note = (FEW if n_questions < 20 else "") if world.startswith("all") else _AVERAGED_OUT
        if world == "no head":
            rates.append(Rate("other questions", "false positives", found["found"], samples, "no head", note))
        rates += [
            Rate("other questions", "coverage", found[OTHER], samples, world, note),
            Rate("flattery", "coverage", found[FLATTERY], samples, world, note),
        ]
        if world != "no head":
            rates.append(Rate("other questions", "power", found["found"], samples, world))
    for number, (setting, given, options) in enumerate(_SERIES):
        share = any_head_found(n_questions, samples, given=given, seed=seed + 10 + number, **options)
        quantity = f"any head{' given position' if given else ''}, shifts"
        kind: Kind = "power" if "effect" in options else "false positives"
        rates.append(Rate(quantity, kind, share, samples, setting, _LEFT_BY_SHIFTS if "slope" in options else ""))
    return rates


def judged(means: FloatArray, n_questions: int, samples: int, *, seed: int) -> dict[str, float]:
    """Share of samples in which the mean on other questions is found to differ from zero, and in which intervals hold.

    The truth is the true mean of the heads that were chosen, as often as each of them was; of the flattery, what the best head
    on the same questions has beyond that.
    """
    rng = np.random.default_rng(seed)
    halves = random_halves(n_questions, halvings=_HALVINGS, rng=np.random.default_rng(0))
    for_inference = np.empty((n_questions, samples))
    truth, best = np.empty((2, samples))
    for sample in range(samples):
        noise = (rng.standard_normal((n_questions, 1)) + rng.standard_normal((n_questions, len(means)))) / np.sqrt(2)
        rho = means + _SD * noise
        chosen = judge(rho, halves)
        for_inference[:, sample] = chosen.for_inference
        truth[sample], best[sample] = means[chosen.column].mean(), rho.mean(axis=0).max()
    resamples = resample_counts(n_questions, draws=_DRAWS, rng=np.random.default_rng(0))
    found = bootstrap_means(for_inference, resamples, confidence=0.95)
    flattery_low, flattery_high = mirrored(best, found.ci_low, found.ci_high)
    return {
        "found": float((found.p_value <= 0.05).mean()),
        OTHER: float(((found.ci_low <= truth) & (truth <= found.ci_high)).mean()),
        FLATTERY: float(((flattery_low <= best - truth) & (best - truth <= flattery_high)).mean()),
    }


def any_head_found(
    n_questions: int,
    samples: int,
    *,
    given: bool,
    seed: int,
    trend: float = 0.0,
    slope: float = 0.0,
    effect: float = 0.0,
) -> float:
    """Share of samples in which circular shifts find some head.

    Parameters
    ----------
    n_questions, samples
        To draw.
    given
        Whether position is held constant.
    seed
        Of the draws.
    trend
        By which attention and the order of deletion rise with position.
    slope
        Standard deviation of the relation of all heads to the order between questions, around zero.
    effect
        Relation of the first head to the order.
    """
    rng = np.random.default_rng(seed)
    found = 0
    for _ in range(samples):
        shape = (n_questions, CHAINS)
        order = autocorrelated(rng, (*shape, 1, TOKENS))
        shared = autocorrelated(rng, (*shape, 1, TOKENS)) + autocorrelated(rng, (*shape, _HEADS_OF_TOKENS, TOKENS))
        of_head = effect * (np.arange(_HEADS_OF_TOKENS) == 0)[:, None]
        relation = slope * rng.standard_normal((n_questions, 1, 1, 1)) + of_head
        heads = shared / np.sqrt(2) + relation * order + trend * _PLACES
        orders = order + trend * _PLACES
        of_heads, of_orders = (
            np.asarray(given_position(values) if given else centred_ranks(values), dtype=np.float64)
            for values in (heads, orders)
        )
        means = ShiftedMeans(draws=_DRAWS, n_columns=_HEADS_OF_TOKENS)
        by_shift = shifted_correlations(of_heads, of_orders[:, :, 0])
        shifts = rng.integers(0, TOKENS, size=(*shape, _DRAWS))
        for question in range(n_questions):
            means.add(list(zip(by_shift[question], shifts[question], strict=True)))
        found += bool(np.nanmin(means.p_max()) <= 0.05)
    return found / samples
