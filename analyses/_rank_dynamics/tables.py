"""The tables of rank_dynamics: how well each ranking foretells, and by how much a fresh one is better."""

from typing import Final

import numpy as np
import pandas as pd

from analyses._exclusions import left_out_table
from analyses._rank_dynamics.evidence import Rankings
from analyses._sample import QuestionSample
from analyses._statistics.families import adjust
from analyses._statistics.foretelling import TERMS
from reasoning_anatomy.types import RESULT_COLUMNS, FloatArray, IntArray

MAIN: Final = "table"
"""Name of the main table among those of `all_tables`."""

FRESH: Final = "fresh"
FROZEN: Final = "made at 1"
DIFFERENCE: Final = f"{FRESH} less {FROZEN}"
"""Rankings of the main table, beside the scorers."""

BELOW: Final = "mean below 1"
"""Stage of the rows about all stages but the first."""


def all_tables(rankings: Rankings, sample: QuestionSample) -> dict[str, pd.DataFrame]:
    """Combine the rankings over questions.

    Returns
    -------
    `MAIN` and the detail tables by name.
    """
    main = _main(rankings, sample)
    later = _differences(rankings)
    stages = _stage_names(rankings)[1:]
    spread = [sample.spread(later[:, number], TERMS).assign(stage=stage) for number, stage in enumerate([*stages, BELOW])]
    return {
        MAIN: main,
        "stages": _stages(main, rankings),
        "made_at": _made_at(rankings, sample),
        "between_questions": pd.concat(spread, ignore_index=True)[["stage", *spread[0].columns[:-1]]],
        "per_chain": _per_chain(rankings),
        "left_out": left_out_table({(): rankings.exclusions}, []),
    }


def mean_over_stages(values: FloatArray) -> FloatArray:
    """Average over the stages that have a value; (chains, stages, terms) -> (chains, terms)."""
    present = np.isfinite(values)
    n = present.sum(axis=1)
    return np.where(n > 0, np.where(present, values, 0).sum(axis=1) / np.maximum(n, 1), np.nan)


def _stage_names(rankings: Rankings) -> list[str]:
    return [f"{ratio:g}" for ratio in rankings.keep_ratios]


def _fresh(rankings: Rankings) -> FloatArray:
    """Every ranking judged where it is made; (chains, stages, terms)."""
    stages = np.arange(len(rankings.keep_ratios))
    return rankings.found[:, stages, stages]


def _differences(rankings: Rankings) -> FloatArray:
    """Fresh rankings less the first, after stage 1, and their mean over the stages; (chains, stages, terms)."""
    later = rankings.compared[:, 1:, 0] - rankings.compared[:, 1:, 1]
    return np.concatenate([later, mean_over_stages(later)[:, None]], axis=1)


def _main(rankings: Rankings, sample: QuestionSample) -> pd.DataFrame:
    """One row per ranking, stage and term; Holm over the stages of a ranking and term, the mean over stages apart."""
    names, n_stages = _stage_names(rankings), len(rankings.keep_ratios)
    frozen = rankings.found[:, 0]
    of_scorers = {name: rankings.found[:, n_stages + at] for at, name in enumerate(rankings.scorers)}
    parts = [
        _rows(DIFFERENCE, _differences(rankings)[:, :-1], names[1:], rankings.n_compared, sample, reach=2),
        _rows(FRESH, _fresh(rankings)[:, 1:], names[1:], rankings.n_judged, sample),
        *(_rows(name, values, names, rankings.n_judged, sample) for name, values in {FROZEN: frozen, **of_scorers}.items()),
    ]
    table = pd.concat(parts, ignore_index=True)
    order = {name: number for number, name in enumerate([*names, BELOW])}
    return table.sort_values("stage", key=lambda stage: stage.map(order), kind="stable", ignore_index=True)


