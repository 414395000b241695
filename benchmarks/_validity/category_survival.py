"""``category_survival``: kinds of token in runs, with places of their own, of which some are deleted sooner."""

from dataclasses import dataclass
from functools import cache
from typing import Final

import numpy as np

from analyses._category_survival.evidence import contrasts_in_chain, in_groups
from analyses._category_survival.hazards import ratios_and_changes
from analyses._sample import QuestionSample
from analyses._schemes import SCHEMES
from analyses._statistics.bootstrap import resample_counts
from analyses._statistics.cox import deletions_of
from analyses._statistics.position import BoolArray, raw_contrasts
from analyses._statistics.shares import bounded_means
from analyses._statistics.survival import relative_times, restricted_times, shares_left
from benchmarks._validity import Rate
from benchmarks._validity._rates import DRAWS, any_found, combined, finding, holding
from benchmarks._validity._series import CHAINS, TOKENS, autocorrelated
from reasoning_anatomy.types import FloatArray

CLASSES: Final = next(scheme for scheme in SCHEMES if scheme.name == "classes")
SIX: Final = next(scheme for scheme in SCHEMES if scheme.name == "categories")

_HEIGHTS: Final = (-0.97, -0.43, 0.0, 0.43, 0.97)
_HORIZON: Final = 0.6
_TIMES: Final = np.array([0.1, 0.2, 0.3, 0.4, 0.5, 0.6])
_RATIO: Final = 0.5
_AT_ONCE: Final = 4000  # questions
_REFERENCE_QUESTIONS: Final = 6000
_CONTRASTS: Final = ("difference of classes", "... given position", "... given position and surprisal")


@dataclass(frozen=True)
class World:
    """How tokens are deleted.

    Attributes
    ----------
    effects
        What is added to the log of the time of the first class, drawn for every question.
    trend
        How much of the log of the time follows position.
    surprising
        How much of it follows surprisal, in which the classes differ.
    proportional
        Whether times are exponential given the class, so that hazards are proportional, and do not depend on position.
    """

    effects: tuple[float, ...]
    trend: float = 0
    surprising: float = 0
    proportional: bool = False


NOTHING: Final = World((-0.5, 0, 0.5))
PLACE: Final = World((0,), trend=1.5)
PLACE_AND_SURPRISAL: Final = World((0,), trend=1.5, surprising=0.7)
SOMETHING: Final = World((0.2, 1.0))
_LOG_RATIO: Final = 0.5
PROPORTIONAL: Final = World((_LOG_RATIO,), proportional=True)


