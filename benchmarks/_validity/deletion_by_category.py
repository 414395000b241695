"""``deletion_by_category``: kinds of token with places of their own, deleted by position or, where they differ, by kind."""

from typing import Final

import numpy as np
from scipy.stats import norm

from analyses._deletion_by_category.evidence import chain_values, relative_step
from analyses._schemes import SCHEMES, Scheme
from analyses._statistics.position import BoolArray
from benchmarks._validity import Rate
from benchmarks._validity._rates import FEW, any_found, combined, finding, holding
from benchmarks._validity._series import CHAINS, TOKENS, autocorrelated
from reasoning_anatomy.types import FloatArray

CLASSES: Final = next(scheme for scheme in SCHEMES if scheme.name == "classes")
SIX: Final = next(scheme for scheme in SCHEMES if scheme.name == "categories")

_SAMPLES_AT_ONCE: Final = 20
_PLACES: Final = np.linspace(-1, 1, TOKENS)
TRENDS: Final = {
    "none": 0 * _PLACES,
    "line": 1.5 * _PLACES,
    "first and last": 3 * _PLACES**2,
    "early drop": 3 * np.tanh(8 * (_PLACES + 0.4)),
}
"""How the step of deletion depends on position, in standard deviations of the rest."""


def simulate(n_questions: int, samples: int, seed: int) -> list[Rate]:
    """Delete early what stands early, and nothing else; then delete one class later."""
    nothing = differences(
        CLASSES, n_questions, samples, trend="early drop", effects=(-0.5, 0, 0.5), noise=True, keep=0.3, seed=seed
    )
    pairs = differences(SIX, n_questions, samples, trend="early drop", effects=(0,), noise=True, keep=0, seed=seed + 1)
    effects = (0.2, 1.0)
    something = differences(CLASSES, n_questions, samples, trend="none", effects=effects, noise=False, keep=0, seed=seed + 2)
    truth = true_difference(effects)
    raw, given = (combined(something[:, number, 0]) for number in range(2))
    family = np.stack([combined(pairs[:, 1, term]).p_value for term in range(len(SIX.differences))], axis=1)
    few = FEW if n_questions < 20 else ""
    return [
        Rate("difference of classes given position", "false positives", finding(combined(nothing[:, 1, 0])), samples),
        Rate(
            "any of 15 pairs of categories, Holm", "false positives", any_found(family), samples,
            note="Related differences: Holm is careful.",
        ),
        Rate("difference of classes", "coverage", holding(raw, truth), samples, note=few),
        Rate("difference of classes given position", "coverage", holding(given, truth), samples, note=few),
        Rate("difference of classes given position", "power", finding(given), samples, f"{truth:.2f} of the chain"),
    ]  # fmt: skip


def members_of(scheme: Scheme, chains: tuple[int, ...], rng: np.random.Generator) -> BoolArray:
    """Draw the (chains, tokens, 6) categories of chains; every category has a place of its own where it is frequent."""
    centres = np.linspace(-0.9, 0.9, len(scheme.groups))
    odds = np.exp(-((_PLACES[:, None] - centres) ** 2) / (2 * 0.6**2))
    edges = np.cumsum(odds / odds.sum(axis=1, keepdims=True), axis=1)[:, :-1]
    group = (rng.random((*chains, TOKENS, 1)) > edges).sum(axis=-1)
    first_of_group = np.array([list(scheme.group_of_category).index(number) for number in range(len(scheme.groups))])
    return np.asarray(first_of_group[group][..., None] == np.arange(6))


def differences(
    scheme: Scheme,
    n_questions: int,
    samples: int,
    *,
    trend: str,
    effects: tuple[float, ...],
    noise: bool,
    keep: float,
    seed: int,
) -> FloatArray:
    """Draw questions and take the differences of their groups, raw and given position.

    Parameters
    ----------
    scheme
        Of the groups.
    n_questions, samples
        To draw.
    trend
        One of `TRENDS`.
    effects
        What is added to the first group's time of deletion, drawn for every question.
    noise
        Whether neighbouring tokens resemble each other.
    keep
        Share of the tokens that are never deleted.
    seed
        Of the draws.

    Returns
    -------
    (samples, 2, terms, questions).
    """
    rng = np.random.default_rng(seed)
    found = []
    for first in range(0, samples, _SAMPLES_AT_ONCE):
        chains = (min(_SAMPLES_AT_ONCE, samples - first), n_questions, CHAINS)
        member = members_of(scheme, chains, rng)
        is_of_first = scheme.group_of_category[member.argmax(axis=-1)] == 0
        rest = autocorrelated(rng, (*chains, TOKENS)) if noise else rng.standard_normal((*chains, TOKENS))
        effect = rng.choice(effects, size=(*chains[:2], 1, 1))
        step = (rest + TRENDS[trend] + effect * is_of_first).argsort(axis=-1).argsort(axis=-1) + 1.0
        step[step > TOKENS - int(keep * TOKENS)] = np.nan
        values = chain_values(relative_step(step), member, scheme)[..., len(scheme.groups) :]
        found.append(_mean_of_chains(values))
    return np.concatenate(found).transpose(0, 2, 3, 1)


def _mean_of_chains(values: FloatArray) -> FloatArray:
    """Average chains: (samples, questions, chains, 2, terms) -> (samples, questions, 2, terms); NaN if none has a value."""
    n_chains = np.isfinite(values).sum(axis=2)
    return np.where(n_chains > 0, np.nansum(values, axis=2) / np.maximum(n_chains, 1), np.nan)


def true_difference(effects: tuple[float, ...]) -> float:
    """Mean difference of the classes with independent normal times.

    A token of the first class then outlives one of the second with the probability P = Phi(effect / sqrt 2), and the mean ranks
    of the classes differ by n (P - 1/2), whatever their sizes and places.
    """
    return float(norm.cdf(np.array(effects) / np.sqrt(2)).mean() - 0.5)
