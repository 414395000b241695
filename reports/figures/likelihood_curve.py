"""How the answer fades: likelihood of the answer while reasoning tokens are deleted."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import pandas as pd

from reasoning_anatomy.errors import RunError
from reasoning_anatomy.run.folder import Run
from reports._drawing import Sized, wrapped
from reports._style import ACCENT, MUTED, figure_style

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLUMNS = ("strategy", "curve", "chain_id", "question_id", "fraction_deleted", "nll_answer", "n_chains", "n_questions")
_MANY_LINES = 60


@dataclass(frozen=True, kw_only=True)
class LikelihoodCurve(Sized):
    """Nll of the answer against the fraction of reasoning tokens deleted: mean and one thin line per chain.

    Every chain is read at the same fractions (linearly between the deletions after which its likelihood was evaluated).
    The mean is taken within the question, then over questions, and only as far as every chain was pruned, so that the
    same chains stand behind each of its points. It is a plain mean: no interval is computed and nothing is tested.

    Attributes
    ----------
    points
        Number of fractions at which curves are read.
    """

    title: ClassVar[str] = "How long does the answer survive?"
    caption: ClassVar[str] = (
        "Blue: mean over questions, as far as every chain was pruned. Grey: one line per chain. Lower = the model still "
        "expects the answer. The curves describe these chains: the mean has no interval, and no difference between "
        "strategies is tested."
    )
    section: ClassVar[str] = "likelihood"
    analysis: ClassVar[str | None] = None

    points: int = 101

    def data(self, source: Run) -> pd.DataFrame:
        """Return what is drawn.

        Returns
        -------
        Columns ``strategy, curve, chain_id, question_id, fraction_deleted, nll_answer, n_chains, n_questions``.
        ``curve`` is ``mean`` or ``chain``; ``nll_answer`` in nats per token, lower = better answer.
        """
        paths, length = source.paths(), source.tokens(columns=["chain_id"]).groupby("chain_id").size()
        if "strategy" not in paths or paths["nll_answer"].isna().all():
            raise RunError(
                f"{source.folder}: has no pruning path; measure the chains with a pruning strategy: "
                "reasoning-anatomy run CHAINS.jsonl --out ANOTHER_RUN"
            )
        frames = []
        for strategy, rows in paths.dropna(subset="nll_answer").groupby("strategy", sort=False):
            chains = pd.concat([self._chain(chain, length) for _, chain in rows.groupby("chain_id", sort=False)])
            frames.append(pd.concat([_mean(chains), chains]).assign(strategy=strategy))
        return pd.concat(frames, ignore_index=True)[list(COLUMNS)]

    def draw(self, source: Run) -> "Figure":
        """Draw one panel per strategy."""
        data = self.data(source)
        strategies = list(dict.fromkeys(data["strategy"]))
        with figure_style():
            figure, axes = self.panels(len(strategies), height=2.7 if len(strategies) == 1 else 1.9)
            for axis, strategy in zip(axes, strategies, strict=True):
                rows = data[data["strategy"] == strategy]
                chains = rows[rows["curve"] == "chain"].groupby("chain_id", sort=False)
                for _, chain in chains:
                    axis.plot(
                        chain["fraction_deleted"], chain["nll_answer"],
                        color=MUTED, alpha=0.35, linewidth=0.7, rasterized=len(chains) > _MANY_LINES,
                    )  # fmt: skip
                mean = rows[rows["curve"] == "mean"]
                axis.plot(mean["fraction_deleted"], mean["nll_answer"], color=ACCENT, linewidth=1.8)
                if len(strategies) > 1:
                    axis.set_title(wrapped(strategy, 40))
                axis.set_xlim(0, 1)
                axis.grid(axis="y")
            figure.supxlabel("fraction of reasoning tokens deleted")
            figure.supylabel("nll of the answer\n(nats per token; lower = better supported)")
        return figure

    def _chain(self, rows: pd.DataFrame, length: "pd.Series[int]") -> pd.DataFrame:
        """One chain's curve, read at the common fractions that it reaches; ``rows`` are those evaluated."""
        rows = rows.sort_values("deletion_step")
        fraction = rows["deletion_step"].to_numpy(dtype=float) / length[rows["chain_id"].iloc[0]]
        grid = np.linspace(0, 1, self.points)
        grid = grid[grid <= fraction[-1] + 1e-9]
        about = rows[["chain_id", "question_id"]].iloc[0].to_dict()
        nll = np.interp(grid, fraction, rows["nll_answer"].to_numpy(dtype=float))
        return pd.DataFrame({"curve": "chain", "fraction_deleted": grid, "nll_answer": nll, **about})


def _mean(chains: pd.DataFrame) -> pd.DataFrame:
    """Mean over the questions' means, as far as every chain goes."""
    by_question = chains.groupby(["fraction_deleted", "question_id"])["nll_answer"].mean()
    mean = by_question.groupby("fraction_deleted").mean().to_frame("nll_answer")
    n_chains = chains.groupby("fraction_deleted")["chain_id"].nunique()
    mean["n_chains"] = n_chains
    mean["n_questions"] = by_question.groupby("fraction_deleted").size()
    return mean[mean["n_chains"] == n_chains.max()].reset_index().assign(curve="mean")