def simulate(n_questions: int, samples: int, seed: int) -> list[Rate]:
    """Delete by chance, by place, by place and surprisal, then one class later."""
    n = samples * n_questions
    nothing, place, surprisal, something, proportional = (
        values_of(world, n, seed + number).of_samples(samples)
        for number, world in enumerate((NOTHING, PLACE, PLACE_AND_SURPRISAL, SOMETHING, PROPORTIONAL))
    )
    truth = _truth()
    family = np.stack([combined(place.pairs[..., pair]).p_value for pair in range(len(SIX.pairs))], axis=1)
    any_pair = any_found(family)
    hazards = {name: _hazards(values) for name, values in (("no", nothing), ("ph", proportional), ("yes", something))}
    true_hazards = _hazards(truth)[:, 0].mean(axis=-1)
    true_contrasts, true_excess, true_curve = (
        np.nanmean(values[0], axis=0) for values in (truth.contrasts, truth.excess, truth.curves)
    )
    few = "With so few questions the jackknife and the largest of several statistics are careful." if n_questions < 20 else ""
    size = f"{true_contrasts[0]:.2f} of the chain"
    return [
        Rate(_CONTRASTS[0], "false positives", finding(combined(nothing.contrasts[..., 0])), samples),
        Rate(_CONTRASTS[1], "false positives", finding(combined(place.contrasts[..., 1])), samples, "by place"),
        Rate(_CONTRASTS[2], "false positives", finding(combined(surprisal.contrasts[..., 2])), samples, "by both"),
        Rate(
            "any of 15 pairs of categories, Holm", "false positives", any_pair, samples, "by place",
            note="Related differences: Holm is careful.",
        ),
        Rate("retention at 0.5", "false positives", finding(combined(nothing.excess)), samples),
        Rate("hazard ratio", "false positives", finding(combined(hazards["no"][0])), samples, note=few),
        Rate("change of the hazard ratio", "false positives", finding(combined(hazards["ph"][1])), samples),
        *(
            Rate(name, "coverage", holding(combined(something.contrasts[..., number]), true_contrasts[number]), samples)
            for number, name in enumerate(_CONTRASTS)
        ),
        Rate("retention at 0.5", "coverage", holding(combined(something.excess), true_excess.item()), samples),
        Rate("hazard ratio", "coverage", holding(combined(hazards["yes"][0]), true_hazards[0]), samples),
        Rate("hazard ratio", "coverage", holding(combined(hazards["ph"][0]), -_LOG_RATIO), samples, "proportional"),
        Rate("change of the hazard ratio", "coverage", holding(combined(hazards["yes"][1]), true_hazards[1]), samples),
        *(
            Rate(f"curve at {_TIMES[at]}", "coverage", _curve_holds(something.curves[..., at], true_curve[at]), samples)
            for at in (0, 2, 5)
        ),
        Rate("curve at all times, band", "coverage", _band_holds(something.curves, true_curve), samples, note=few),
        Rate(_CONTRASTS[0], "power", finding(combined(something.contrasts[..., 0])), samples, size),
        Rate(_CONTRASTS[1], "power", finding(combined(something.contrasts[..., 1])), samples, size),
    ]  # fmt: skip


@dataclass(frozen=True, eq=False)
class Values:
    """What questions say of the first class, in the leading dimensions ``...``.

    Attributes
    ----------
    contrasts
        (..., 3) its difference from the second: as it is, given position, given position and surprisal.
    pairs
        (..., 15) differences of categories, given position.
    excess, curves
        (...,) excess at a keep ratio of one half, and (..., times) share that is left.
    step, is_first
        (..., chains, n) deletion steps, and which tokens are of it.
    """

    contrasts: FloatArray
    pairs: FloatArray
    excess: FloatArray
    curves: FloatArray
    step: FloatArray
    is_first: BoolArray

    def of_samples(self, samples: int) -> "Values":
        """Divide the questions into samples."""
        return Values(*(each.reshape(samples, -1, *each.shape[1:]) for each in vars(self).values()))


def values_of(world: World, n_questions: int, seed: int) -> Values:
    """Draw questions and take their values."""
    rng = np.random.default_rng(seed)
    sizes = [min(_AT_ONCE, n_questions - start) for start in range(0, n_questions, _AT_ONCE)]
    parts = [vars(_some_values(world, size, rng)) for size in sizes]
    return Values(*(np.concatenate([part[name] for part in parts]) for name in parts[0]))


def _some_values(world: World, n_questions: int, rng: np.random.Generator) -> Values:
    effect = rng.choice(world.effects, size=(n_questions, 1, 1))
    step, category, surprisal = drawn(world, effect, rng)
    time, is_deleted = relative_times(step)
    of_category = category[..., None] == np.arange(6)
    member, of_six = in_groups(of_category, CLASSES), in_groups(of_category, SIX)
    outcome = restricted_times(time, is_deleted, _HORIZON)[..., None]
    is_read = world in (PLACE_AND_SURPRISAL, SOMETHING)
    contrasts = contrasts_in_chain(outcome, member, np.array([[1.0, -1.0]]), surprisal if is_read else None)[..., 0, 0]
    pairs = np.full((n_questions, CHAINS, len(SIX.pairs)), np.nan)
    if world is PLACE:
        pairs = contrasts_in_chain(outcome, of_six, SIX.contrasts[6:], None)[..., 1, :, 0]
    is_kept = ~(step <= (1 - _RATIO) * TOKENS)
    excess = raw_contrasts(is_kept[..., None].astype(np.float64) - _RATIO, member, np.array([[1.0, 0.0]]))[..., 0, 0]
    curves = shares_left(time, is_deleted, member, _TIMES)[..., 0, :]
    means = [_by_question(each) for each in (contrasts, pairs, excess, curves)]
    return Values(means[0], means[1], means[2], means[3], step, member[..., 0])


