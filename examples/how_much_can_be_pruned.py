"""How much of the reasoning can go before answers get worse?

    python examples/how_much_can_be_pruned.py RUN thresholds.png

RUN has been swept: `reasoning-anatomy sweep RUN --thresholds 0 .2 .4 .6` prunes every chain so far, and lets the model answer
again from what is left.
"""

# %% Open the run.
import sys
from pathlib import Path

from analyses.threshold_comparison import ThresholdComparison
from reasoning_anatomy import open_run
from reports import figure

run_folder, picture = map(Path, sys.argv[1:])
run = open_run(run_folder)

# %% Every threshold against no pruning, question by question. "Undecided" is not "no difference": there may
# be too few questions. With ThresholdComparison(margin=0.05) a threshold can be shown to be worse by no more than that.
result = ThresholdComparison().analyse(run)
print(result.finding)

# %% What was asked for and what came of it. A strategy that deletes whole steps does not hit every ratio.
answers = run.evaluations()
answers["is_correct"] = answers["verdict"] == "correct"
columns = ["achieved_ratio", "tokens_after", "tokens_generated", "is_correct"]
print(answers.groupby(["strategy", "reading", "threshold"])[columns].mean().round(2).to_string())

# %% Up and to the left is better: more answers right, fewer tokens.
figure("threshold_frontier", result).savefig(picture)
