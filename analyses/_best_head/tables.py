"""The tables of best_head: the heads that halves of the questions choose, and what the others say of them."""

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import numpy as np
import pandas as pd

from analyses._best_head.evidence import Evidence, Heads
from analyses._exclusions import left_out_table
from analyses._sample import QuestionSample
from analyses._sentences import Row
from analyses._statistics.families import adjust
from analyses._statistics.halves import Judged, best_column, judge, random_halves
from reasoning_anatomy.types import RESULT_COLUMNS, FloatArray

MAIN: Final = "table"
"""Name of the main table among those of `tables_by_scorer`."""

Number = TypeVar("Number", float, FloatArray)

OTHER, SAME, FLATTERY = "other_questions", "same_questions", "flattery"
ENDINGS: Final = {"raw": "", "given_position": "_given_position"}
"""Of the names of the terms, by control."""

_HEADS: Final = (
    "control", "layer", "head", "estimate", "n_questions", "p_max_shift", "n_chosen", "share_chosen", "on_other_questions",
)  # fmt: skip
_NUMBERS: Final = ("estimate", "ci_low", "ci_high", "p_value", "p_adjusted")
_PER_QUESTION: Final = ("control", "question_id", "on_other_questions", "n_chains", "n_tokens")


@dataclass(frozen=True, kw_only=True)
class Choosing:
    """How heads are chosen and judged.

    Attributes
    ----------
    halvings
        Random halvings of the questions.
    either_sign
        Whether a correlation far below zero is as good as one far above.
    draws, confidence, seed
        Of the bootstrap over questions; the seed also of the halvings.
    """

    halvings: int
    either_sign: bool
    draws: int
    confidence: float
    seed: int


def tables_by_scorer(evidence: Mapping[str, Evidence], choosing: Choosing) -> dict[str, pd.DataFrame]:
    """Choose and judge the heads of every scorer that has two usable questions.

    Returns
    -------
    `MAIN` and the detail tables by name, each with a first column ``scorer``.
    """
    parts = {
        (scorer, control): _tables(heads, found.shape, control, choosing)
        for scorer, found in evidence.items()
        if found.n_questions > 1
        for control, heads in found.by_control.items()
    }
    tables = {name: _stacked({labels: part[name] for labels, part in parts.items()}) for name in next(iter(parts.values()))}
    main = tables[MAIN]
    main["p_adjusted"] = main.groupby("term")["p_value"].transform(lambda p: adjust(p.to_numpy(), "holm"))
    tables[MAIN] = main[["scorer", *RESULT_COLUMNS]]
    tables["left_out"] = left_out_table({(scorer,): found.exclusions for scorer, found in evidence.items()}, ["scorer"])
    return tables


def judged_rows(heads: Heads, judged: Judged, choosing: Choosing, ending: str = "") -> list[Row]:
    """Rows of the main table.

    Parameters
    ----------
    heads
        Raw or given position.
    judged
        What halves of the questions chose among its known heads.
    choosing
        How.
    ending
        Of the names of the terms.
    """
    sample = QuestionSample(heads.question_ids, choosing.draws, choosing.confidence, choosing.seed)
    values = judged.for_inference[:, None]
    counts: dict[Hashable, Any] = {
        "n_questions": len(heads.question_ids),
        "n_chains": int(heads.n_chains.sum()),
        "n_tokens": int(heads.n_tokens.sum()),
    }
    (found,) = sample.summary(values, pd.DataFrame({"term": [OTHER + ending]}), n_tokens=heads.n_tokens[:, None]).to_dict(
        "records"
    )
    other = {**found, **counts, "estimate": judged.estimate}
    means = heads.rho[:, heads.known].mean(axis=0)
    column, sign = best_column(means[None], either_sign=choosing.either_sign)
    best = float(sign[0] * means[column[0]])
    low, high = mirrored(best, other["ci_low"], other["ci_high"])
    p_any = float(np.nanmin(heads.p_max_shift))
    return [
        other,
        {"term": SAME + ending, "estimate": best, "p_value": p_any, **counts},
        {
            "term": FLATTERY + ending,
            "estimate": best - judged.estimate,
            "ci_low": low,
            "ci_high": high,
            **counts,
        },
    ]


