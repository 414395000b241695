"""``category_survival``: kinds of token in runs, with places of their own, of which some are deleted sooner."""

from dataclasses import dataclass
from functools import cache
from typing import Final

import numpy as np

from analyses._category_survival.evidence import contrasts_in_chain, in_groups
from analyses._category_survival.hazards import ratios_and_changes
from analyses._sample import QuestionSample
from analyses._schemes import SCHEMES, Scheme
from analyses._statistics.bootstrap import Means, bootstrap_means, resample_counts
from analyses._statistics.cox import Deletions, deletions_of
from analyses._statistics.families import adjust
from analyses._statistics.shares import bounded_means
from analyses._statistics.survival import kept_at_ratios, relative_times, restricted_times, shares_left
from benchmarks._validity import Rate
from benchmarks._validity._series import CHAINS, TOKENS, autocorrelated
from reasoning_anatomy.types import FloatArray

CLASSES: Final = next(scheme for scheme in SCHEMES if scheme.name == "classes")
SIX: Final = next(scheme for scheme in SCHEMES if scheme.name == "categories")

_PLACES: Final = np.linspace(-1, 1, TOKENS)
_DRAWS: Final = 999
_HORIZON: Final = 0.6
_TIMES: Final = np.array([0.1, 0.2, 0.3, 0.4, 0.5, 0.6])
_RATIO: Final = np.array([0.5])
_REFERENCE_QUESTIONS: Final = 4000
_FIRST, _LAST = np.array([[1.0, -1.0]]), 1  # the contrast of the classes, and the one that is the reference of hazard ratios


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
PROPORTIONAL: Final = World((0.5,), proportional=True)


def simulate(n_questions: int, samples: int, seed: int) -> list[Rate]:
    """Delete by chance, by place, by place and surprisal, then one class later."""
    nothing, place = Sample(NOTHING, n_questions, samples, seed), Sample(PLACE, n_questions, samples, seed + 1)
    surprisal = Sample(PLACE_AND_SURPRISAL, n_questions, samples, seed + 2)
    something, truth = Sample(SOMETHING, n_questions, samples, seed + 3), _truth()
    proportional = Sample(PROPORTIONAL, n_questions, samples, seed + 4)
    family = np.stack([_combined(place.pairs[:, pair]).p_value for pair in range(place.pairs.shape[1])], axis=1)
    any_pair = float(np.mean([(adjust(each, "holm") <= 0.05).any() for each in family]))
    size = f"{truth.contrasts[0].mean():.2f} of the chain"
    return [
        Rate("difference of classes", "false positives", _found(_combined(nothing.contrasts[:, 0])), samples),
        Rate("... given position", "false positives", _found(_combined(place.contrasts[:, 1])), samples, "by place"),
        Rate(
            "... given position and surprisal", "false positives", _found(_combined(surprisal.contrasts[:, 2])), samples,
            "by place and surprisal",
        ),
        Rate(
            "any of 15 pairs of categories, Holm", "false positives", any_pair, samples, "by place",
            note="Related differences: Holm is careful.",
        ),
        Rate("retention at 0.5", "false positives", _found(_combined(nothing.excess)), samples),
        Rate("hazard ratio", "false positives", _found(_combined(nothing.hazards[:, 0])), samples),
        Rate("change of the hazard ratio", "false positives", _found(_combined(proportional.hazards[:, 1])), samples),
        *(
            Rate(name, "coverage", _holds(_combined(something.contrasts[:, number]), truth.contrasts[:, number].mean()), samples)
            for number, name in enumerate(
                ("difference of classes", "... given position", "... given position and surprisal")
            )
        ),
        Rate("retention at 0.5", "coverage", _holds(_combined(something.excess), truth.excess.mean()), samples),
        Rate("hazard ratio", "coverage", _holds(_combined(something.hazards[:, 0]), truth.hazards[:, 0].mean()), samples),
        Rate("hazard ratio", "coverage", _holds(_combined(proportional.hazards[:, 0]), -0.5), samples, "proportional"),
        Rate("change of the hazard ratio", "coverage", _holds(_combined(something.hazards[:, 1]), truth.hazards[:, 1].mean()), samples),
        *(
            Rate("curve at a time", "coverage", _curve_holds(something, truth, number), samples, f"time {_TIMES[number]}")
            for number in (0, 2, 5)
        ),
        Rate("curve at all times, band", "coverage", _band_holds(something, truth), samples),
        Rate("difference of classes", "power", _found(_combined(something.contrasts[:, 0])), samples, size),
        Rate("... given position", "power", _found(_combined(something.contrasts[:, 1])), samples, size),
    ]  # fmt: skip


