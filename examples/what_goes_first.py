"""Which kinds of token go first?

    python examples/what_goes_first.py RUN kinds.png

RUN has categories: `reasoning-anatomy annotate RUN` gives them.
"""

# %% Open the run.
import sys
from pathlib import Path

from analyses.deletion_by_category import DeletionByCategory
from reasoning_anatomy import open_run
from reports import figure

run_folder, picture = map(Path, sys.argv[1:])
run = open_run(run_folder)

# %% Where a category stands in the order of deletion: 0 = its tokens go first, 1 = last.
result = DeletionByCategory(strategy="greedy").analyse(run)
print(result.finding)

# %% The words behind it: of each category, the tokens that go first and those that go last, over all chains.
tokens = run.tokens()
annotator = run.annotators[0]
n_deleted = tokens.groupby("chain_id")["deletion_step_greedy"].transform("max")
for category, rows in tokens.groupby(f"category_{annotator}"):
    place = (rows["deletion_step_greedy"] / n_deleted[rows.index]).dropna()
    words = rows.loc[place.sort_values().index, "text"].str.strip()
    print(f"{category}: first {', '.join(words.head(6))} ... last {', '.join(words.tail(6))}")

# %% Filled = as measured, hollow = with position in the chain held constant.
figure("deletion_by_category", result).savefig(picture)
