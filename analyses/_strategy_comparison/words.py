"""The finding of strategy_comparison in words, what a terminal shows, and what a reader must know before believing it."""

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
import pandas as pd

from analyses._sentences import (
    Row,
    briefly,
    differ,
    direction,
    has_interval,
    missing_intervals,
    number_or_nothing,
    small_sample,
    with_interval,
)
from analyses._strategy_comparison.concentration import AVOIDED, DISTANCE, PLACE
from analyses._strategy_comparison.curves import Curves
from analyses._strategy_comparison.tables import AREA, LESS
from reasoning_anatomy.verdicts import AGAINST, CLEAR, UNDECIDED

_WIDE_GAP: Final = 0.05


def finding(tables: Mapping[str, pd.DataFrame], table: pd.DataFrame, curves: Curves, *, confidence: float) -> str:
    """Say what was found: which strategy loses least, by how much it beats chance, and how concentrated importance is."""
    said = [_best(tables, table, curves, confidence)]
    if "concentration" in tables:
        by_pair = tables["concentration"].groupby(["best_first", "worst_first"], sort=False)
        said += [_concentration(rows, str(best), confidence) for (best, _), rows in by_pair]
    return "\n".join(said)


def printed_table(strategies: pd.DataFrame) -> pd.DataFrame:
    """Write the table ``strategies`` for a terminal: one line for each strategy, the one that loses least first."""
    rises = [name for name in strategies.columns if name.startswith("rise_")]
    areas = strategies.rename(columns={"area": "estimate", "area_low": "ci_low", "area_high": "ci_high"})
    return pd.DataFrame(
        {
            "strategy": strategies["strategy"],
            "role": strategies["role"],
            "area": [briefly(row) for row in _rows(areas)],
            **{name.replace("rise_", "rise at "): [number_or_nothing(value) for value in strategies[name]] for name in rises},
            "mean rank": [number_or_nothing(value) for value in strategies["mean_rank"]],
            "questions": strategies["n_questions"],
            "chains": strategies["n_chains"],
        }
    )


def warnings(tables: Mapping[str, pd.DataFrame], table: pd.DataFrame, curves: Curves, n_chains: int) -> list[str]:
    """Sentences for ``AnalysisResult.warnings``; ``n_chains`` are those of the run."""
    below = [f"{ratio:g}" for ratio in curves.ratios if ratio < curves.down_to]
    nothing = f"the chains are compared down to the keep ratio {curves.down_to:g} only"
    names = (table["term"] + " of " + table["strategy"]).tolist()
    said = missing_intervals(table, names, widest=[np.inf] * len(table), nothing=nothing)
    if following := [strategy.name for strategy in curves.strategies if strategy.follows_the_answer]:
        said.append(
            f"{', '.join(following)}: deletes by the likelihood of the answer, so that it differs from chance is built in; by "
            "how much, and whether answers stay right, is not"
        )
    if below:
        said.append(f"there is no rise at keep ratio {', '.join(below)}: {nothing}, where the path that stops first ends")
    said += small_sample(tables["between_questions"].assign(term="difference between the areas of two strategies"))
    if not any(strategy.role == "baseline" for strategy in curves.strategies):
        said.append("no strategy deletes at random; whether any of them knows what matters cannot be said: add random_tokens")
    single = [s.name for s in curves.strategies if len(s.labels) == 1 and s.name.startswith("random_")]
    if single:
        said.append(f"{', '.join(single)}: one draw for each chain; more seeds make the comparison with chance more exact")
    gaps = dict(zip(curves.names, curves.gap.max(axis=1), strict=True))
    if wide := [f"{name} {gap:.2f}" for name, gap in gaps.items() if gap > _WIDE_GAP]:
        said.append(
            "curves are read on straight lines between the points where they were evaluated; the widest mean stretch between "
            f"two, as a share of the chain: {', '.join(wide)}"
        )
    if n_out := n_chains - len(curves.chain_ids):
        reasons = ", ".join(f"{count} {reason}" for reason, count in curves.exclusions.items())
        said.append(f"{n_out} of {n_chains} chains of the run are not compared ({reasons})")
    return said