class Sample:
    """Samples of questions from a world.

    Attributes
    ----------
    contrasts
        (samples, 3, questions) difference of the classes: as it is, given position, given position and surprisal.
    pairs
        (samples, 15, questions) of categories, given position.
    excess
        (samples, questions) of the first class at a keep ratio of one half.
    curves
        (samples, times, questions) of the first class.
    hazards
        (samples, 2, questions) pseudo-values of the log hazard ratio of the first class, and of its change.
    """

    def __init__(self, world: World, n_questions: int, samples: int, seed: int) -> None:
        rng = np.random.default_rng(seed)
        shape = (samples, n_questions, CHAINS)
        contrasts, pairs = np.full((*shape, 3), np.nan), np.full((*shape, len(SIX.pairs)), np.nan)
        excess, curves = np.full((*shape, 1), np.nan), np.full((*shape, len(_TIMES)), np.nan)
        self.hazards = np.full((samples, 2, n_questions), np.nan)
        for sample in range(samples):
            deletions: list[Deletions] = []
            question, is_early = [], []
            for number in range(n_questions):
                effect = rng.choice(world.effects)
                for chain in range(CHAINS):
                    step, category, surprisal = drawn(world, effect, rng)
                    at = (sample, number, chain)
                    time, is_deleted = relative_times(step)
                    member = in_groups(category[:, None] == np.arange(6), CLASSES)
                    is_kept, achieved = kept_at_ratios(step, _RATIO)
                    outcome = restricted_times(time, is_deleted, _HORIZON)[:, None]
                    contrasts[at] = contrasts_in_chain(outcome, member, _FIRST, surprisal)[:, 0, 0]
                    if world is PLACE:
                        of_six = in_groups(category[:, None] == np.arange(6), SIX)
                        pairs[at] = contrasts_in_chain(outcome, of_six, SIX.contrasts[6:], None)[1, :, 0]
                    if world in (NOTHING, SOMETHING):
                        excess[at] = contrasts_in_chain(is_kept - achieved, member, np.array([[1.0, 0.0]]), None)[0, 0]
                        curves[at] = shares_left(time, is_deleted, member, _TIMES)[0]
                    if world in (NOTHING, SOMETHING, PROPORTIONAL):
                        deletions.append(deletions_of(time, is_deleted, member))
                        question += [number] * int(is_deleted.sum())
                        is_early.append(np.sort(time[is_deleted]) <= time.max() / 2)
            if deletions:
                joined = Deletions(
                    np.concatenate([each.at_risk for each in deletions]), np.concatenate([each.group for each in deletions])
                )
                found = ratios_and_changes(joined, np.array(question), np.concatenate(is_early), n_questions, reference=_LAST)
                self.hazards[sample] = found[:, :, 0]
        self.contrasts, self.pairs = (_by_question(each) for each in (contrasts, pairs))
        self.excess, self.curves = _by_question(excess)[:, 0], _by_question(curves)


def drawn(world: World, effect: float, rng: np.random.Generator) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Draw deletion step, category and surprisal of the tokens of a chain; between a tenth and a third is never deleted."""
    category = categories_in_runs(rng)
    is_first = CLASSES.group_of_category[category] == 0
    surprisal = autocorrelated(rng, (TOKENS,)) + 0.8 * is_first
    if world.proportional:
        time = np.log(rng.standard_exponential(TOKENS))
    else:
        time = autocorrelated(rng, (TOKENS,)) + world.trend * np.tanh(8 * (_PLACES + 0.4)) + world.surprising * surprisal
    step = (time + effect * is_first).argsort().argsort() + 1.0
    step[step > TOKENS - rng.integers(4, 14)] = np.nan
    return step, category, np.exp(surprisal)


def categories_in_runs(rng: np.random.Generator) -> FloatArray:
    """Draw the numbers of categories: neighbours resemble each other, and each has places where it is frequent."""
    height = (autocorrelated(rng, (TOKENS,)) + 0.8 * _PLACES) / np.sqrt(1 + 0.64 / 3)
    return np.asarray(np.searchsorted([-0.97, -0.43, 0.0, 0.43, 0.97], height))


@cache
def _truth() -> Sample:
    """Values of so many questions that their error does not matter."""
    return Sample(SOMETHING, _REFERENCE_QUESTIONS, 1, 12345)


def _by_question(values: FloatArray) -> FloatArray:
    """Mean over chains; (samples, questions, chains, columns) -> (samples, columns, questions)."""
    n_chains = np.isfinite(values).sum(axis=2)
    means = np.where(n_chains > 0, np.nansum(values, axis=2) / np.maximum(n_chains, 1), np.nan)
    return np.asarray(means.transpose(0, 2, 1))


def _combined(values: FloatArray) -> Means:
    """Mean of every sample with its interval; (samples, questions) -> (samples,)."""
    counts = resample_counts(values.shape[1], draws=_DRAWS, rng=np.random.default_rng(0))
    return bootstrap_means(values.T, counts, confidence=0.95)


def _found(means: Means) -> float:
    return float((means.p_value <= 0.05).mean())


def _holds(means: Means, truth: float) -> float:
    return float(((means.ci_low <= truth) & (truth <= means.ci_high)).mean())


def _curve_holds(sample: Sample, truth: Sample, number: int) -> float:
    values = sample.curves[:, number]
    counts = resample_counts(values.shape[1], draws=_DRAWS, rng=np.random.default_rng(0))
    return _holds(bounded_means(values.T, counts, confidence=0.95, lowest=0, highest=1), float(truth.curves[:, number].mean()))


def _band_holds(sample: Sample, truth: Sample) -> float:
    """Share of samples whose band holds the curve at every time."""
    n_questions = sample.curves.shape[2]
    questions = QuestionSample(tuple(map(str, range(n_questions))), _DRAWS, 0.95, 0)
    curve = truth.curves[0].mean(axis=1)
    held = []
    for values in sample.curves:
        low, high = questions.band(values.T)
        held.append(bool(((low <= curve) & (curve <= high))[np.isfinite(low)].all()))
    return float(np.mean(held))
