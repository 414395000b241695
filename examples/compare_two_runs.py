"""Do two runs on the same chains differ: two models, two strategies, two annotators?

    python examples/compare_two_runs.py RUN OTHER_RUN differences.png

`reasoning-anatomy report RUN OTHER_RUN` makes a page of it.
"""

# %% Open both.
import sys
from pathlib import Path

import matplotlib.pyplot as plt

from analyses.compare import RunComparison
from reasoning_anatomy import open_run

first_folder, second_folder, picture = map(Path, sys.argv[1:])
runs = [open_run(first_folder), open_run(second_folder)]

# %% Differences are taken chain by chain, and their intervals are over questions.
result = RunComparison().compare(runs)
print(result.finding)

# %% The differences that are clearest.
shown = result.table.sort_values("p_value").head(12)
print(shown.round(3).to_string(index=False))

# %% A figure of your own: a line for each.
drawing, axes = plt.subplots(figsize=(9, 1 + 0.3 * len(shown)), layout="constrained")
below, above = shown["estimate"] - shown["ci_low"], shown["ci_high"] - shown["estimate"]
axes.errorbar(shown["estimate"], range(len(shown)), xerr=[below, above], fmt="o")
axes.axvline(0, color="grey", linewidth=0.8)
axes.set_yticks(range(len(shown)), shown["term"])
axes.invert_yaxis()
axes.set_xlabel("second run less first run")
drawing.savefig(picture)