def _best(tables: Mapping[str, pd.DataFrame], table: pd.DataFrame, curves: Curves, confidence: float) -> str:
    names = tables["strategies"]["strategy"].tolist()
    rows = {str(row["strategy"]): row for row in _rows(table[table["term"] == AREA])}
    best = names[0]
    of_best = {
        str(row["term"]).removeprefix(LESS): row
        for row in _rows(table[table["strategy"] == best])
        if str(row["term"]).startswith(LESS)
    }
    rise = f"mean rise of the nll between keep ratios 1 and {curves.down_to:g}, in nats per token"
    own = f"Of {len(names)} strategies, {best} loses least: {rise}, {{}}"
    if not of_best:
        return f"{_without_chance(rows[best], best)}: {rise} {with_interval(rows[best], confidence=confidence)}; that of " + (
            f"{names[1]} is {briefly(rows[names[1]])}. {_tests(tables, confidence)}"
        )
    hardest = max(of_best, key=lambda name: float(of_best[name]["estimate"]))
    gap = with_interval(of_best[hardest], confidence=confidence)
    loss = briefly(rows[best]) + _as_gain(rows[best])
    others = ", ".join(f"from {name} {briefly(row)}" for name, row in of_best.items() if name != hardest)
    return (
        f"{_beside_chance(best, hardest, list(of_best.values()))}: difference of the {rise}, {gap}. "
        f"{own.format(loss)}{f'; its difference {others}' if others else ''}. {_tests(tables, confidence)}"
    )


def _beside_chance(best: str, hardest: str, gaps: Sequence[Row]) -> str:
    """Say whether the best strategy loses less than every baseline; ``hardest`` is the one that comes nearest to it."""
    is_clear = int(gaps[0]["n_questions"]) > 1 and all(direction(row) < 0 for row in gaps)
    if is_clear:
        return f"{CLEAR}: {best} loses less than {hardest}{', the best baseline' if len(gaps) > 1 else ''}"
    return f"{UNDECIDED}: it is open whether {best} loses less than {hardest}"


def _as_gain(row: Row) -> str:
    """Say what a rise below zero is."""
    return " (below 0: its deletions make the answer likelier)" if direction(row) < 0 else ""


def _without_chance(row: Row, best: str) -> str:
    """Say what loses least if there is nothing at random beside it, or if that itself loses least."""
    if row["role"] == "baseline":
        return f"{AGAINST}: {best}, a baseline, loses least"
    return f"{UNDECIDED}: {best} loses least, and no baseline says what chance would lose"


def _tests(tables: Mapping[str, pd.DataFrame], confidence: float) -> str:
    test = tables["friedman"].iloc[0]
    pairs = tables["pairs"][tables["pairs"]["term"] == AREA]
    n_found = int((pairs["p_adjusted"] <= 1 - confidence + 1e-12).sum())
    counted = f"corrected for their number, {n_found} of {len(pairs)} pairs {differ(n_found)}"
    if len(pairs) == 1:
        return f"The two {'differ' if n_found else 'do not clearly differ'} ({p_text(float(pairs['p_value'].iloc[0]))})."
    if not np.isfinite(test["p_value"]):
        return f"{counted[0].upper()}{counted[1:]}."
    return f"By Friedman's test over {int(test['n_questions'])} questions {p_text(float(test['p_value']))}; {counted}."


def _concentration(rows: pd.DataFrame, best: str, confidence: float) -> str:
    by_term = {str(row["term"]): row for row in _rows(rows)}
    distance = by_term[DISTANCE]
    apart = f"{best} and its reverse are {with_interval(distance, confidence=confidence)} nats per token apart on average"
    if not np.isfinite(by_term[AVOIDED]["estimate"]):
        return f"{UNDECIDED}: it is open whether it matters which tokens go first: {apart}."
    said = f"{CLEAR}: it matters which tokens go first: {apart}"
    places = [f"{name} {briefly(row)}" for term, row in by_term.items() if (name := _baseline_of(term)) and has_interval(row)]
    chance = f"; between the two (0 and 1) lie {', '.join(places)}" if places else ""
    return f"{said}, and it avoids {briefly(by_term[AVOIDED])} of what its reverse loses{chance}."


def _baseline_of(term: str) -> str:
    start, end = PLACE.split("{}")
    return term.removeprefix(start).removesuffix(end) if term.startswith(start) and term.endswith(end) else ""


def p_text(p_value: float) -> str:
    """Write a p-value for a sentence."""
    return "without a p-value" if np.isnan(p_value) else "p < 0.001" if p_value < 0.001 else f"p = {p_value:.3f}"


def _rows(table: pd.DataFrame) -> list[Row]:
    return list(table.to_dict("records"))
