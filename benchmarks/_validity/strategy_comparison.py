"""``strategy_comparison``: curves that wander around a rise of their own, under strategies that are alike and that are not.

The nll of a chain is a random walk with a drift, so that neighbouring points of a curve resemble each other. The drift is that
of the strategy, changed by the question and by the question with the strategy; some questions do not react to deletions at
all, so that their strategies are tied. Chains have several lengths, and one strategy is evaluated at every fifth token only.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np

from analyses._statistics.bootstrap import Means, bootstrap_means, resample_counts
from analyses._statistics.friedman import friedman
from analyses._statistics.shares import bounded_means
from analyses._strategy_comparison.concentration import ratio_by_question
from analyses._strategy_comparison.curves import Points, mean_rise, rises
from benchmarks._validity import Rate
from benchmarks._validity._rates import any_found, holding
from benchmarks._validity._series import CHAINS
from reasoning_anatomy.types import FloatArray

_DRAWS: Final = 499
_LENGTHS: Final = (20, 40, 60)
"""Of the three chains of a question."""

_RATIOS: Final = np.array([0.9, 0.7, 0.5])
_DOWN_TO: Final = 0.5
_SPREAD: Final = 0.4
"""Standard deviation of the logarithm of what a question does to all drifts."""

_OWN: Final = 0.5
"""Of what a question does to the drift of one strategy, in nats per token."""

_UNMOVED: Final = 0.1
"""Share of the questions that do not react to deletions."""

_LEVELS: Final = (0.5, 1.5, 1.0, 1.1)
"""Drifts of best-first, worst-first and two random strategies: by how much the nll rises until nothing is left."""

_FAMILY: Final = "Holm over differences that share a strategy is careful."
_FEW: Final = "The studentised bootstrap is careful with so few questions."
_RATIO: Final = (
    "A ratio whose denominator is uncertain, given only if the two curves are clearly apart, with few questions by luck."
)


def simulate(n_questions: int, samples: int, seed: int) -> list[Rate]:
    """Compare four strategies that lose as much as one another, and four that do not."""
    rng = np.random.default_rng(seed)
    alike, _ = draw(rng, (1.0, 1.0, 1.0, 1.0), n_questions, samples)
    pairs = _combined((alike[..., :, None] - alike[..., None, :])[..., *np.triu_indices(4, 1)])
    area, at = draw(rng, _LEVELS, n_questions, samples)
    mean = 1 - _UNMOVED
    truth = mean * np.array(_LEVELS) * (1 - _DOWN_TO) / 2
    best, worst, chance, _ = np.moveaxis(area, -1, 0)
    distance = _combined((worst - best)[..., None])
    is_apart = distance.ci_low[:, 0] > 0  # elsewhere the analysis gives no shares
    avoided = _ratio((worst - best)[is_apart], worst[is_apart])
    place = _ratio((chance - best)[is_apart], (worst - best)[is_apart])
    place_of_chance = (_LEVELS[2] - _LEVELS[0]) / (_LEVELS[1] - _LEVELS[0])
    few, ratio = (note if n_questions < limit else "" for note, limit in ((_FEW, 20), (_RATIO, 50)))
    shown = [
        Rate("Friedman's test", "false positives", float((friedman(alike).p_value <= 0.05).mean()), samples),
        Rate("difference of two areas", "false positives", float((pairs.p_value[..., 0] <= 0.05).mean()), samples, note=few),
        Rate("any of 6 pairs, Holm", "false positives", any_found(pairs.p_value), samples, note=_FAMILY),
        Rate(
            "any of 3 beside a baseline, Holm",
            "false positives",
            any_found(pairs.p_value[:, [2, 4, 5]]),
            samples,
            note=_FAMILY,
        ),
        Rate("area", "coverage", holding(_combined(area[..., :1]), truth[:1]), samples),
        Rate("rise at keep ratio 0.5", "coverage", holding(_combined(at[..., 0, 2:]), mean * _LEVELS[0] * 0.5), samples),
        Rate("worst first - best first", "coverage", holding(distance, truth[1] - truth[0]), samples),
        Rate(
            "share that best first avoids",
            "coverage",
            holding(avoided, 1 - _LEVELS[0] / _LEVELS[1]),
            int(is_apart.sum()),
            note=ratio,
        ),
        Rate("place of random_tokens", "coverage", holding(place, place_of_chance), int(is_apart.sum()), note=ratio),
        Rate("curve, pointwise", "coverage", holding(_combined(at[..., 3, :]), mean * _LEVELS[3] * (1 - _RATIOS)), samples),
    ]
    answers = draw_answers(rng, n_questions, samples)
    resamples = resample_counts(n_questions, draws=_DRAWS, rng=np.random.default_rng(0))
    levels = bounded_means(answers[..., 0].T, resamples, confidence=0.95, lowest=0, highest=1)
    gap = bounded_means((answers[..., 0] - answers[..., 1]).T, resamples, confidence=0.95, lowest=-1, highest=1)
    found = _combined((worst - chance)[..., None])
    return [
        *shown,
        Rate("accuracy", "coverage", holding(levels, 0.6), samples),
        Rate("difference of accuracy", "false positives", float((gap.p_value <= 0.05).mean()), samples, note=few),
        Rate("difference of accuracy", "coverage", holding(gap, 0.0), samples, note=few),
        Rate("Friedman's test", "power", float((friedman(area).p_value <= 0.05).mean()), samples, _setting(truth)),
        Rate("difference of two areas", "power", float((found.p_value <= 0.05).mean()), samples, _setting(truth[1:3])),
    ]


def draw(rng: np.random.Generator, levels: Sequence[float], n_questions: int, samples: int) -> tuple[FloatArray, FloatArray]:
    """Draw curves, and read them as the analysis does.

    Parameters
    ----------
    rng
        Of the draws.
    levels
        Mean drift of every strategy.
    n_questions, samples
        To draw.

    Returns
    -------
    Areas, (samples, questions, strategies), and rises at the keep ratios, (samples, questions, strategies, ratios): means of
    the chains of a question.
    """
    shape = (samples, n_questions, len(levels))
    scale = np.exp(_SPREAD * rng.standard_normal((samples, n_questions, 1)) - _SPREAD**2 / 2)
    scale *= rng.random((samples, n_questions, 1)) >= _UNMOVED
    drift = scale * (np.array(levels) + _OWN * rng.standard_normal(shape))
    areas, at = np.zeros(shape), np.zeros((*shape, len(_RATIOS)))
    for length in _LENGTHS:
        for number in range(len(levels)):
            every = 5 if number == 1 else 1
            walk = rng.standard_normal((samples, n_questions, length)) / np.sqrt(length)
            steps = drift[..., number, None] / length + 0.5 * scale * walk
            nll = np.concatenate([np.zeros((samples, n_questions, 1)), np.cumsum(steps, axis=-1)], axis=-1)
            points = Points(np.arange(0, length + 1, every) / length, nll[..., ::every])
            areas[..., number] += mean_rise(points, _DOWN_TO) / CHAINS
            at[..., number, :] += rises(points, _RATIOS) / CHAINS
    return areas, at


def draw_answers(rng: np.random.Generator, n_questions: int, samples: int) -> FloatArray:
    """Accuracy of two strategies with the mean 0.6, four answers for each question at both thresholds beside a keep ratio.

    The value between two thresholds is a mean of theirs. (samples, questions, 2).
    """
    chance = rng.beta(1.2, 0.8, (samples, n_questions, 1, 1))
    own = np.clip(chance + 0.4 * chance * (1 - chance) * rng.choice([-1, 1], (samples, n_questions, 2, 1)), 0, 1)
    return np.asarray(rng.binomial(4, own, (samples, n_questions, 2, 2)).mean(axis=-1) / 4)


def _combined(values: FloatArray) -> Means:
    """Mean of every sample with its interval; (samples, questions, columns) -> fields (samples, columns)."""
    samples, n_questions, columns = values.shape
    resamples = resample_counts(n_questions, draws=_DRAWS, rng=np.random.default_rng(0))
    means = bootstrap_means(values.transpose(1, 0, 2).reshape(n_questions, -1), resamples, confidence=0.95)
    return Means(**{name: field.reshape(samples, columns) for name, field in vars(means).items()})


def _ratio(top: FloatArray, bottom: FloatArray) -> Means:
    """Ratio of two means over questions; (samples, questions) each -> fields (samples, 1)."""
    return _combined(np.stack([ratio_by_question(*of_one) for of_one in zip(top, bottom, strict=True)]))


def _setting(truth: FloatArray) -> str:
    return f"areas of {', '.join(f'{value:.2f}' for value in truth)}"
