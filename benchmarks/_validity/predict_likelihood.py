"""``predict_likelihood``, by ridge: attention and outcome with trends in position and levels of their own, related or not.

Ridge alone is simulated. Folds, baselines, correlations, jackknife, bootstrap and shuffled layers are those of every model of
the analysis; gradient boosting and perceptron differ in what they predict, and take a thousand times as long.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from analyses._predict_likelihood.cross_fitting import CrossFit, cross_fit_ridge
from analyses._predict_likelihood.evidence import Candidates, place_columns
from analyses._predict_likelihood.learners import RIDGE
from analyses._predict_likelihood.outcomes import of_chains, outcomes
from analyses._predict_likelihood.prediction import Split, fit_place, shuffled_within, with_shuffled
from analyses._statistics.bootstrap import bootstrap_means, resample_counts
from analyses._statistics.questions import question_means
from analyses._statistics.within_groups import spearman_within
from benchmarks._validity import Rate
from benchmarks._validity._series import CHAINS, TOKENS, autocorrelated
from reasoning_anatomy.types import FloatArray, IntArray

_DRAWS: Final = 999
_FOLDS: Final = 5
_KEPT: Final = (1.0, 0.7)
_HEADS: Final = 3
_LAYERS: Final = 2
_PLACE: Final = (np.arange(TOKENS) + 0.5) / TOKENS
_REFERENCE: Final = 150
"""Questions on which every sample's models are worth what they are worth, and on which others were fitted."""
_POPULATION: Final = 20
"""Times as many questions."""
_SAMPLES_OF_REFERENCE: Final = 20
"""After which the reference is drawn anew, so that its error is not the same in all samples."""

TERMS: Final = (
    "pearson", "pearson_within_stage", "spearman_within_stage", "spearman_within_stage_given_position",
    "spearman_within_stage - position", "drop of a layer",
)  # fmt: skip
GIVEN: Final = TERMS.index("spearman_within_stage_given_position")
GAIN: Final = TERMS.index("spearman_within_stage - position")
_USUAL: Final = (
    "What the analysis does not do: if each fold is predicted from all others, any two predict each other, and what chance "
    "makes alike is counted twice."
)
_FEW: Final = "So few questions: careful, not wrong."
_NOISE: Final = (
    "Attention that tells nothing makes predictions worse than those of position alone, if anything, so that it is said to add "
    "something less often than by chance (2.5 %)."
)


@dataclass(frozen=True)
class World:
    """How the nll of candidates comes about, beside levels of chains and what neighbouring tokens share.

    Attributes
    ----------
    trend
        Of the nll over the chain, in standard deviations of the rest; it differs between questions.
    effect
        Of one head of the first layer.
    """

    trend: float
    effect: float


NOTHING: Final = World(trend=0.0, effect=0.0)
TRENDS: Final = World(trend=1.0, effect=0.0)
RELATED: Final = World(trend=1.0, effect=0.5)


def simulate(n_questions: int, samples: int, seed: int) -> list[Rate]:
    """Learn where there is nothing to learn, where there is only position, and where attention tells something."""
    nothing, _ = found(NOTHING, n_questions, samples, seed=seed)
    usual = found_by_usual_folds(NOTHING, n_questions, samples, seed=seed)
    trends, _ = found(TRENDS, n_questions, samples, seed=seed + 1)
    related, truth = found(RELATED, n_questions, samples, seed=seed + 2)
    said = (trends[:, GAIN, 3] <= 0.05) & (trends[:, GAIN, 0] > 0)
    note, careful = (_FEW if n_questions < few else "" for few in (20, 50))
    rates = [
        Rate(f"{RIDGE} {term}", "false positives", _share(nothing[:, number, 3] <= 0.05), samples, "nothing is related", note)
        for number, term in enumerate(TERMS)
        if number > 0  # the first is not tested
    ]
    rates += [
        Rate(f"{RIDGE} {TERMS[GIVEN]}", "false positives", _share(trends[:, GIVEN, 3] <= 0.05), samples, "trends alone", note),
        Rate(f"{RIDGE} {TERMS[GAIN]} > 0", "false positives", _share(said), samples, "trends alone", _NOISE),
    ]
    name = f"{RIDGE} {TERMS[GAIN]}, each fold from all others"
    rates.append(Rate(name, "false positives", _share(usual <= 0.05), samples, "nothing is related", _USUAL))
    for number, term in enumerate(TERMS):
        rates.append(Rate(f"{RIDGE} {term}", "coverage", _share(holds(related, truth)[:, number]), samples, note=careful))
    gain = f"{truth[:, GAIN, 0].mean():.2f} of rank correlation"
    return [*rates, Rate(f"{RIDGE} {TERMS[GAIN]}", "power", _share(related[:, GAIN, 3] <= 0.05), samples, gain)]


