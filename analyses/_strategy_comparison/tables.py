"""The tables of strategy_comparison: levels, paired differences and ranks over questions."""

from collections.abc import Sequence
from itertools import combinations
from typing import Final

import numpy as np
import pandas as pd

from analyses._exclusions import left_out_table
from analyses._sample import QuestionSample
from analyses._statistics.families import adjust
from analyses._statistics.friedman import friedman
from analyses._statistics.questions import question_means
from analyses._strategy_comparison.concentration import concentration
from analyses._strategy_comparison.curves import Curves
from analyses._strategy_comparison.strategies import Reversal
from reasoning_anatomy.types import RESULT_COLUMNS, FloatArray

MAIN: Final = "table"
"""Name of the main table among those of `all_tables`."""

AREA: Final = "area"
LESS: Final = "area less "
"""Terms of the main table; that of a difference ends with the baseline."""

_INTERVAL: Final = ["estimate", "ci_low", "ci_high"]
_COUNTS: Final = list(RESULT_COLUMNS[6:])
_UNBOUNDED: Final = {"lowest": -np.inf, "highest": np.inf}


def at_ratio(ratio: float) -> str:
    """Term of the rise at a keep ratio."""
    return f"rise at keep ratio {ratio:g}"


def all_tables(curves: Curves, reversed_pairs: Sequence[Reversal], sample: QuestionSample) -> dict[str, pd.DataFrame]:
    """Compare the strategies.

    Parameters
    ----------
    curves
        Of the strategies.
    reversed_pairs
        Strategies that are the reverse of one another.
    sample
        The same chains, as a sample of questions.

    Returns
    -------
    `MAIN` and the detail tables by name; ``concentration`` only if there is a reversed pair.
    """
    terms = {AREA: curves.area, **{at_ratio(ratio): curves.rise_at[..., at] for at, ratio in enumerate(curves.ratios)}}
    pairs = paired(terms, curves, sample)
    tests = _friedman(terms, curves, sample)
    main = _main(terms, pairs, curves, sample)
    spread = pairs[pairs["term"] == AREA]
    differences = _differences(curves.area)
    return {
        MAIN: main,
        "strategies": _strategies(main, tests, curves),
        "pairs": pairs,
        "friedman": tests.drop(columns="mean_ranks"),
        "curves": _curves(curves, sample),
        **({"concentration": concentration(curves, reversed_pairs, sample)} if reversed_pairs else {}),
        "between_questions": sample.spread(differences, [f"{AREA}, {row.first} - {row.second}" for row in spread.itertuples()]),
        "per_chain": _per_chain(curves),
        "left_out": left_out_table({(): curves.exclusions}, []),
    }


def paired(terms: dict[str, FloatArray], curves: Curves, sample: QuestionSample) -> pd.DataFrame:
    """Compare every two strategies within the chain; (chains, strategies) values by term.

    Returns
    -------
    One row per term and pair; ``estimate`` is the value of ``first`` less that of ``second``, so that a negative one says that
    ``first`` loses less. ``p_adjusted`` by Holm over the pairs of a term.
    """
    names = pd.DataFrame(list(combinations(curves.names, 2)), columns=["first", "second"])
    rows = []
    for term, values in terms.items():
        found = sample.summary(_differences(values), names.assign(term=term), n_tokens=curves.n_tokens[:, None], **_UNBOUNDED)
        rows.append(found.assign(p_adjusted=adjust(found["p_value"].to_numpy(), "holm")))
    return pd.concat(rows, ignore_index=True)[["first", "second", *RESULT_COLUMNS]]


def _differences(values: FloatArray) -> FloatArray:
    """Differences of every two strategies; (chains, strategies) -> (chains, pairs)."""
    first, second = (list(side) for side in zip(*combinations(range(values.shape[1]), 2), strict=True))
    return np.asarray(values[:, first] - values[:, second])


