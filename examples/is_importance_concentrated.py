"""Do a few tokens carry the answer, or all of them a little?

    python examples/is_importance_concentrated.py RUN curves.png

RUN has several strategies:
`reasoning-anatomy run CHAINS --strategies greedy greedy:most_important_first=true random_tokens --out RUN`.
"""

# %% Open the run.
import sys
from pathlib import Path

from analyses.strategy_comparison import StrategyComparison
from reasoning_anatomy import open_run
from reports import figure

run_folder, picture = map(Path, sys.argv[1:])
run = open_run(run_folder)

# %% If importance is spread evenly, it matters little in which order tokens go. If it is concentrated, the least important ones
# go at no cost, the most important ones at a large one, and random ones lie between.
result = StrategyComparison().analyse(run)
print(result.finding)

# %% How much the answer has lost, in nats per token, when so much of the reasoning is left.
curves = run.paths()
n_tokens = run.tokens().groupby("chain_id").size()
curves["kept"] = 1 - curves["deletion_step"] / curves["chain_id"].map(n_tokens)
whole = curves[curves["deletion_step"] == 0].set_index(["chain_id", "strategy"])["nll_answer"]
curves = curves.join(whole.rename("nll_whole"), on=["chain_id", "strategy"]).dropna(subset="nll_answer")
curves["rise"] = curves["nll_answer"] - curves["nll_whole"]
for ratio in (0.9, 0.7, 0.5):
    at_ratio = curves[curves["kept"] >= ratio].groupby(["strategy", "chain_id"]).last().groupby("strategy")["rise"].mean()
    print(f"{ratio:.0%} kept: " + ", ".join(f"{strategy} {rise:+.2f}" for strategy, rise in at_ratio.items()))

# %% Bands are intervals over questions.
figure("strategy_curves", result).savefig(picture)