def draw(world: World, n_questions: int, rng: np.random.Generator) -> Candidates:
    """Draw the candidates of two stages of chains on so many questions."""
    shape = (n_questions, CHAINS)
    slopes = rng.normal(-1, 0.5, (*shape, 1, _LAYERS * _HEADS))
    attention = np.swapaxes(autocorrelated(rng, (*shape, _LAYERS * _HEADS, TOKENS)), 2, 3)
    attention += slopes * (_PLACE[:, None] - 0.5) + rng.normal(0, 0.5, (*shape, 1, _LAYERS * _HEADS))
    curve = np.tanh(6 * (_PLACE - 0.3)) + rng.normal(0, 0.5, (n_questions, 1, 1)) * (2 * _PLACE - 1)
    own = autocorrelated(rng, (*shape, TOKENS)) + world.trend * curve + world.effect * attention[..., 0]
    level = rng.normal(0, 2, (n_questions, 1)) + rng.normal(0, 1, shape)
    n_kept = int(_KEPT[1] * TOKENS)
    left = np.ones((*shape, len(_KEPT), TOKENS), dtype=np.bool_)
    left[:, :, 1] = rng.random((*shape, TOKENS)).argsort(axis=2).argsort(axis=2) < n_kept
    nll = own[:, :, None] + level[..., None, None] + np.array([0.0, 0.5])[:, None] + rng.normal(0, 0.3, left.shape)
    sizes = np.tile([TOKENS, n_kept], n_questions * CHAINS)
    return Candidates(
        chain_ids=tuple(map(str, range(n_questions * CHAINS))),
        question_ids=tuple(f"q{question:05}" for question in range(n_questions) for _ in range(CHAINS)),
        chain_of_stage=np.repeat(np.arange(n_questions * CHAINS), len(_KEPT)),
        stage=np.repeat(np.arange(len(sizes)), sizes),
        place=np.broadcast_to(_PLACE, left.shape)[left],
        kept=np.repeat(np.tile(_KEPT, n_questions * CHAINS), sizes),
        nll=nll[left],
        attention=np.broadcast_to(attention[:, :, None], (*left.shape, _LAYERS * _HEADS))[left].astype(np.float32),
        layer=np.repeat(np.arange(_LAYERS), _HEADS),
        shape=(_LAYERS, _HEADS),
    )


def found(world: World, n_questions: int, samples: int, *, seed: int) -> tuple[FloatArray, FloatArray]:
    """Draw samples and combine their questions.

    Returns
    -------
    (samples, terms, 4) estimate, half the width of the interval, standard error and p-value; and (samples, terms, 2) the truth
    with its own standard error, NaN if attention has no effect. The truth is what the sample's very models are worth on all
    questions: the models, dealt out, predict a reference; how far that lies from all questions is known from other models,
    which predict the reference and twenty times as many questions.
    """
    rng = np.random.default_rng(seed)
    counts = resample_counts(n_questions, draws=_DRAWS, rng=np.random.default_rng(0))
    estimates, truth = np.empty((samples, len(TERMS), 4)), np.full((samples, len(TERMS), 2), np.nan)
    if world.effect:
        others = Models.of(draw(world, _REFERENCE, rng), seed=0)
        everywhere = np.concatenate([others.worth(draw(world, _REFERENCE, rng)) for _ in range(_POPULATION)])
    for sample in range(samples):
        candidates = draw(world, n_questions, rng)
        models = Models.of(candidates, seed=sample)
        means = bootstrap_means(models.values(candidates, models.split.test_fold), counts, confidence=0.95)
        half, error = means.ci_high - means.estimate, means.sd / np.sqrt(n_questions)
        estimates[sample] = np.stack([means.estimate, half, error, means.p_value], axis=1)
        if world.effect and sample % _SAMPLES_OF_REFERENCE == 0:
            reference = draw(world, _REFERENCE, rng)
            here = others.worth(reference)
        if world.effect:
            beyond = models.worth(reference) - here
            variance = beyond.var(axis=0) / len(beyond) + everywhere.var(axis=0) / len(everywhere)
            truth[sample] = np.stack([beyond.mean(axis=0) + everywhere.mean(axis=0), np.sqrt(variance)], axis=1)
    return estimates, truth