def mirrored(best: Number, low: Number, high: Number) -> tuple[Number, Number]:
    """Turn the ends of the interval on other questions into those of the flattery.

    The best head on the same questions is a number without an error of its own, of which one asks how far it holds.
    """
    return best - high, best - low


def _stacked(by_labels: Mapping[tuple[str, str], pd.DataFrame]) -> pd.DataFrame:
    tables: dict[str, list[pd.DataFrame]] = {}
    for (scorer, _), table in by_labels.items():
        tables.setdefault(scorer, []).append(table)
    whole = {scorer: pd.concat(parts, ignore_index=True) for scorer, parts in tables.items()}
    return pd.concat(whole, names=["scorer"]).reset_index("scorer").reset_index(drop=True)


def _tables(heads: Heads, shape: tuple[int, int], control: str, choosing: Choosing) -> dict[str, pd.DataFrame]:
    """Tables of the heads, raw or given position."""
    ending = ENDINGS[control]
    terms = [f"{term}{ending}" for term in (OTHER, SAME, FLATTERY)]
    if heads.known.size == 0 or len(heads.question_ids) < 2:
        rows: list[Row] = [{"term": term, "n_questions": 0, "n_chains": 0, "n_tokens": 0} for term in terms]
        judged = None
        spread = QuestionSample(("",), choosing.draws, choosing.confidence, choosing.seed).spread(
            np.full((1, 1), np.nan), terms[:1]
        )
    else:
        rng = np.random.default_rng(choosing.seed)
        halves = random_halves(len(heads.question_ids), halvings=choosing.halvings, rng=rng)
        judged = judge(heads.rho[:, heads.known], halves, either_sign=choosing.either_sign)
        rows = judged_rows(heads, judged, choosing, ending)
        sample = QuestionSample(heads.question_ids, choosing.draws, choosing.confidence, choosing.seed)
        spread = sample.spread(judged.for_inference[:, None], terms[:1])
    return {
        MAIN: pd.DataFrame(rows).reindex(columns=list(RESULT_COLUMNS)).astype(dict.fromkeys(_NUMBERS, "float64")),
        "heads": _heads_table(heads, judged, shape, control),
        "per_question": _per_question(heads, judged, control),
        "between_questions": spread,
    }


def _heads_table(heads: Heads, judged: Judged | None, shape: tuple[int, int], control: str) -> pd.DataFrame:
    """Every head: its mean over all questions, and how often it was chosen and with what success."""
    n_heads = shape[0] * shape[1]
    n_chosen, total = np.zeros((2, n_heads))
    if judged is not None:
        np.add.at(n_chosen, heads.known[judged.column], 1)
        np.add.at(total, heads.known[judged.column], judged.of_half)
    n_questions = np.isfinite(heads.rho).sum(axis=0)
    sums = np.where(np.isfinite(heads.rho), heads.rho, 0).sum(axis=0)
    table = pd.DataFrame(
        {
            "control": control,
            "layer": np.repeat(np.arange(shape[0]), shape[1]),
            "head": np.tile(np.arange(shape[1]), shape[0]),
            "estimate": _ratio(sums, n_questions),
            "n_questions": n_questions,
            "p_max_shift": heads.p_max_shift,
            "n_chosen": n_chosen.astype(np.int64),
            "share_chosen": n_chosen / (1 if judged is None else len(judged.column)),
            "on_other_questions": _ratio(total, n_chosen),
        },
        columns=list(_HEADS),
    )
    return table.sort_values("n_chosen", ascending=False, kind="stable")


def _per_question(heads: Heads, judged: Judged | None, control: str) -> pd.DataFrame:
    values = np.full(len(heads.question_ids), np.nan) if judged is None else judged.of_question
    table = {
        "control": control,
        "question_id": list(heads.question_ids),
        "on_other_questions": values,
        "n_chains": heads.n_chains,
        "n_tokens": heads.n_tokens,
    }
    return pd.DataFrame(table, columns=list(_PER_QUESTION))


def _ratio(top: FloatArray, bottom: FloatArray) -> FloatArray:
    return np.asarray(np.divide(top, bottom, out=np.full(top.shape, np.nan), where=bottom > 0))
