"""Does attention know: rank correlation with the deletion order, chain by chain and on average."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from reasoning_anatomy.run import Run
from reports._data import by_term, detail
from reports._style import ACCENT, GRID, INK, MUTED, figure_style

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLUMNS = ("row", "term", "chain_id", "estimate", "ci_low", "ci_high")


@dataclass(frozen=True, kw_only=True)
class RankCorrelationIntervals:
    """Rank correlation of attention and deletion_step: one dot per chain, the estimate and its interval."""

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
            chains = by_term(detail(run, result, "per_chain"), terms)
            chains = chains[chains["term"].isin(terms)].dropna(subset="estimate")
            chains = chains.assign(row="chain", ci_low=np.nan, ci_high=np.nan, chain_id=chains["chain_id"].astype("str"))
            rows.append(chains)
        columns = [frame[list(COLUMNS)].astype({"chain_id": "object"}) for frame in rows]
        return pd.concat(columns, ignore_index=True)

    def draw(self, run: Run) -> "Figure":
        """Draw one row per term."""
        from matplotlib.figure import Figure

        data = self.data(run)
        terms = list(dict.fromkeys(data.loc[data["row"] == "estimate", "term"]))
        with figure_style():
            figure = Figure(figsize=(7.2, 0.8 + 0.5 * len(terms)), layout="constrained")
            axis = figure.subplots()
            axis.axvline(0, color=MUTED, linewidth=0.8)
            for place, term in enumerate(terms):
                rows = data[data["term"] == term]
                dots = rows.loc[rows["row"] == "chain", "estimate"].to_numpy(dtype=float)
                spread = (np.arange(len(dots)) % 5 - 2) * 0.04
                axis.scatter(dots, place + 0.17 + spread, s=9, color=ACCENT, alpha=0.4, linewidths=0)
                whole = rows[rows["row"] == "estimate"]
                axis.hlines([place - 0.17] * len(whole), whole["ci_low"], whole["ci_high"], color=INK, linewidth=1.4)
                axis.scatter(
                    whole["estimate"], [place - 0.17] * len(whole), s=28, color=ACCENT, edgecolor=INK, linewidths=0.8, zorder=3
                )
            axis.set_yticks(range(len(terms)), [term.replace("_", " ") for term in terms])
            axis.set_ylim(len(terms) - 0.5, -0.6)
            axis.set_xlabel("rank correlation of attention received and deletion_step (\N{MINUS SIGN}1 to 1)")
            axis.tick_params(axis="y", length=0)
            axis.spines["left"].set_visible(False)
            axis.grid(axis="x", color=GRID)
        return figure
