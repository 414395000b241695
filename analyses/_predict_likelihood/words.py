"""The finding of predict_likelihood in words, and what a reader must know before believing the tables."""

from collections.abc import Mapping
from typing import Final

import pandas as pd

from analyses._predict_likelihood.cross_fitting import UNSEEN
from analyses._predict_likelihood.evidence import Evidence
from analyses._predict_likelihood.prediction import LEVEL, MODELS, POSITION, Split
from analyses._predict_likelihood.tables import GAIN, PEARSON, SPEARMAN_WITHIN
from analyses._sentences import Row, briefly, missing_intervals, number, small_sample, with_interval
from reasoning_anatomy.verdicts import CLEAR, UNDECIDED

PUBLISHED: Final = "mlp"
"""The model that a publication claims something of; the finding speaks of it, whichever model does best here."""

_NOTHING: Final = (
    "nothing is left to estimate with position held constant: it fixes the order of the outcome, or stages are too short"
)


def finding(table: pd.DataFrame, *, confidence: float) -> str:
    """Say how well the perceptron predicts, over all candidates and within a stage, and what position alone reaches."""
    rows = {(str(row["predictor"]), str(row["term"])): row for row in table.to_dict("records")}
    pooled, within = rows[PUBLISHED, PEARSON], rows[PUBLISHED, SPEARMAN_WITHIN]
    return (
        f"{_gains({name: rows[name, GAIN] for name in MODELS}, confidence)} Within a stage, where the question is which token "
        f"to delete, a two-layer perceptron on the attention of one pass ranks candidates at {briefly(within)}, position alone "
        f"at {briefly(rows[POSITION, SPEARMAN_WITHIN])}. Over all candidates its pooled Pearson r is "
        f"{with_interval(pooled, confidence=confidence)}; whoever is told only the mean of each stage of a chain reaches "
        f"{number(rows[LEVEL, PEARSON]['estimate'])}. All models predict questions that they were not fitted on."
    )


def warnings(
    evidence: Evidence, tables: Mapping[str, pd.DataFrame], table: pd.DataFrame, split: Split, *, transfers: bool
) -> list[str]:
    """Sentences for ``AnalysisResult.warnings``, from the detail tables and the main one; ``transfers`` to another run."""
    tested = table[table["predictor"].isin(MODELS)]
    names = [f"{row['predictor']} {row['term']}" for row in tested.to_dict("records")]
    widest = [4.0 if term == GAIN else 2.0 for term in tested["term"]]
    said = missing_intervals(tested, names, widest=widest, nothing=_NOTHING)
    spread = tables["between_questions"]
    said += small_sample(spread[spread["term"].isin([f"{name} - position" for name in MODELS])])
    shared = len(set(split.test.question_ids) & set(split.train.question_ids))
    if transfers and shared:
        said.append(
            f"{shared} of {split.test.n_questions} questions are in both runs; they are predicted by models that were fitted "
            "without them"
        )
    folds = len({int(fold) for fold in split.train_fold} - {UNSEEN})
    if split.train.n_questions < 2 * folds:
        said.append(
            f"models are fitted on some of only {split.train.n_questions} questions: more would make better models, and what "
            "the tables say is about these"
        )
    if unmeasured := evidence.exclusions.get("not_measured"):
        said.append(f"{unmeasured} chains of the run are not measured; the table does not speak for them")
    return said


def _gains(rows: Mapping[str, Row], confidence: float) -> str:
    """Say what attention adds to position: by the perceptron, and in how many models that survives their number."""
    row = rows[PUBLISHED]
    found = [name for name, gain in rows.items() if gain["p_adjusted"] <= 1 - confidence + 1e-12 and gain["estimate"] > 0]
    claim = f"{CLEAR}: attention says" if PUBLISHED in found else f"{UNDECIDED}: it is open whether attention says"
    return (
        f"{claim} more than position about which deletion raises the answer's nll least: rank correlation within a stage "
        f"higher by {with_interval(row, confidence=confidence)}. Corrected for their number, {len(found)} of {len(rows)} "
        "models rank better than position."
    )