def drawn(world: World, effect: FloatArray, rng: np.random.Generator) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Draw deletion step, category and surprisal of tokens, (questions, chains, n) each.

    Between a tenth and a third of a chain is never deleted. Neighbours resemble each other in all three, and each category has
    places where it is frequent.
    """
    shape = (len(effect), CHAINS, TOKENS)
    places = np.linspace(-1, 1, TOKENS)
    category = np.searchsorted(_HEIGHTS, (autocorrelated(rng, shape) + 0.8 * places) / np.sqrt(1 + 0.64 / 3))
    is_first = CLASSES.group_of_category[category] == 0
    surprisal = autocorrelated(rng, shape) + 0.8 * is_first
    if world.proportional:
        time = np.log(rng.standard_exponential(shape))
    else:
        time = autocorrelated(rng, shape) + world.trend * np.tanh(8 * (places + 0.4)) + world.surprising * surprisal
    step = (time + effect * is_first).argsort(axis=-1).argsort(axis=-1) + 1.0
    step[step > TOKENS * (1 - rng.uniform(0.1, 0.33, size=(*shape[:2], 1)))] = np.nan
    return step, category, np.exp(surprisal)


@cache
def _truth() -> Values:
    """Values of so many questions that their error does not matter."""
    return values_of(SOMETHING, _REFERENCE_QUESTIONS, 12345).of_samples(1)


def _hazards(values: Values) -> FloatArray:
    """Pseudo-values of the log hazard ratio of the first class, and of its change. -> (2, samples, questions)."""
    found = []
    for step, is_first in zip(values.step, values.is_first, strict=True):
        time, is_deleted = relative_times(step)
        member = np.stack([is_first, ~is_first], axis=-1).reshape(-1, 2)
        chain = np.repeat(np.arange(step[..., 0].size), TOKENS)
        deletions = deletions_of(time.ravel(), is_deleted.ravel(), member, chain)
        is_early = (time <= time.max(axis=-1, keepdims=True) / 2).ravel()[deletions.token]
        question = chain[deletions.token] // CHAINS
        found.append(ratios_and_changes(deletions, question, is_early, len(step), reference=1)[:, :, 0])
    return np.stack(found, axis=1)


def _by_question(values: FloatArray) -> FloatArray:
    """Mean over chains; (questions, chains, ...) -> (questions, ...)."""
    n_chains = np.isfinite(values).sum(axis=1)
    return np.asarray(np.where(n_chains > 0, np.nansum(values, axis=1) / np.maximum(n_chains, 1), np.nan))


def _curve_holds(values: FloatArray, truth: float) -> float:
    counts = resample_counts(values.shape[1], draws=DRAWS, rng=np.random.default_rng(0))
    return holding(bounded_means(values.T, counts, confidence=0.95, lowest=0, highest=1), truth)


def _band_holds(curves: FloatArray, truth: FloatArray) -> float:
    """Share of the samples whose band holds the curve at every time; (samples, questions, times)."""
    sample = QuestionSample(tuple(map(str, range(curves.shape[1]))), DRAWS, 0.95, 0)
    bands = [sample.band(curve) for curve in curves]
    return float(np.mean([((low <= truth) & (truth <= high))[np.isfinite(low)].all() for low, high in bands]))
