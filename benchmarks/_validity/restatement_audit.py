"""``restatement_audit``: chains in which some tokens restate the answer, deleted like all others or later than they."""

from typing import Final

import numpy as np

from analyses._restatement_audit.deletion_time import contrasts_with_and_without
from analyses._restatement_audit.likelihood import areas_with_and_without, falls_at
from analyses._statistics.fieller import ratio_of_means
from analyses._strategy_comparison.curves import Points
from benchmarks._validity import Rate
from benchmarks._validity._rates import combined, finding, holding
from benchmarks._validity._series import CHAINS, TOKENS, autocorrelated
from reasoning_anatomy.types import FloatArray

_HORIZON: Final = 0.6
_REFERENCE_QUESTIONS: Final = 6000
_AT_ONCE: Final = 4000  # questions
_STATED: Final = 4  # of the tokens, among those of the first class
_SHARE_LEFT: Final = 0.7
_PATHS: Final = 3000  # pairs of paths that questions are drawn from


def simulate(n_questions: int, samples: int, seed: int) -> list[Rate]:
    """Leave out tokens that are like the others; then some that are deleted later, and are of one class."""
    n = samples * n_questions
    alike = _of_samples(deletion_times(n, seed, late=0.0), samples)
    late = _of_samples(deletion_times(n, seed + 1, late=1.5), samples)
    truth = deletion_times(_REFERENCE_QUESTIONS, 12345, late=1.5).mean(axis=0)
    curves, true_areas = likelihoods(seed + 2, n, samples, sooner=0.3)
    same, _ = likelihoods(seed + 3, n, samples, sooner=0)
    answers = accuracies(seed + 4, n_questions, samples)
    size = f"{truth[1, 0] - truth[0, 0]:.2f}"
    few = "The symmetric bootstrap of so few questions is careful." if n_questions < 20 else ""
    rates = []
    for number, name in enumerate(("classes", "... given position")):
        kept, stripped = late[..., 0, number], late[..., 1, number]
        rates += [
            Rate(f"{name}: difference", "false positives", finding(combined(_change(alike)[..., number])), samples, note=few),
            Rate(
                f"{name}: difference",
                "coverage",
                holding(combined(stripped - kept), *(truth[1] - truth[0])[[number]]),
                samples,
                note=few,
            ),
            Rate(f"{name}: share left", "coverage", _holds_share(kept, stripped, truth[1, number] / truth[0, number]), samples),
        ]
    kept, stripped = curves[..., 0], curves[..., 1]
    return [
        *rates,
        Rate("classes: difference", "power", finding(combined(_change(late)[..., 0])), samples, size),
        Rate("areas: difference", "false positives", finding(combined(same[..., 1] - same[..., 0])), samples, note=few),
        Rate("areas: difference", "coverage", holding(combined(stripped - kept), true_areas[1] - true_areas[0]), samples),
        Rate("areas: share left", "coverage", _holds_share(kept, stripped, true_areas[1] / true_areas[0]), samples),
        Rate("accuracy: share left", "coverage", _holds_share(*answers, _SHARE_LEFT), samples, "8 answers"),
    ]  # fmt: skip


def deletion_times(n_questions: int, seed: int, *, late: float) -> FloatArray:
    """Draw the difference of the classes with all tokens and without those that restate the answer.

    Parameters
    ----------
    n_questions
        To draw, of `CHAINS` chains each.
    seed
        Of the draws.
    late
        What is added to the log of the time of a token that restates the answer. The first class, to which these tokens belong,
        is deleted later by 0.6, or 0.2 or 1.0 in one question or another, if this is not 0.

    Returns
    -------
    (questions, 2, 2) with all and without some; as it is and given position.
    """
    rng = np.random.default_rng(seed)
    parts = []
    for start in range(0, n_questions, _AT_ONCE):
        shape = (min(_AT_ONCE, n_questions - start), CHAINS, TOKENS)
        effect = rng.choice([0.2, 1.0] if late else [-0.5, 0, 0.5], size=(shape[0], 1, 1))
        is_first = autocorrelated(rng, shape) > 0
        order = np.where(is_first, rng.random(shape), 2).argsort(axis=-1).argsort(axis=-1)
        is_restating = is_first & (order < _STATED)
        time = autocorrelated(rng, shape) + effect * is_first + late * is_restating
        step = time.argsort(axis=-1).argsort(axis=-1) + 1.0
        step[step > TOKENS - rng.integers(4, 14, size=(*shape[:2], 1))] = np.nan
        member = np.stack([is_first, ~is_first], axis=-1)
        values = np.stack(contrasts_with_and_without(step, member, is_restating, _HORIZON), axis=2)
        parts.append(np.where(np.isfinite(values).all(axis=2, keepdims=True), values, np.nan))
    return np.concatenate([np.nanmean(part, axis=1) for part in parts])


def likelihoods(seed: int, n: int, samples: int, *, sooner: float) -> tuple[FloatArray, FloatArray]:
    """Draw areas between two strategies' curves, and what of them arises while both or neither state the answer.

    Each chain's nll rises with every deletion, and by more when the answer is no longer stated. The second strategy deletes the
    statements sooner by a share of the chain, and what it deletes costs more; or it does neither. Questions are drawn from so
    many pairs of paths, whose mean is therefore the truth; if the strategies do not differ, each pair is there both ways round.

    Returns
    -------
    (samples, questions, 2) and the (2,) truth.
    """
    rng = np.random.default_rng(seed)
    deleted = np.arange(TOKENS + 1) / TOKENS
    areas = np.empty((_PATHS, 2))
    for pair in range(_PATHS):
        paths = []
        level = rng.normal(0, 0.3)
        for is_second in (False, True):
            drawn = (rng.random(TOKENS) - (sooner * is_second) * (np.arange(TOKENS) < _STATED)).argsort()
            step = np.asarray(drawn.argsort() + 1, dtype=np.float64)
            fall = falls_at(step, [np.array([place]) for place in range(_STATED)])
            slope = np.abs(rng.normal(0.02 + 0.005 * (is_second and sooner > 0), 0.01, TOKENS)) * np.exp(level)
            rise = np.append(0, slope.cumsum()) + 0.8 * (deleted >= fall)
            paths.append((Points(deleted, rise), fall))
        areas[pair] = areas_with_and_without(paths[1], paths[0], 0.9)
    if not sooner:
        areas = np.concatenate([areas, -areas])
    return areas[rng.integers(0, len(areas), (samples, n // samples))], areas.mean(axis=0)


def accuracies(seed: int, n_questions: int, samples: int) -> tuple[FloatArray, FloatArray]:
    """Draw the share of eight answers that are correct, with restatements kept and stripped. -> 2 x (samples, questions)."""
    rng = np.random.default_rng(seed)
    chance = rng.beta(3, 1.5, size=(samples, n_questions))
    return rng.binomial(8, chance) / 8, rng.binomial(8, _SHARE_LEFT * chance) / 8


def _of_samples(values: FloatArray, samples: int) -> FloatArray:
    return values.reshape(samples, -1, *values.shape[1:])


def _change(values: FloatArray) -> FloatArray:
    return np.asarray(values[..., 1, :] - values[..., 0, :])


def _holds_share(kept: FloatArray, stripped: FloatArray, truth: float) -> float:
    """Share of the intervals that hold the truth, of those samples that have one."""
    ratio, low, high = ratio_of_means(stripped.T, kept.T, confidence=0.95)
    return float(((low <= truth) & (truth <= high))[np.isfinite(ratio)].mean())
