"""When the tokens of each kind were deleted, chain by chain."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd
from scipy.stats import rankdata

from analyses._exclusions import MIN_TOKENS
from analyses._schemes import SCHEMES, Scheme
from analyses._statistics.position import BoolArray, contrasts_given_position, contrasts_of_means
from reasoning_anatomy.categories import CATEGORIES
from reasoning_anatomy.types import FloatArray, IntArray

_TOKENS_AT_ONCE: Final = 1 << 16


@dataclass(frozen=True, eq=False)
class Evidence:
    """The terms of every usable chain under one strategy, by the labels of one annotator, and why the others say nothing.

    Attributes
    ----------
    chain_ids, question_ids
        Of the usable chains.
    by_scheme
        (chains, 2, terms) values, as they are and given position; NaN = the chain has no value.
    n_of_category, n_censored
        (chains, 6) tokens of every category, and those of them that were never deleted.
    exclusions
        What was left out, by reason.
    """

    chain_ids: tuple[str, ...]
    question_ids: tuple[str, ...]
    by_scheme: Mapping[str, FloatArray]
    n_of_category: IntArray
    n_censored: IntArray
    exclusions: Mapping[str, int]

    def n_tokens(self, scheme: Scheme) -> IntArray:
        """(chains, terms) tokens of the groups in every term."""
        return np.asarray(self.n_of_category @ scheme.is_in_group.astype(np.int64) @ (scheme.contrasts != 0).T)


def gather(tokens: pd.DataFrame, *, annotator: str, strategy: str) -> Evidence:
    """Read when the tokens of each kind were deleted from the table of tokens."""
    number, chain_ids = pd.factorize(tokens["chain_id"])
    order = np.lexsort((tokens["position"], number))
    number = number[order]
    starts = np.flatnonzero(np.diff(number, prepend=-1))
    lengths = np.diff(starts, append=len(tokens))
    step = np.full(len(tokens), np.nan)
    is_measured = f"deletion_step_{strategy}" in tokens
    if is_measured:
        step = tokens[f"deletion_step_{strategy}"].to_numpy(dtype=np.float64, na_value=np.nan)[order]
    category = pd.Index(CATEGORIES).get_indexer(pd.Index(tokens[f"category_{annotator}"]))[order]
    member = category[:, None] == np.arange(len(CATEGORIES))
    n_of_category, n_censored = (
        np.add.reduceat(each, starts, axis=0, dtype=np.int64) for each in (member, member & np.isnan(step)[:, None])
    )
    why_not = np.select(
        [
            np.full(len(starts), not is_measured),
            lengths < MIN_TOKENS,
            np.logical_and.reduceat(np.isnan(step), starts),
            n_of_category.sum(axis=1) == 0,
        ],
        ["strategy_not_measured", f"fewer_than_{MIN_TOKENS}_tokens", "no_deletion", "not_annotated"],
        default="",
    )
    usable = np.flatnonzero(why_not == "")
    by_scheme = _values(step, member, starts[usable], lengths[usable])
    raw, given_position = np.moveaxis(by_scheme["categories"][..., : len(CATEGORIES)], 1, 0)
    exclusions = Counter(why_not[why_not != ""].tolist()) + Counter(
        tokens_without_category=int(lengths[usable].sum() - n_of_category[usable].sum()),
        no_value_given_position=int((np.isnan(given_position) & ~np.isnan(raw)).sum()),
    )
    return Evidence(
        chain_ids=tuple(chain_ids[usable]),
        question_ids=tuple(tokens["question_id"].to_numpy()[order[starts[usable]]]),
        by_scheme=by_scheme,
        n_of_category=n_of_category[usable],
        n_censored=n_censored[usable],
        exclusions=dict(sorted(exclusions.items())),
    )


def relative_step(deletion_step: FloatArray) -> FloatArray:
    """Divide the rank of every token in the order of deletion by their number. (..., n) -> (..., n) in 0..1, 0 = first deleted.

    Tokens that were never deleted (NaN) outlived every deletion, and nothing is known of the order among them: they share the
    average of the ranks that are left. The mean over a chain is (n + 1) / 2n however much of it was deleted.
    """
    n = deletion_step.shape[-1]
    ranks = rankdata(np.where(np.isnan(deletion_step), n + 1, deletion_step), axis=-1)
    return np.asarray(ranks / n, dtype=np.float64)


def chain_values(outcome: FloatArray, member: BoolArray, scheme: Scheme) -> FloatArray:
    """Compare the groups of a scheme within each chain.

    Parameters
    ----------
    outcome
        (..., n) of chains of n tokens, in the order of position.
    member
        (..., n, 6) whether a token is of each category.
    scheme
        Whose terms.

    Returns
    -------
    (..., 2, terms), as they are and given position.
    """
    in_group, contrasts = member @ scheme.is_in_group, scheme.contrasts
    compared = [compare(outcome, in_group, contrasts) for compare in (contrasts_of_means, contrasts_given_position)]
    return np.stack(compared, axis=-2)


def _values(step: FloatArray, member: BoolArray, starts: IntArray, lengths: IntArray) -> dict[str, FloatArray]:
    """Compare within chains that lie one after the other, those of one length at once; by scheme, (chains, 2, terms)."""
    values = {scheme.name: np.empty((len(starts), 2, len(scheme.terms))) for scheme in SCHEMES}
    for n in np.unique(lengths):
        alike = np.flatnonzero(lengths == n)
        at_once = max(1, _TOKENS_AT_ONCE // n)
        for some in (alike[first : first + at_once] for first in range(0, len(alike), at_once)):
            at = starts[some, None] + np.arange(n)
            outcome, members = relative_step(step[at]), member[at]
            for scheme in SCHEMES:
                values[scheme.name][some] = chain_values(outcome, members, scheme)
    return values
