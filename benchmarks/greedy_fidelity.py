"""How far approximate greedy paths are from the exact one, and how much work they save.

For each chain: Kendall's tau of the two orders, Jaccard index of the tokens kept at three keep ratios, and the distance
between the curves of the answer's nll (mean absolute difference over all deletions, divided by the mean of the exact curve).
Two rows put such numbers in proportion: random tokens, which are not searched for at all, and the exact search with the model
in another dtype, which shows how far rounding alone moves the order.
"""

import dataclasses
from dataclasses import dataclass

import numpy as np
import pandas as pd
import tyro
from scipy.stats import kendalltau

from benchmarks._models import Dtype, example_chains, model_of
from reasoning_anatomy import plugins
from reasoning_anatomy.models.encoding import ChainEncoder
from reasoning_anatomy.models.loading import LoadedModel
from reasoning_anatomy.pruning import CurveOptions, PruningJob, Strategy, follow
from reasoning_anatomy.pruning.greedy import Greedy
from reasoning_anatomy.types import EncodedChain, FloatArray, PruningPath

_KEEP_RATIOS = (0.7, 0.5, 0.3)


@dataclass(frozen=True)
class Options:
    """Approximate greedy pruning against exact."""

    chains: tuple[str, ...] = ("word-002-s1-short", "word-059-s0-short", "word-016-s0-short")
    """Chain_ids of the shipped chains to prune."""
    strategies: tuple[str, ...] = ("greedy_rounds", "random_tokens")
    """Strategies, with options, to compare with exact greedy pruning by the answer's nll."""
    dtype: Dtype = "float32"
    """Of SmolLM2."""
    other_dtype: Dtype | None = "bfloat16"
    """Of SmolLM2 in one more exact search, whose order is then followed in ``dtype``; None = leave it out."""
    device: str = "auto"
    """Of SmolLM2."""


@dataclass(frozen=True)
class InOtherDtype(CurveOptions):
    """The exact order of the model in another dtype, with the curve that this order has in the model's own."""

    other: LoadedModel
    curve_points: int = 0
    token_budget: int | None = None

    def prune(self, chain: EncodedChain, *, loaded: LoadedModel, job: PruningJob | None = None) -> PruningPath:
        """Search with the other model, follow with ``loaded``."""
        exact = Greedy().prune(chain, loaded=self.other)
        followed = follow(self, exact.deleted, chain, loaded=loaded, job=job)
        return dataclasses.replace(followed, token_forwards=exact.token_forwards)


def fidelity(path: PruningPath, exact: PruningPath) -> dict[str, float]:
    """Agreement of a complete path with the exact one."""
    distance = np.abs(path.nll_answer - exact.nll_answer).mean()
    return {
        "kendall": float(kendalltau(path.deletion_step, exact.deletion_step).statistic),
        **{f"jaccard_{ratio}": _jaccard(path.deletion_step, exact.deletion_step, ratio) for ratio in _KEEP_RATIOS},
        "curve_gap": float(distance / exact.nll_answer.mean()),
        "curve_bias": float((path.nll_answer - exact.nll_answer).mean() / exact.nll_answer.mean()),
        "times_fewer": exact.token_forwards / path.token_forwards,
    }


def _jaccard(steps: FloatArray, exact: FloatArray, keep_ratio: float) -> float:
    n_deleted = len(steps) - int(len(steps) * keep_ratio)
    kept, kept_by_exact = steps > n_deleted, exact > n_deleted
    return float((kept & kept_by_exact).sum() / (kept | kept_by_exact).sum())


def main() -> None:
    """Run the benchmark."""
    options = tyro.cli(Options, prog="python -m benchmarks.greedy_fidelity", description=__doc__)
    loaded = model_of("smollm2-135m", dtype=options.dtype, device=options.device)
    strategies: dict[str, Strategy] = {spec: plugins.load("strategy", spec) for spec in options.strategies}
    if options.other_dtype is not None:
        other = model_of("smollm2-135m", dtype=options.other_dtype, device=options.device)
        strategies[f"greedy in {options.other_dtype}"] = InOtherDtype(other)
    encoder = ChainEncoder(loaded.tokenizer)
    by_id = {chain.chain_id: chain for chain in example_chains()}
    rows = []
    for chain_id in options.chains:
        chain = encoder.encode(by_id[chain_id])
        exact = Greedy().prune(chain, loaded=loaded)
        for name, strategy in strategies.items():
            agreement = fidelity(strategy.prune(chain, loaded=loaded), exact)
            rows.append({"strategy": name, "chain": chain_id, "n": chain.n_reasoning, **agreement})
            print(
                pd.DataFrame(rows[-1:]).to_string(index=False, header=len(rows) == 1, float_format="{:.3f}".format), flush=True
            )
    means = pd.DataFrame(rows).groupby("strategy", sort=False).mean(numeric_only=True)
    print("\nmean over chains\n" + means.to_string(float_format="{:.3f}".format))


if __name__ == "__main__":
    main()
