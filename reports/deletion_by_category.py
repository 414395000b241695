"""When each kind of token goes: mean relative deletion step by category."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from reasoning_anatomy.run.folder import Run
from reports._data import CATEGORY_PREFIX, annotator_of, bootstrap_interval, relative_step, strategies
from reports._style import CATEGORIES, INK, OTHER, category_index, category_name, figure_style, ordered, panels

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLUMNS = (
    "strategy", "annotator", "row", "category", "question_id", "estimate", "ci_low", "ci_high",
    "n_questions", "n_chains", "n_tokens", "n_censored",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class DeletionByCategory:
    """Mean relative deletion step of every token category, with one dot per question.

    The step of a token is divided by the number of reasoning tokens of its chain, averaged within the chain,
    then within the question, then over questions. Tokens that were never deleted have no step: they are
    counted and left out of the mean.

    Attributes
    ----------
    annotator
        Whose categories; the run's first where empty.
    draws, seed
        Of the cluster bootstrap over questions behind the 95 % interval.
    """

    annotator: str = ""
    draws: int = 2000
    seed: int = 0

    def data(self, run: Run) -> pd.DataFrame:
        """Return what is drawn.

        Returns
        -------
        Columns ``strategy, annotator, row, category, question_id, estimate, ci_low, ci_high, n_questions, n_chains,
        n_tokens, n_censored``. ``row`` is ``mean`` (one per category) or ``question`` (one per dot). ``estimate`` is a
        share in 0..1, 0 = first deleted. ``n_tokens`` counts all tokens, ``n_censored`` those never deleted.
        """
        tokens = run.tokens()
        annotator = annotator_of(run, tokens, self.annotator)
        rows: list[dict[str, Any]] = []
        for strategy in strategies(run, tokens):
            frame = pd.DataFrame(
                {
                    "question_id": tokens["question_id"],
                    "chain_id": tokens["chain_id"],
                    "category": tokens[CATEGORY_PREFIX + annotator],
                    "step": relative_step(tokens, strategy),
                }
            )
            for category in ordered(frame["category"].dropna().unique().tolist()):
                about = {"strategy": strategy, "annotator": annotator, "category": category}
                rows += [about | row for row in self._rows(frame[frame["category"] == category])]
        return pd.DataFrame(rows, columns=list(COLUMNS))

    def draw(self, run: Run) -> "Figure":
        """Draw one panel per strategy."""
        data = self.data(run)
        shown = list(dict.fromkeys(data["strategy"]))
        categories = ordered(data["category"].unique().tolist())
        with figure_style():
            figure, axes = panels(len(shown), height=0.9 + 0.36 * len(categories))
            for axis, strategy in zip(axes, shown, strict=True):
                _draw_panel(axis, data[data["strategy"] == strategy], categories)
                if len(shown) > 1:
                    axis.set_title(strategy)
            figure.supxlabel("relative deletion step (0 = first deleted, 1 = last)", fontsize=9)
        return figure

    def _rows(self, frame: pd.DataFrame) -> list[dict[str, Any]]:
        """Rows of one category under one strategy: its mean, then its questions."""
        deleted = frame.dropna(subset="step")
        chain_means = deleted.groupby(["question_id", "chain_id"], sort=False)["step"].mean()
        questions = chain_means.groupby("question_id", sort=False)
        means = questions.mean()
        low, high = bootstrap_interval(means.to_numpy(), draws=self.draws, seed=self.seed)
        mean = {
            "row": "mean",
            "estimate": float(means.mean()) if len(means) else np.nan,
            "ci_low": low,
            "ci_high": high,
            "n_questions": len(means),
            "n_chains": len(chain_means),
            "n_tokens": len(frame),
            "n_censored": len(frame) - len(deleted),
        }
        dots = [
            {"row": "question", "question_id": question, "estimate": estimate, "n_chains": size}
            for question, estimate, size in zip(means.index, means, questions.size(), strict=True)
        ]
        return [mean, *dots]


def _draw_panel(axis: "Axes", data: pd.DataFrame, categories: list[str]) -> None:
    for place, category in enumerate(categories):
        rows = data[data["category"] == category]
        index = category_index(category)
        colour = (CATEGORIES[index] if index is not None and index < len(CATEGORIES) else OTHER).line
        dots = rows.loc[rows["row"] == "question", "estimate"].to_numpy(dtype=float)
        spread = (np.arange(len(dots)) % 5 - 2) * 0.05
        axis.scatter(dots, place + 0.16 + spread, s=9, color=colour, alpha=0.45, linewidths=0)
        mean = rows[rows["row"] == "mean"]
        axis.hlines(place - 0.18, mean["ci_low"], mean["ci_high"], color=INK, linewidth=1.4)
        axis.scatter(mean["estimate"], [place - 0.18] * len(mean), s=26, color=colour, edgecolor=INK, linewidths=0.8, zorder=3)
    axis.set_yticks(range(len(categories)), [category_name(category) for category in categories])
    axis.set_ylim(len(categories) - 0.45, -0.6)
    axis.set_xlim(-0.02, 1.02)
    axis.tick_params(axis="y", length=0)
    axis.spines["left"].set_visible(False)
    axis.grid(axis="x")
