"""Does attention know: rank correlation with the deletion order, chain by chain and on average."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Final

import numpy as np
import pandas as pd

from reasoning_anatomy.errors import AnalysisError
from reasoning_anatomy.types import AnalysisResult
from reports._data import detail, main_table
from reports._drawing import Sized, draw_intervals, name_rows, nothing_said, wrapped, zero_line
from reports._style import ACCENT, GRID, MUTED, figure_style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLUMNS = ("row", "scorer", "kind", "term", "chain_id", "estimate", "ci_low", "ci_high")
_GROUPS: Final = {
    "independent signal": "signals",
    "own first step": "the strategy's own first step",
    "trivial competitor": "competitors",
}
_DIRECTION: Final = "(+ = higher score, deleted later)"


@dataclass(frozen=True, kw_only=True)
class RankCorrelationIntervals(Sized):
    """Rank correlation of scores and deletion_step: one dot per chain, the estimate and its interval.

    Signals come first, then what the strategy itself looked at before its first deletion, then trivial competitors.

    Attributes
    ----------
    statistics
        Terms of ``rank_correlation``, one panel each. Rows are sorted by the size of the last.
    """

    title: ClassVar[str] = "Rank correlation of score and deletion_step"
    caption: ClassVar[str] = (
        "One row per scorer, largest effect with position held constant first. Large dot and bar: estimate and interval of "
        "the table. Small dots: one chain each. To the right of 0, tokens with a higher score are deleted later. Grey: what "
        "position, length, frequency, surprisal or chance say, and what the strategy itself looked at first; a signal that "
        "says no more has found nothing. The adjusted p-values of the table allow for the number of scorers."
    )
    section: ClassVar[str] = "rank_correlation"
    analysis: ClassVar[str | None] = "rank_correlation"

    statistics: tuple[str, ...] = ("spearman", "spearman_given_position")

    def data(self, source: AnalysisResult) -> pd.DataFrame:
        """Return what is drawn.

        Returns
        -------
        Columns ``row, scorer, kind, term, chain_id, estimate, ci_low, ci_high``, scorers in the order of the rows. ``row`` is
        ``estimate`` (as in the table of ``rank_correlation``) or ``chain`` (its detail table ``per_chain``, without the chains
        that have no value).
        """
        table = self._table(source)
        per_chain = detail(source, "per_chain", ["scorer", "chain_id", *self.statistics])
        chains = per_chain.melt(
            id_vars=["scorer", "chain_id"], value_vars=list(self.statistics), var_name="term", value_name="estimate"
        )
        kinds = table.drop_duplicates("scorer").set_index("scorer")["kind"]
        chains = chains.dropna(subset="estimate").assign(row="chain", kind=lambda rows: rows["scorer"].map(kinds))
        data = pd.concat([table.assign(row="estimate"), chains[chains["kind"].notna()]], ignore_index=True)
        data["place"] = data["scorer"].map({scorer: place for place, scorer in enumerate(self._order(table))})
        return data.sort_values(["place"], kind="stable", ignore_index=True).reindex(columns=list(COLUMNS))

    def table(self, source: AnalysisResult) -> pd.DataFrame:
        """One row per scorer, in the order of the rows: every statistic with its interval and its adjusted p-value."""
        table = self._table(source)
        parts = []
        for term in self.statistics:
            of_term = table[table["term"] == term].set_index("scorer")[["estimate", "ci_low", "ci_high", "p_adjusted"]]
            parts.append(of_term.set_axis([term, f"{term}_low", f"{term}_high", f"{term}_p_adjusted"], axis=1))
        return pd.concat(parts, axis=1).reindex(self._order(table)).rename_axis("scorer").reset_index()

    def notes(self, source: AnalysisResult) -> list[str]:
        """Say what a dotted interval means, if there is one."""
        return nothing_said(self.data(source))

    def draw(self, source: AnalysisResult) -> "Figure":
        """Draw one panel per statistic, and in it one row per scorer."""
        data = self.data(source)
        scorers = data.drop_duplicates("scorer").set_index("scorer")["kind"]
        kinds = list(dict.fromkeys(scorers))
        names = [name for kind in kinds for name in (*_heading(kind, kinds), *scorers.index[scorers == kind])]
        places = {str(scorer): names.index(scorer) for scorer in scorers.index}
        with figure_style():
            figure = self.canvas(0.75 + (0.27 if self.is_narrow else 0.21) * len(names))
            axes = figure.subplots(1, len(self.statistics), sharex=True, sharey=True, squeeze=False)[0]
            for axis, term in zip(axes, self.statistics, strict=True):
                axis.set_title(term.replace("_given", "\ngiven" if self.is_narrow else " given").replace("_", " "))
                _draw_panel(axis, data[data["term"] == term], places)
                name_rows(axis, [wrapped(name, 18 if self.is_narrow else 32) for name in names])
                for tick, name in zip(axis.yaxis.get_major_ticks(len(names)), names, strict=True):
                    if name not in places:
                        tick.label1.set(style="italic", color=MUTED)
            figure.supxlabel("rank correlation of score and deletion_step" + ("\n" if self.is_narrow else " ") + _DIRECTION)
        return figure

    def _table(self, result: AnalysisResult) -> pd.DataFrame:
        table = main_table(result, ["scorer", "kind"])
        known = list(dict.fromkeys(table["term"]))
        if unknown := [term for term in self.statistics if term not in known]:
            raise AnalysisError(f"the result of rank_correlation has no term {unknown[0]!r}; it has {', '.join(known)}")
        return table[table["term"].isin(self.statistics)]

    def _order(self, table: pd.DataFrame) -> list[str]:
        """Scorers by kind, the largest effect of each first."""
        kinds = {kind: place for place, kind in enumerate(_GROUPS)}
        last = table[table["term"] == self.statistics[-1]]
        order = pd.DataFrame({"kind": last["kind"].map(kinds), "size": -last["estimate"].abs()})
        return list(last.loc[order.sort_values(["kind", "size"], kind="stable").index, "scorer"])


def _heading(kind: str, kinds: list[str]) -> list[str]:
    return [_GROUPS.get(kind, kind)] if len(kinds) > 1 else []


def _draw_panel(axis: "Axes", data: pd.DataFrame, places: Mapping[str, int]) -> None:
    zero_line(axis)
    for scorer, of_scorer in data.groupby("scorer", sort=False):
        place = places[str(scorer)]
        colour = ACCENT if of_scorer["kind"].iloc[0] == "independent signal" else MUTED
        dots = of_scorer.loc[of_scorer["row"] == "chain", "estimate"].to_numpy(dtype=float)
        spread = (np.arange(len(dots)) % 5 - 2) * 0.05
        axis.scatter(dots, place + 0.2 + spread, s=5, color=colour, alpha=0.4, linewidths=0)
        whole = of_scorer[of_scorer["row"] == "estimate"]
        draw_intervals(axis, whole, [place - 0.14] * len(whole), [colour] * len(whole))
    axis.set_xlim(-1.04, 1.04)
    axis.grid(axis="x", color=GRID)
