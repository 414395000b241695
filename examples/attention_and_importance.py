"""Does attention know which tokens matter?

    python examples/attention_and_importance.py RUN heads.png

RUN is a folder that `reasoning-anatomy run` made.
"""

# %% Open the run, and name what to draw.
import sys
from pathlib import Path

from analyses.rank_correlation import RankCorrelation
from reasoning_anatomy import open_run
from reports import figure

run_folder, picture = map(Path, sys.argv[1:])
run = open_run(run_folder)

# %% Greedy pruning deletes what the answer needs least. If attention knows, tokens that receive more of it go later: the rank
# correlation is positive. Tokens near the answer receive more attention and may go later for that reason alone, so
# look at what is left with position held constant as well.
result = RankCorrelation(scorer="answer_attention", strategy="greedy", competitors=False).analyse(run)
print(result.finding)

# %% The rows behind the sentence. Intervals are over questions: few questions make them wide.
rows = result.table.set_index("term").loc[["spearman", "spearman_given_position"]]
print(rows[["estimate", "ci_low", "ci_high", "n_questions"]].round(2))

# %% The same for every attention head. The best of many heads looks better than it is; `python -m analyses.best_head RUN` says
# how much.
figure("head_map", result).savefig(picture)
