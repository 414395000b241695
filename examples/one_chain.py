"""What happens in one chain, token by token?

python examples/one_chain.py RUN chain.png

RUN is a folder that `reasoning-anatomy run` made with the strategy `greedy`.
"""

# %% Open the run, and take its first chain; in a notebook, a chain and a run show themselves.
import sys
from pathlib import Path

from reasoning_anatomy import open_run
from reports import figure

run_folder, picture = map(Path, sys.argv[1:])
run = open_run(run_folder)
chain_id = run.measured[0]
print(run.chains[chain_id].question)

# %% One row per token: what it is, how much attention it receives, when it goes.
tokens = run.tokens(chains=[chain_id])
print(tokens[["position", "text", "score_answer_attention", "deletion_step_greedy"]].head(12).to_string(index=False))

# %% What is left when half is deleted, and how likely the answer is then.
half = len(tokens) // 2
is_left = tokens["deletion_step_greedy"].isna() | (tokens["deletion_step_greedy"] > half)
path = run.path(chain_id, "greedy")
print(f"After {half} deletions: {' '.join(tokens.loc[is_left, 'text'].str.strip())}")
print(f"The nll of the answer goes from {path.nll_answer[0]:.2f} to {path.nll_answer[half]:.2f} nats per token.")

# %% The chain as a picture: the brighter, the later a token is deleted.
figure("token_strip", run, chain=chain_id, colour="step").savefig(picture)
