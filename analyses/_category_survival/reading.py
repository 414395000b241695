"""The tokens of a run, chain by chain: when each was deleted, of what kind it is, how surprising it is."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from analyses._exclusions import MIN_TOKENS
from analyses._statistics.position import BoolArray
from reasoning_anatomy.categories import CATEGORIES
from reasoning_anatomy.run.folder import Run
from reasoning_anatomy.types import FloatArray, IntArray, PruningPath


@dataclass(frozen=True, eq=False)
class ChainTokens:
    """The reasoning tokens of one chain, in the order of position.

    Attributes
    ----------
    chain_id, question_id
        Of the chain.
    step
        (n,) deletion step, 1 = first; tokens that are deleted together share it; NaN = never deleted.
    category
        (n,) number of the category among the `CATEGORIES`; -1 = none of them.
    surprisal
        (n,) in nats; None if the chain has none that can be used.
    """

    chain_id: str
    question_id: str
    step: FloatArray
    category: IntArray
    surprisal: FloatArray | None = None

    @property
    def end(self) -> float:
        """Share of the tokens that are deleted at the last deletion."""
        return float(np.nanmax(self.step) / len(self.step))

    @property
    def member(self) -> BoolArray:
        """(n, 6) whether a token is of each category."""
        return np.asarray(self.category[:, None] == np.arange(len(CATEGORIES)))


@dataclass(frozen=True, eq=False)
class Reading:
    """The chains that can be used, and why the others cannot.

    Attributes
    ----------
    chains
        By the labels of one annotator, under one strategy.
    exclusions
        Units left out, by reason.
    horizon
        Share of a chain's tokens up to whose deletion all chains are followed: tau.
    """

    chains: tuple[ChainTokens, ...]
    exclusions: Mapping[str, int]
    horizon: float

    @property
    def question_ids(self) -> tuple[str, ...]:
        """Question of every chain."""
        return tuple(chain.question_id for chain in self.chains)


def whole_units(run: Run, tokens: pd.DataFrame, strategy: str) -> pd.DataFrame:
    """Let tokens that a strategy deletes together, such as those of a step, share a deletion step: that of the last of them."""
    column = f"deletion_step_{strategy}"
    if column not in tokens:
        return tokens
    chain_ids = list(dict.fromkeys(tokens["chain_id"]))
    first = next((path for chain_id in chain_ids if (path := run.path(chain_id, strategy)) is not None), None)
    if first is None or first.unit is None:
        return tokens
    steps = {chain_id: steps_of(path) for chain_id in chain_ids if (path := run.path(chain_id, strategy)) is not None}
    found = tokens[column].astype("float64").to_numpy(copy=True)
    for chain_id, rows in tokens.groupby("chain_id", sort=False).indices.items():
        if str(chain_id) in steps:
            found[rows] = steps[str(chain_id)][tokens["position"].to_numpy()[rows]]
    return tokens.assign(**{column: found})


def steps_of(path: PruningPath) -> FloatArray:
    """(n,) deletion step of every token, NaN = never deleted; tokens of one unit share that of the last of them."""
    if path.unit is None:
        return path.deletion_step
    steps = np.full(path.n_reasoning, np.nan)
    steps[path.deleted] = np.bincount(path.unit).cumsum()[path.unit] if len(path.unit) else 0
    return steps


def read(
    tokens: pd.DataFrame, *, annotator: str, strategy: str, surprisal: str | None = None, horizon: float | None = None
) -> Reading:
    """Read the chains from the table of tokens.

    Parameters
    ----------
    tokens
        Of `Run.tokens`, with `whole_units`.
    annotator, strategy
        Whose categories, and whose deletions.
    surprisal
        Label of the scorer that is read as surprisal, if it is.
    horizon
        To be reached by the deletions of a chain; None takes what all chains reach.
    """
    if f"deletion_step_{strategy}" not in tokens:
        return Reading((), {"strategy_not_measured": tokens["chain_id"].nunique()}, float("nan"))
    exclusions: Counter[str] = Counter()
    chains: list[ChainTokens] = []
    for chain in _chains(tokens, annotator, strategy, surprisal):
        if reason := _unusable(chain, horizon):
            exclusions[reason] += 1
            continue
        chains.append(chain)
        exclusions["tokens_without_category"] += int((chain.category < 0).sum())
        exclusions["no_surprisal"] += int(surprisal is not None and chain.surprisal is None)
    end = min((chain.end for chain in chains), default=float("nan")) if horizon is None else horizon
    return Reading(tuple(chains), {reason: count for reason, count in sorted(exclusions.items()) if count}, end)


def _chains(tokens: pd.DataFrame, annotator: str, strategy: str, surprisal: str | None) -> Iterator[ChainTokens]:
    number, chain_ids = pd.factorize(tokens["chain_id"])
    order = np.lexsort((tokens["position"].to_numpy(), number))
    steps = tokens[f"deletion_step_{strategy}"].to_numpy(dtype=np.float64, na_value=np.nan)[order]
    category = pd.Categorical(tokens[f"category_{annotator}"], categories=CATEGORIES).codes.astype(np.int64)[order]
    scores = None if surprisal is None else tokens[f"score_{surprisal}"].to_numpy(dtype=np.float64, na_value=np.nan)[order]
    questions = tokens["question_id"].to_numpy()[order]
    begins = np.searchsorted(number[order], np.arange(len(chain_ids)))
    for chain_id, begin, end in zip(chain_ids, begins, [*begins[1:], len(order)], strict=True):
        rows = slice(begin, end)
        known = scores is not None and bool(np.isfinite(scores[rows]).all())
        yield ChainTokens(
            chain_id=str(chain_id),
            question_id=str(questions[begin]),
            step=steps[rows],
            category=category[rows],
            surprisal=scores[rows] if scores is not None and known else None,
        )


def _unusable(chain: ChainTokens, horizon: float | None) -> str | None:
    """Return the reason why a chain says nothing; None if it can be used."""
    if len(chain.step) < MIN_TOKENS:
        return f"fewer_than_{MIN_TOKENS}_tokens"
    if np.isnan(chain.step).all():
        return "no_deletion"
    if (chain.category < 0).all():
        return "not_annotated"
    if horizon is not None and chain.end < horizon - 1e-12:
        return "deletions_end_before_the_horizon"
    return None
