"""Does attention know: rank correlation with the deletion order, chain by chain and on average."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import pandas as pd

from reasoning_anatomy.errors import RunError
from reasoning_anatomy.run.folder import Run
from reports._data import detail, result_of
from reports._style import ACCENT, GRID, INK, MUTED, figure_style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLUMNS = ("row", "scorer", "term", "chain_id", "estimate", "ci_low", "ci_high")


@dataclass(frozen=True, kw_only=True)
class RankCorrelationIntervals:
    """Rank correlation of scores and deletion_step: one dot per chain, the estimate and its interval.

    Attributes
    ----------
    statistics
        Terms of ``rank_correlation``, one panel each.
    """

    title: ClassVar[str] = "Rank correlation of score and deletion_step"
    caption: ClassVar[str] = (
        "One row per scorer. Large dot and bar: estimate and interval of the table. Small dots: one chain each. To the "
        "right of 0, tokens with a higher score are deleted later. The adjusted p-values of the table allow for the number "
        "of scorers."
    )
    section: ClassVar[str] = "rank_correlation"
    analysis: ClassVar[str | None] = "rank_correlation"

    statistics: tuple[str, ...] = ("spearman", "spearman_given_position")

    def data(self, run: Run) -> pd.DataFrame:
        """Return what is drawn.

        Returns
        -------
        Columns ``row, scorer, term, chain_id, estimate, ci_low, ci_high``. ``row`` is ``estimate`` (as in the table of
        ``rank_correlation``) or ``chain`` (its detail table ``per_chain``, without the chains that have no value).
        """
        result = result_of(run, "rank_correlation", about="scorer")
        known = list(dict.fromkeys(result.table["term"]))
        if unknown := [term for term in self.statistics if term not in known]:
            raise RunError(f"{run.folder}: rank_correlation has no term {unknown[0]!r}; it has {', '.join(known)}")
        estimates = result.table[result.table["term"].isin(self.statistics)].assign(row="estimate")
        chains = detail(run, result, "per_chain").melt(
            id_vars=["scorer", "chain_id"], value_vars=list(self.statistics), var_name="term", value_name="estimate"
        )
        parts = [estimates, chains.dropna(subset="estimate").assign(row="chain")]
        return pd.concat(parts, ignore_index=True).reindex(columns=list(COLUMNS))

    def table(self, run: Run) -> pd.DataFrame:
        """One row per scorer: every statistic with its interval and its adjusted p-value."""
        table = result_of(run, "rank_correlation", about="scorer").table
        shown = ["estimate", "ci_low", "ci_high", "p_adjusted"]
        parts = []
        for term in self.statistics:
            of_term = table[table["term"] == term].set_index("scorer")[shown]
            parts.append(of_term.set_axis([term, f"{term}_low", f"{term}_high", f"{term}_p_adjusted"], axis=1))
        return pd.concat(parts, axis=1).reset_index()

    def draw(self, run: Run) -> "Figure":
        """Draw one panel per statistic, and in it one row per scorer."""
        from matplotlib.figure import Figure

        data = self.data(run)
        scorers = list(dict.fromkeys(data["scorer"]))
        with figure_style():
            figure = Figure(figsize=(7.2, 0.95 + 0.36 * len(scorers)), layout="constrained")
            axes = figure.subplots(1, len(self.statistics), sharex=True, sharey=True, squeeze=False)[0]
            for axis, term in zip(axes, self.statistics, strict=True):
                axis.set_title(term.replace("_", " "))
                _draw_panel(axis, data[data["term"] == term], scorers)
            figure.supxlabel("rank correlation of score and deletion_step (\N{MINUS SIGN}1 to 1)", fontsize=9, color=INK)
        return figure


def _draw_panel(axis: "Axes", data: pd.DataFrame, scorers: list[str]) -> None:
    axis.axvline(0, color=MUTED, linewidth=0.8)
    for place, scorer in enumerate(scorers):
        of_scorer = data[data["scorer"] == scorer]
        dots = of_scorer.loc[of_scorer["row"] == "chain", "estimate"].to_numpy(dtype=float)
        spread = (np.arange(len(dots)) % 5 - 2) * 0.04
        axis.scatter(dots, place + 0.17 + spread, s=9, color=ACCENT, alpha=0.4, linewidths=0)
        whole = of_scorer[of_scorer["row"] == "estimate"]
        height = [place - 0.17] * len(whole)
        axis.hlines(height, whole["ci_low"], whole["ci_high"], color=INK, linewidth=1.4)
        axis.scatter(whole["estimate"], height, s=28, color=ACCENT, edgecolor=INK, linewidths=0.8, zorder=3)
    axis.set_yticks(range(len(scorers)), scorers)
    axis.set_ylim(len(scorers) - 0.5, -0.6)
    axis.tick_params(axis="y", length=0)
    axis.spines["left"].set_visible(False)
    axis.grid(axis="x", color=GRID)