def _rows(
    ranking: str, values: FloatArray, stages: list[str], n_tokens: IntArray, sample: QuestionSample, *, reach: float = 1
) -> pd.DataFrame:
    """Rows of one ranking; (chains, stages, terms) values of the last stages, all below 1 averaged at the end."""
    n_below = n_tokens.shape[1] - 1
    parts = []
    for of_stages, names, counted in (
        (values, stages, n_tokens[:, -len(stages) :]),
        (mean_over_stages(values[:, -n_below:])[:, None], [BELOW], n_tokens[:, -n_below:].sum(axis=1)[:, None]),
    ):
        labels = pd.DataFrame({"ranking": [ranking]}).merge(pd.DataFrame({"stage": names}), how="cross")
        labels = labels.merge(pd.DataFrame({"term": TERMS}), how="cross")
        flat = of_stages.reshape(len(of_stages), -1)
        found = sample.summary(flat, labels, n_tokens=np.repeat(counted, len(TERMS), axis=1), lowest=-reach, highest=reach)
        adjusted = found.groupby("term")["p_value"].transform(lambda p: adjust(p.to_numpy(), "holm"))
        parts.append(found.assign(p_adjusted=adjusted))
    return pd.concat(parts, ignore_index=True)[["ranking", "stage", *RESULT_COLUMNS]]


def _stages(main: pd.DataFrame, rankings: Rankings) -> pd.DataFrame:
    """One row per stage: what a reader asks first."""
    rows = []
    for stage in [*_stage_names(rankings), BELOW]:
        row: dict[str, object] = {"stage": stage}
        for term in ("kendall", "overlap"):
            found = main[(main["stage"] == stage) & (main["term"] == term)].set_index("ranking")
            for name, ranking in (("fresh", FRESH), ("made_at_1", FROZEN), ("difference", DIFFERENCE)):
                of_one = found.loc[ranking] if ranking in found.index else None
                row[f"{term}_{name}"] = np.nan if of_one is None else of_one["estimate"]
                if ranking == DIFFERENCE:
                    for column, source in (("low", "ci_low"), ("high", "ci_high"), ("p_adjusted", "p_adjusted")):
                        row[f"{term}_{name}_{column}"] = np.nan if of_one is None else of_one[source]
        rows.append(row)
    table = pd.DataFrame(rows)
    is_judged = rankings.n_judged > 0

    def mean(values: FloatArray) -> list[float]:
        counted = np.where(is_judged, values, np.nan)
        return [float(np.nanmean(of)) if np.isfinite(of).any() else np.nan for of in counted.T] + [np.nan]

    return table.assign(
        tokens_judged=mean(rankings.n_judged.astype(np.float64)),
        deleted_after=mean(rankings.n_after.astype(np.float64)),
        overlap_by_chance=mean(rankings.window[:, None] / np.maximum(rankings.n_judged, 1)),
        n_chains=[*is_judged.sum(axis=0).tolist(), int(is_judged[:, 1:].any(axis=1).sum())],
    )


def _made_at(rankings: Rankings, sample: QuestionSample) -> pd.DataFrame:
    """One row per stage at which a ranking is made, stage at which it is judged, and term: how rankings age. Not tested."""
    names = _stage_names(rankings)
    cells = [(made, judged) for judged in range(len(names)) for made in range(judged + 1)]
    labels = pd.DataFrame([(names[made], names[judged]) for made, judged in cells], columns=["made_at", "judged_at"])
    labels = labels.merge(pd.DataFrame({"term": TERMS}), how="cross")
    values = np.stack([rankings.found[:, made, judged] for made, judged in cells], axis=1)
    n_tokens: IntArray = np.stack([rankings.n_judged[:, judged] for _, judged in cells], axis=1)
    found = sample.summary(values.reshape(len(values), -1), labels, n_tokens=np.repeat(n_tokens, len(TERMS), axis=1))
    return found[["made_at", "judged_at", "term", "estimate", "ci_low", "ci_high", "n_questions", "n_chains", "n_tokens"]]


def _per_chain(rankings: Rankings) -> pd.DataFrame:
    """One row per chain, ranking and stage at which it is judged."""
    names = _stage_names(rankings)
    made = [f"made at {name}" for name in names] + list(rankings.scorers)
    index = pd.MultiIndex.from_product([rankings.chain_ids, made, names], names=["chain_id", "ranking", "judged_at"])
    table = pd.DataFrame(rankings.found.reshape(-1, len(TERMS)), columns=list(TERMS), index=index).reset_index()
    questions = dict(zip(rankings.chain_ids, rankings.question_ids, strict=True))
    counts = {name: np.repeat(of[:, None], len(made), axis=1).ravel() for name, of in
              (("n_judged", rankings.n_judged), ("n_after", rankings.n_after))}  # fmt: skip
    table.insert(1, "question_id", table["chain_id"].map(questions))
    return table.assign(**counts).dropna(subset=list(TERMS), how="all").reset_index(drop=True)