def _main(terms: dict[str, FloatArray], pairs: pd.DataFrame, curves: Curves, sample: QuestionSample) -> pd.DataFrame:
    """One row per strategy and term: levels, which are not tested, and differences of the area from every baseline."""
    about = pd.DataFrame(
        {
            "strategy": curves.names,
            "role": [strategy.role for strategy in curves.strategies],
            "number": range(len(curves.names)),
        }
    )
    levels = [
        sample.summary(values, about.assign(term=term), n_tokens=curves.n_tokens[:, None], **_UNBOUNDED)
        for term, values in terms.items()
    ]
    parts = [part.assign(p_value=np.nan, p_adjusted=np.nan) for part in levels]
    of_area = pairs[pairs["term"] == AREA]
    for baseline in about.loc[about["role"] == "baseline", "strategy"]:
        beside = about[about["role"] != "baseline"].merge(_from(of_area, baseline), left_on="strategy", right_on="other")
        adjusted = adjust(beside["p_value"].to_numpy(), "holm")
        parts.append(beside.assign(term=f"{LESS}{baseline}", p_adjusted=adjusted))
    table = pd.concat(parts, ignore_index=True).sort_values("number", kind="stable", ignore_index=True)
    return table[["strategy", "role", *RESULT_COLUMNS]]


def _from(pairs: pd.DataFrame, baseline: str) -> pd.DataFrame:
    """Differences of every other strategy, in the column ``other``, from one."""
    ahead = pairs[pairs["second"] == baseline].rename(columns={"first": "other"})
    behind = pairs[pairs["first"] == baseline].rename(columns={"second": "other"})
    turned = behind.assign(estimate=-behind["estimate"], ci_low=-behind["ci_high"], ci_high=-behind["ci_low"])
    found = pd.concat([ahead, turned], ignore_index=True)
    return found[["other", *_INTERVAL, "p_value", *_COUNTS]]


def _friedman(terms: dict[str, FloatArray], curves: Curves, sample: QuestionSample) -> pd.DataFrame:
    """Friedman's test over questions for every term; a term that some chain lacks has none, nor has one question."""
    rows = []
    for term, values in terms.items():
        by_question = question_means(values, sample.questions)
        n_questions, n_strategies = by_question.shape
        is_tested = n_questions > 1 and bool(np.isfinite(by_question).all())
        found = friedman(by_question) if is_tested else None
        rows.append(
            {
                "term": term,
                "statistic": float(found.statistic) if found else np.nan,
                "freedom": n_strategies - 1,
                "p_value": float(found.p_value) if found else np.nan,
                "n_questions": n_questions if is_tested else 0,
                "n_strategies": n_strategies,
                "mean_ranks": found.mean_ranks if found else np.full(n_strategies, np.nan),
            }
        )
    return pd.DataFrame(rows)


def _strategies(main: pd.DataFrame, tests: pd.DataFrame, curves: Curves) -> pd.DataFrame:
    """One row per strategy: what a reader asks first, sorted by the area; the lowest first."""
    area = main[main["term"] == AREA].reset_index(drop=True)
    table = area[["strategy", "role"]].assign(n_paths=[len(strategy.labels) for strategy in curves.strategies])
    table = table.assign(area=area["estimate"], area_low=area["ci_low"], area_high=area["ci_high"])
    for ratio in curves.ratios:
        table[f"rise_{ratio:g}"] = main.loc[main["term"] == at_ratio(ratio), "estimate"].to_numpy()
    table = table.assign(mean_rank=tests["mean_ranks"].iloc[0], n_questions=area["n_questions"], n_chains=area["n_chains"])
    return table.sort_values("area", kind="stable", ignore_index=True)


def _curves(curves: Curves, sample: QuestionSample) -> pd.DataFrame:
    """One row per strategy and keep ratio: mean rise with a pointwise band."""
    labels = pd.DataFrame({"strategy": curves.names}).merge(pd.DataFrame({"keep_ratio": curves.grid}), how="cross")
    found = sample.summary(curves.rise.reshape(len(curves.rise), -1), labels, n_tokens=curves.n_tokens[:, None], **_UNBOUNDED)
    table = found.rename(columns={"estimate": "rise"}).assign(gap=curves.gap.ravel())
    return table[["strategy", "keep_ratio", "rise", "ci_low", "ci_high", "gap", "n_questions", "n_chains"]]


def _per_chain(curves: Curves) -> pd.DataFrame:
    """One row per chain and strategy."""
    n_strategies = len(curves.names)
    table = pd.DataFrame(
        {
            "chain_id": np.repeat(curves.chain_ids, n_strategies),
            "question_id": np.repeat(curves.question_ids, n_strategies),
            "strategy": curves.names * len(curves.chain_ids),
            "n_tokens": np.repeat(curves.n_tokens, n_strategies),
            AREA: curves.area.ravel(),
        }
    )
    for number, ratio in enumerate(curves.ratios):
        table[f"rise_{ratio:g}"] = curves.rise_at[..., number].ravel()
    return table
