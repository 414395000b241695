"""When the tokens of each kind were deleted, chain by chain."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.stats import rankdata

from analyses._exclusions import MIN_TOKENS
from analyses._schemes import SCHEMES, Scheme
from analyses._statistics.position import BoolArray, contrasts_given_position, contrasts_of_means
from reasoning_anatomy.categories import CATEGORIES
from reasoning_anatomy.types import FloatArray, IntArray


@dataclass(frozen=True, eq=False)
class ChainSteps:
    """The terms of one chain under one strategy, by the labels of one annotator.

    Attributes
    ----------
    chain_id, question_id
        Of the chain.
    by_scheme
        (2, terms) values, as they are and given position; NaN = the chain has no value.
    n_tokens
        By scheme: (terms,) tokens of the groups in every term.
    n_of_category, n_censored
        (6,) tokens of every category, and those of them that were never deleted.
    """

    chain_id: str
    question_id: str
    by_scheme: Mapping[str, FloatArray]
    n_tokens: Mapping[str, IntArray]
    n_of_category: IntArray
    n_censored: IntArray


@dataclass(frozen=True, eq=False)
class Evidence:
    """What every usable chain says, and why the others say nothing."""

    chains: tuple[ChainSteps, ...]
    exclusions: Mapping[str, int]


def gather(tokens: pd.DataFrame, *, annotator: str, strategy: str) -> Evidence:
    """Read when the tokens of each kind were deleted from the table of tokens."""
    if f"deletion_step_{strategy}" not in tokens:
        return Evidence((), {"strategy_not_measured": tokens["chain_id"].nunique()})
    exclusions: Counter[str] = Counter()
    chains = []
    for chain_id, rows in tokens.groupby("chain_id", sort=False):
        ordered = rows.sort_values("position")
        categories = ordered[f"category_{annotator}"]
        found = _read_chain(
            np.asarray(ordered[f"deletion_step_{strategy}"].astype("Float64").to_numpy(na_value=np.nan), dtype=np.float64),
            np.stack([(categories == category).to_numpy(dtype=bool) for category in CATEGORIES], axis=1),
            chain_id=str(chain_id),
            question_id=str(ordered["question_id"].iloc[0]),
        )
        if isinstance(found, str):
            exclusions[found] += 1
            continue
        chains.append(found)
        exclusions["tokens_without_category"] += len(ordered) - int(found.n_of_category.sum())
        raw, given_position = found.by_scheme["categories"][:, : len(CATEGORIES)]
        exclusions["no_value_given_position"] += int((np.isnan(given_position) & ~np.isnan(raw)).sum())
    return Evidence(tuple(chains), {reason: count for reason, count in sorted(exclusions.items()) if count})


def relative_step(deletion_step: FloatArray) -> FloatArray:
    """Divide the rank of every token in the order of deletion by their number. (n,) -> (n,) in 0..1, 0 = first deleted.

    Tokens that were never deleted (NaN) outlived every deletion, and nothing is known of the order among them: they share the
    average of the ranks that are left. The mean over a chain is (n + 1) / 2n however much of it was deleted.
    """
    n = len(deletion_step)
    return np.asarray(rankdata(np.where(np.isnan(deletion_step), n + 1, deletion_step)) / n, dtype=np.float64)


def chain_values(outcome: FloatArray, member: BoolArray, scheme: Scheme) -> FloatArray:
    """Compare the groups of a scheme within one chain.

    Parameters
    ----------
    outcome
        (n,) in the order of position.
    member
        (n, 6) whether a token is of each category.
    scheme
        Whose terms.

    Returns
    -------
    (2, terms), as they are and given position.
    """
    in_group = member @ (scheme.group_of_category[:, None] == np.arange(len(scheme.groups)))
    contrasts = scheme.contrasts
    return np.stack([compare(outcome, in_group, contrasts) for compare in (contrasts_of_means, contrasts_given_position)])


def _read_chain(deletion_step: FloatArray, member: BoolArray, *, chain_id: str, question_id: str) -> ChainSteps | str:
    """Return the values of a chain, or the reason why it has none."""
    if len(deletion_step) < MIN_TOKENS:
        return f"fewer_than_{MIN_TOKENS}_tokens"
    is_censored = np.isnan(deletion_step)
    if is_censored.all():
        return "no_deletion"
    if not member.any():
        return "not_annotated"
    outcome = relative_step(deletion_step)
    sizes = member.sum(axis=0)
    return ChainSteps(
        chain_id=chain_id,
        question_id=question_id,
        by_scheme={scheme.name: chain_values(outcome, member, scheme) for scheme in SCHEMES},
        n_tokens={scheme.name: _sizes(sizes, scheme) for scheme in SCHEMES},
        n_of_category=sizes,
        n_censored=member[is_censored].sum(axis=0),
    )


def _sizes(n_of_category: IntArray, scheme: Scheme) -> IntArray:
    """(terms,) tokens of the groups in every term."""
    in_group = np.zeros(len(scheme.groups), dtype=np.int64)
    np.add.at(in_group, scheme.group_of_category, n_of_category)
    return np.asarray((scheme.contrasts != 0) @ in_group)
