"""The tables of predict_likelihood: how well every model and baseline predicts, and which layers the models lean on."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd

from analyses._exclusions import left_out_table
from analyses._predict_likelihood.cross_fitting import UNSEEN
from analyses._predict_likelihood.evidence import Candidates, Evidence
from analyses._predict_likelihood.outcomes import outcomes
from analyses._predict_likelihood.prediction import BASELINES, MODELS, POSITION, Predictions, Split, drops_by_layer
from analyses._sample import QuestionSample
from analyses._statistics.families import adjust
from reasoning_anatomy.types import RESULT_COLUMNS, FloatArray

MAIN: Final = "table"
"""Name of the main table among those of `all_tables`."""

PEARSON: Final = "pearson"
PEARSON_WITHIN: Final = "pearson_within_stage"
SPEARMAN_WITHIN: Final = "spearman_within_stage"
GIVEN_POSITION: Final = "spearman_within_stage_given_position"
GAIN: Final = "spearman_within_stage - position"

_SHOWN: Final = 5_000
_NAMES: Final = (*BASELINES, *MODELS)
_PLACE: Final = len(_NAMES) - len(MODELS)


@dataclass(frozen=True)
class Resamples:
    """Options of the bootstrap over questions."""

    draws: int
    confidence: float
    seed: int

    def sample(self, question_ids: tuple[str, ...]) -> QuestionSample:
        """Make the sample of chains, or of questions, with these questions."""
        return QuestionSample(question_ids, self.draws, self.confidence, self.seed)


def all_tables(
    split: Split, predictions: Predictions, evidence: Evidence, options: Resamples, *, target: str
) -> dict[str, pd.DataFrame]:
    """Make `MAIN` and the detail tables by name; ``target`` is what the models learnt."""
    test = split.test
    found = outcomes(np.column_stack([predictions.of[name] for name in _NAMES]), test)
    by_question, by_chain = options.sample(tuple(dict.fromkeys(test.question_ids))), options.sample(test.question_ids)
    n_tokens = np.bincount(test.chain)[:, None]
    of_models = found.given_place[:, _PLACE:]
    gains = found.spearman[:, _PLACE:] - found.spearman[:, [_NAMES.index(POSITION)]]
    parts = [
        _of_all(by_question.summary(found.pooled, _labels(_NAMES, PEARSON), n_tokens=_ones(test)), found.r, test),
        _of_all(
            by_question.summary(found.pooled_within, _labels(_NAMES, PEARSON_WITHIN), n_tokens=_ones(test)),
            found.r_within,
            test,
        ),
        by_chain.summary(found.spearman, _labels(_NAMES, SPEARMAN_WITHIN), n_tokens=n_tokens),
        by_chain.summary(of_models, _labels(MODELS, GIVEN_POSITION), n_tokens=n_tokens),
        by_chain.summary(gains, _labels(MODELS, GAIN), n_tokens=n_tokens, lowest=-2),
    ]
    tables = {
        MAIN: _in_order(pd.concat(parts, ignore_index=True)),
        "between_questions": by_chain.spread(
            np.column_stack([found.spearman, gains]), [*_NAMES, *(f"{name} - position" for name in MODELS)]
        ),
        "settings": _settings(predictions),
        "predictions": _some_predictions(split.test, predictions, target=target, seed=options.seed),
        "per_chain": _per_chain(test, found.spearman),
        "left_out": left_out_table({(evidence.label,): evidence.exclusions}, ["scorer"]),
    }
    return tables if (test.layer < 0).all() else tables | {"per_layer": _per_layer(split, predictions, options)}


def _labels(names: tuple[str, ...], term: str) -> pd.DataFrame:
    return pd.DataFrame({"predictor": names, "term": term})


def _ones(candidates: Candidates) -> np.ndarray:
    return np.ones((candidates.n_questions, 1), dtype=np.int64)


def _of_all(summary: pd.DataFrame, r: FloatArray, candidates: Candidates) -> pd.DataFrame:
    """Say whose r it is; a single question has one, too, but no pseudo-values."""
    return summary.assign(
        estimate=r, n_questions=candidates.n_questions, n_chains=len(candidates.chain_ids), n_tokens=len(candidates.nll)
    )


def _in_order(table: pd.DataFrame) -> pd.DataFrame:
    """Sort by term and predictor; only models are tested, and of Pearson's r over all candidates nothing."""
    table["p_value"] = table["p_value"].where(table["predictor"].isin(MODELS) & (table["term"] != PEARSON))
    table["p_adjusted"] = table.groupby("term")["p_value"].transform(lambda p: adjust(p.to_numpy(), "holm"))
    return table[["predictor", *RESULT_COLUMNS]]


def _settings(predictions: Predictions) -> pd.DataFrame:
    rows = [
        {"predictor": name, "fold": "none" if fold == UNSEEN else str(fold), "setting": _in_words(setting)}
        for name, fit in predictions.fits.items()
        for fold, setting in fit.settings.items()
    ]
    return pd.DataFrame(rows)


def _in_words(setting: Mapping[str, object]) -> str:
    return ", ".join(f"{name}={value}" for name, value in setting.items())


def _per_chain(candidates: Candidates, spearman: FloatArray) -> pd.DataFrame:
    about = {
        "chain_id": candidates.chain_ids,
        "question_id": candidates.question_ids,
        "n_stages": np.bincount(candidates.chain_of_stage),
        "n_tokens": np.bincount(candidates.chain),
    }
    return pd.DataFrame(about | {name: spearman[:, number] for number, name in enumerate(_NAMES)})


def _some_predictions(test: Candidates, predictions: Predictions, *, target: str, seed: int) -> pd.DataFrame:
    """Up to 5,000 candidates, drawn by chance, with what was measured and what every predictor but the told level says."""
    rows = np.sort(np.random.default_rng(seed).permutation(len(test.nll))[:_SHOWN])
    measured = (test.within_stages() if target == "within_stage" else test).nll
    about = pd.DataFrame(
        {
            "chain_id": np.array(test.chain_ids, dtype=object)[test.chain[rows]],
            "question_id": np.array(test.question_ids, dtype=object)[test.chain[rows]],
            "kept": test.kept[rows],
            "place": test.place[rows],
            "target": target,
            "measured": measured[rows],
        }
    )
    names = (POSITION, *MODELS)
    return pd.concat([about.assign(predictor=name, predicted=predictions.of[name][rows]) for name in names], ignore_index=True)


def _per_layer(split: Split, predictions: Predictions, options: Resamples) -> pd.DataFrame:
    """Drop of Spearman's rho within a stage if one layer's attention is shuffled there; Holm over the layers of a model."""
    taken, drops = drops_by_layer(predictions.fits, split, seed=options.seed)
    sample, layers = options.sample(taken.question_ids), np.unique(taken.layer)
    n_tokens = np.bincount(taken.chain)[:, None]
    parts = []
    for number, name in enumerate(predictions.fits):
        labels = pd.DataFrame({"predictor": name, "layer": layers})
        table = sample.summary(drops[:, number], labels, n_tokens=n_tokens, lowest=-2).drop(columns="sd_questions")
        table.insert(6, "p_adjusted", adjust(table["p_value"].to_numpy(), "holm"))
        parts.append(table)
    return pd.concat(parts, ignore_index=True).rename(columns={"estimate": "drop"})
