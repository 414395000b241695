"""Do wrong chains attend more sparsely: sparsity of correct and wrong chains on the same question."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Final

import numpy as np
import pandas as pd

from reasoning_anatomy.types import AnalysisResult
from reports._data import detail, main_table, of
from reports._drawing import Sized, draw_intervals, name_rows, wrapped, zero_line
from reports._style import ACCENT, INK, MUTED, SERIES, figure_style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLUMNS = (
    "row", "scorer", "term", "question_id", "chain_id", "is_correct", "value", "estimate", "ci_low", "ci_high", "n_questions",
)  # fmt: skip
_DIFFERENCES: Final = {
    "wrong - correct": "same question",
    "wrong - correct given length": "same question, given length",
    "wrong - correct, all questions": "all questions",
    "wrong - correct given length, all questions": "all questions, given length",
}


@dataclass(frozen=True, kw_only=True)
class Sparsity(Sized):
    """Sparsity of every correct and every wrong chain, questions joined, and the difference with its interval.

    Attributes
    ----------
    scorer
        Label of ``attention_sparsity``; the first in the result if None.
    """

    title: ClassVar[str] = "Sparsity of correct and of wrong chains"
    caption: ClassVar[str] = (
        "Left: one dot per chain, 1 = all attention on one token. Lines join the means of the chains of a question that has "
        "both kinds. Right: sparsity of wrong chains less that of correct ones, with intervals over questions; right of 0, "
        "wrong chains attend more sparsely. Filled: chains of the same question are compared; hollow: all chains, which "
        "mixes in how hard their questions are. Given length: wrong chains are often longer, and long ones sparser."
    )
    section: ClassVar[str] = "attention_sparsity"
    analysis: ClassVar[str | None] = "attention_sparsity"
    on_demand: ClassVar[bool] = True

    scorer: str | None = None

    def data(self, source: AnalysisResult) -> pd.DataFrame:
        """Return what is drawn.

        Returns
        -------
        Columns ``row, scorer, term, question_id, chain_id, is_correct, value, estimate, ci_low, ci_high, n_questions``. ``row``
        is ``chain`` (with ``value``, of the detail table ``per_chain`` of ``attention_sparsity``) or ``difference`` (of the
        main table).
        """
        table = of(main_table(source, ["scorer"]), source, "scorer", self.scorer)
        chains = detail(source, "per_chain", ["scorer", "question_id", "chain_id", "is_correct", "value"])
        parts = [
            of(chains, source, "scorer", self.scorer).assign(row="chain"),
            table[table["term"].isin(list(_DIFFERENCES)) & table["estimate"].notna()].assign(row="difference"),
        ]
        return pd.concat(parts, ignore_index=True).reindex(columns=list(COLUMNS))

    def draw(self, source: AnalysisResult) -> "Figure":
        """Draw chains at the left and differences at the right; below one another in one column."""
        data = self.data(source)
        chains, differences = data[data["row"] == "chain"], data[data["row"] == "difference"]
        with figure_style():
            figure, (left, right) = self.panels(2, height=2.3, share_x=False, share_y=False)
            _draw_chains(left, chains)
            left.set_title(wrapped(data["scorer"].iloc[0], 40))
            zero_line(right)
            for place, term in enumerate(differences["term"]):
                is_of_all = "all questions" in term
                row, colour = differences.iloc[[place]], MUTED if is_of_all else ACCENT
                draw_intervals(right, row, [place], [colour], hollow=is_of_all)
            name_rows(right, [wrapped(_DIFFERENCES[term], 18) for term in differences["term"]])
            right.set_title("wrong less correct")
            right.set_xlabel("difference in sparsity\n(right of 0 = wrong sparser)")
        return figure


def _draw_chains(axis: "Axes", chains: pd.DataFrame) -> None:
    is_correct = chains["is_correct"].astype(bool)
    for x, chosen, colour in ((0, is_correct, SERIES[0]), (1, ~is_correct, SERIES[1])):
        values = chains.loc[chosen, "value"].to_numpy(dtype=float)
        spread = (np.arange(len(values)) % 5 - 2) * 0.03
        axis.scatter(x + spread, values, s=8, color=colour, alpha=0.6, linewidths=0, zorder=3)
    correct, wrong = (chains[chosen].groupby("question_id")["value"].mean() for chosen in (is_correct, ~is_correct))
    for question_id in correct.index.intersection(wrong.index):
        axis.plot([0, 1], [correct[question_id], wrong[question_id]], color=INK, linewidth=0.6, alpha=0.5)
    axis.set_xlim(-0.4, 1.4)
    axis.set_xticks([0, 1], [f"correct\n({int(is_correct.sum())} chains)", f"wrong\n({int((~is_correct).sum())} chains)"])
    axis.set_ylabel("sparsity of attention\n(higher = sparser)")
    axis.grid(axis="y")
