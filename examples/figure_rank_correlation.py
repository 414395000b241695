"""A figure for a paper: how well attention predicts importance, chain by chain.

    python examples/figure_rank_correlation.py RUN figure.pdf

Every dot is a chain; the diamond is the mean over questions with its interval.
"""

import sys

import matplotlib.pyplot as plt

from analyses.rank_correlation import RankCorrelation
from reasoning_anatomy import open_run

run_folder, figure_path = sys.argv[1:]
result = RankCorrelation(scorer="answer_attention", strategy="greedy", competitors=False).analyse(open_run(run_folder))

figure, axes = plt.subplots(figsize=(6, 3), layout="constrained")
for row, mean in result.table.iterrows():
    chains = result.details["per_chain"][mean["term"]]
    axes.plot(chains, [row] * len(chains), "o", color="tab:blue", alpha=0.3, markersize=4)
    axes.hlines(row, mean["ci_low"], mean["ci_high"], color="black")
    axes.plot(mean["estimate"], row, "D", color="black", markersize=5)
axes.axvline(0, color="grey", linewidth=0.8, zorder=0)
axes.set_yticks(result.table.index, result.table["term"].str.replace("_", " "))
axes.set_xlabel("rank correlation of attention with deletion step")
axes.set_ylim(len(result.table) - 0.5, -0.5)
figure.savefig(figure_path, metadata={"CreationDate": None})
