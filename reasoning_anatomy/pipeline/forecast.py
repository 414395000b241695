"""Says how long exact paths and candidate deletions will take, before they begin."""

import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Final

import numpy as np

from reasoning_anatomy.errors import MeasurementError
from reasoning_anatomy.likelihood.opening import open_likelihood
from reasoning_anatomy.models.capabilities import shares_prefixes
from reasoning_anatomy.models.loading import LoadedModel
from reasoning_anatomy.models.memory import naming_chain
from reasoning_anatomy.pipeline.plan import Plan
from reasoning_anatomy.progress import Stages, duration
from reasoning_anatomy.pruning import ForeseesCost
from reasoning_anatomy.run.writer import Missing
from reasoning_anatomy.types import EncodedChain

_LONG: Final = 600.0  # seconds
_FEW_TOKENS: Final = 30_000  # no device that runs a model at all needs ten minutes for them
_SHORTER_PATHS: Final = (
    "--strategies greedy_rounds is an approximation that takes about a fifth; greedy:keep_ratio=0.5 stops half-way; "
    "docs/pruning.md has more."
)
_FEWER_STAGES: Final = "Fewer keep_ratios take less."


def say_if_long(
    plan: Plan, encoded: Mapping[str, EncodedChain], missing: Mapping[str, Missing], *, loaded: LoadedModel, stages: Stages
) -> None:
    """Say how long all whose cost is known will take, and what to do about it, if that is more than ten minutes.

    The speed of the device is measured on one pass of candidates of the longest of these chains.

    Parameters
    ----------
    plan, encoded, missing
        What chains lack, by chain_id.
    loaded
        The model.
    stages
        Shows the sentence.
    """
    cost = {chain_id: _token_forwards(plan, encoded[chain_id], lacking, loaded) for chain_id, lacking in missing.items()}
    n_tokens, n_chains = sum(cost.values()), sum(map(bool, cost.values()))
    if n_tokens <= _FEW_TOKENS:
        return
    longest = encoded[max(cost, key=lambda chain_id: cost[chain_id])]
    with suppress(MeasurementError), naming_chain(longest.chain_id):
        rate = tokens_per_second(loaded, longest)
        if n_tokens / rate > _LONG:
            has_paths = any(lacking.strategies for lacking in missing.values())
            stages.say(
                f"The {'exact paths' if has_paths else 'candidate deletions'} of {n_chains} chains take up to "
                f"{duration(n_tokens / rate)} on this {loaded.device.type}: {n_tokens:,} tokens at {rate:,.0f} per second. "
                "You can stop the command; started again, it resumes. The same command in a second process, here or on another "
                f"machine, shares the work. {_SHORTER_PATHS if has_paths else _FEWER_STAGES}"
            )


def tokens_per_second(loaded: LoadedModel, chain: EncodedChain) -> float:
    """Tokens per second of candidate deletions of a chain, measured on one pass."""
    likelihood = open_likelihood(loaded, chain, store_gib=0)
    shares = shares_prefixes(loaded, len(chain.ids))
    n_each = np.arange(chain.n_reasoning) + len(chain.answer_ids) if shares else np.full(chain.n_reasoning, len(chain.ids))
    n_candidates = max(1, int(np.searchsorted(np.cumsum(n_each), likelihood.token_budget)))
    before, begin = likelihood.token_forwards, time.perf_counter()
    likelihood.score_deletions(reasoning=False, candidates=np.arange(chain.n_reasoning)[-n_candidates:])
    return (likelihood.token_forwards - before) / (time.perf_counter() - begin)


def _token_forwards(plan: Plan, chain: EncodedChain, missing: Missing, loaded: LoadedModel) -> int:
    plugins = [*(plan.scorers[label] for label in missing.scorers), *(plan.strategies[label] for label in missing.strategies)]
    shares = shares_prefixes(loaded, len(chain.ids))
    return sum(plugin.token_forwards(chain, shares_prefixes=shares) for plugin in plugins if isinstance(plugin, ForeseesCost))
