"""Does attention know: rank correlation with the deletion order, chain by chain and on average."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from reasoning_anatomy.run.folder import Run
from reports._data import by_term, detail
from reports._style import ACCENT, GRID, INK, MUTED, figure_style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLUMNS = ("row", "term", "chain_id", "estimate", "ci_low", "ci_high")


@dataclass(frozen=True, kw_only=True)
class RankCorrelationIntervals:
    """Rank correlation of scores and deletion_step: one dot per chain, the estimate and its interval."""

    def data(self, run: Run) -> pd.DataFrame:
        """Return what is drawn.

        Returns
        -------
        Columns ``row, term, chain_id, estimate, ci_low, ci_high``. ``row`` is ``estimate`` (as in the table of
        ``rank_correlation``) or ``chain`` (its detail table ``per_chain``, where it has one).
        """
        result = run.analysis("rank_correlation")
        terms = result.table["term"].tolist()
        rows = [result.table.assign(row="estimate", chain_id=None)]
        if "per_chain" in result.details:
            chains = by_term(detail(run, result, "per_chain"), list({_statistic(term): None for term in terms}))
            if "scorer" in chains:
                chains = chains.assign(term=chains["scorer"] + ": " + chains["term"])
            chains = chains[chains["term"].isin(terms)].dropna(subset="estimate")
            chains = chains.assign(row="chain", ci_low=np.nan, ci_high=np.nan, chain_id=chains["chain_id"].astype("str"))
            rows.append(chains)
        columns = [frame[list(COLUMNS)].astype({"chain_id": "object"}) for frame in rows]
        return pd.concat(columns, ignore_index=True)

    def draw(self, run: Run) -> "Figure":
        """Draw one row per term; of several scorers one row per scorer, and a panel per statistic."""
        from matplotlib.figure import Figure

        data = self.data(run)
        panels = _panels(data.loc[data["row"] == "estimate", "term"].tolist())
        n_rows = max(map(len, panels.values()))
        with figure_style():
            figure = Figure(figsize=(7.2, 0.8 + (0.5 if len(panels) == 1 else 0.36) * n_rows), layout="constrained")
            axes = figure.subplots(1, len(panels), sharex=True, sharey=True, squeeze=False)[0]
            for axis, (title, rows) in zip(axes, panels.items(), strict=True):
                axis.set_title(title)
                _draw_panel(axis, data, rows)
            figure.supxlabel("rank correlation of score and deletion_step (\N{MINUS SIGN}1 to 1)", fontsize=9, color=INK)
        return figure


def _statistic(term: str) -> str:
    return term.rpartition(": ")[2]


def _panels(terms: list[str]) -> dict[str, dict[str, str]]:
    """Term by name of its row, by title of its panel."""
    if not all(": " in term for term in terms):
        return {"": {term.replace("_", " "): term for term in terms}}
    panels: dict[str, dict[str, str]] = {}
    for term in terms:
        scorer, _, statistic = term.rpartition(": ")
        panels.setdefault(statistic.replace("_", " "), {})[scorer] = term
    return panels


def _draw_panel(axis: "Axes", data: pd.DataFrame, rows: dict[str, str]) -> None:
    axis.axvline(0, color=MUTED, linewidth=0.8)
    for place, term in enumerate(rows.values()):
        of_term = data[data["term"] == term]
        dots = of_term.loc[of_term["row"] == "chain", "estimate"].to_numpy(dtype=float)
        spread = (np.arange(len(dots)) % 5 - 2) * 0.04
        axis.scatter(dots, place + 0.17 + spread, s=9, color=ACCENT, alpha=0.4, linewidths=0)
        whole = of_term[of_term["row"] == "estimate"]
        height = [place - 0.17] * len(whole)
        axis.hlines(height, whole["ci_low"], whole["ci_high"], color=INK, linewidth=1.4)
        axis.scatter(whole["estimate"], height, s=28, color=ACCENT, edgecolor=INK, linewidths=0.8, zorder=3)
    axis.set_yticks(range(len(rows)), list(rows))
    axis.set_ylim(len(rows) - 0.5, -0.6)
    axis.tick_params(axis="y", length=0)
    axis.spines["left"].set_visible(False)
    axis.grid(axis="x", color=GRID)