def holds(estimates: FloatArray, truth: FloatArray) -> npt.NDArray[np.bool_]:
    """Say where the interval, made wider by as much as the truth itself may be wrong, holds the truth; (samples, terms)."""
    distance, wider = np.abs(estimates[..., 0] - truth[..., 0]), np.hypot(1, truth[..., 1] / estimates[..., 2])
    return np.asarray(distance <= estimates[..., 1] * wider)


def found_by_usual_folds(world: World, n_questions: int, samples: int, *, seed: int) -> FloatArray:
    """Draw samples and predict each fold from all others; (samples,) p-values of the gain over position."""
    rng = np.random.default_rng(seed)
    counts = resample_counts(n_questions, draws=_DRAWS, rng=np.random.default_rng(0))
    all_others = {fold: frozenset(range(_FOLDS)) - {fold} for fold in range(_FOLDS)}
    p_values = np.empty(samples)
    for sample in range(samples):
        candidates = draw(world, n_questions, rng)
        fold = Split.of(candidates, candidates, n_folds=_FOLDS, seed=sample).test_fold
        designs = place_columns(candidates.place, candidates.kept), candidates.design()
        predicted = [cross_fit_ridge(each, candidates.nll, fold, all_others).predict(each, fold) for each in designs]
        ranked = of_chains(spearman_within(np.column_stack(predicted), candidates.nll, candidates.stage), candidates)
        gain = question_means(ranked[:, 1:] - ranked[:, :1], candidates.question_of_chain)
        p_values[sample] = bootstrap_means(gain, counts, confidence=0.95).p_value[0]
    return p_values


@dataclass(frozen=True, eq=False)
class Models:
    """Ridge on everything, and on stage and place alone."""

    split: Split
    on_all: CrossFit
    on_place: CrossFit

    @classmethod
    def of(cls, candidates: Candidates, *, seed: int) -> "Models":
        """Fit both to every set of folds."""
        split = Split.of(candidates, candidates, n_folds=_FOLDS, seed=seed)
        on_all = cross_fit_ridge(candidates.design(), candidates.nll, split.train_fold, split.learn_from)
        return cls(split, on_all, fit_place(split))

    def worth(self, candidates: Candidates) -> FloatArray:
        """(questions, terms) values of other questions, dealt out among the models."""
        return self.values(candidates, candidates.question % _FOLDS)

    def values(self, candidates: Candidates, fold: IntArray) -> FloatArray:
        """(questions, terms) as the tables combine them."""
        design, places = candidates.design(), shuffled_within(candidates.stage, np.random.default_rng(0))
        designs = design, with_shuffled(design, candidates.layer == 0, places)
        of_place = self.on_place.predict(place_columns(candidates.place, candidates.kept), fold)
        judged = outcomes(np.column_stack([of_place, *(self.on_all.predict(each, fold) for each in designs)]), candidates)
        position, attention, shuffled = judged.spearman.T
        by_chain = np.column_stack([attention, judged.given_place[:, 1], attention - position, attention - shuffled])
        of_questions = question_means(by_chain, candidates.question_of_chain)
        return np.column_stack([judged.pooled[:, 1], judged.pooled_within[:, 1], of_questions])


def _share(found: npt.NDArray[np.bool_]) -> float:
    return float(found.mean())
