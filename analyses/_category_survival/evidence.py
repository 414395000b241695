"""How long the tokens of each kind are left, chain by chain."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from analyses._category_survival.reading import ChainTokens, Reading
from analyses._schemes import ENDINGS, GIVEN_POSITION, SCHEMES, Scheme
from analyses._statistics.cox import Deletions, deletions_of
from analyses._statistics.position import BoolArray, adjusted_contrasts, position_terms, rank_terms, raw_contrasts
from analyses._statistics.questions import question_index
from analyses._statistics.survival import kept_at_ratios, relative_times, restricted_times, shares_left
from reasoning_anatomy.types import FloatArray, IntArray

ALL_ENDINGS: Final = (*ENDINGS, f"{GIVEN_POSITION} and surprisal")
"""Of the names of each term: as it is, given position, given position and surprisal."""

TIMES: Final = np.arange(1, 21) / 20
"""Of the curves, as a share of the tokens of a chain that are deleted."""

_TOKENS_AT_ONCE: Final = 1 << 15


@dataclass(frozen=True, eq=False)
class Evidence:
    """What the chains say about the groups of one scheme; NaN = a chain has no value.

    Attributes
    ----------
    scheme
        Of the groups.
    restricted
        (chains, 3, terms) restricted mean survival time, and its differences, as `ALL_ENDINGS` say.
    n_tokens
        (chains, terms) tokens behind each term.
    curves
        (chains, groups, times) share that is left after each of the `times`.
    times
        Of the curves: those of `TIMES` that all chains reach, and the horizon.
    excess
        (chains, 2, ratios, groups) share of a group that is kept at a keep ratio less the share of all tokens that is, as it is
        and given position.
    achieved
        (chains, ratios) share of all tokens that is kept.
    """

    scheme: Scheme
    restricted: FloatArray
    n_tokens: IntArray
    curves: FloatArray
    times: FloatArray
    excess: FloatArray
    achieved: FloatArray


def evidence_of(reading: Reading, *, keep_ratios: Sequence[float]) -> Mapping[str, Evidence]:
    """Compute the values of every chain; by scheme."""
    ratios = np.array(keep_ratios, dtype=np.float64)
    times = np.append(TIMES[reading.horizon - TIMES > 1e-9], reading.horizon)
    outcomes = [_outcomes(chain, reading.horizon, ratios) for chain in reading.chains]
    return {scheme.name: _evidence(reading, scheme, outcomes, times, ratios) for scheme in SCHEMES}


def without_value(evidence: Mapping[str, Evidence], *, has_surprisal: bool) -> dict[str, int]:
    """Count the pairs of a chain and a category that have a value as they are, but none with something held constant."""
    of_categories = evidence["categories"]
    raw, given, both = np.moveaxis(of_categories.restricted[:, :, : len(of_categories.scheme.groups)], 1, 0)
    counts = {"no_value_given_position": int((np.isnan(given) & ~np.isnan(raw)).sum())}
    if has_surprisal:
        counts["no_value_given_position_and_surprisal"] = int((np.isnan(both) & ~np.isnan(raw)).sum())
    return {reason: count for reason, count in counts.items() if count}


def in_groups(member: BoolArray, scheme: Scheme) -> BoolArray:
    """(n, 6) categories to (n, groups)."""
    return np.asarray(member @ (scheme.group_of_category[:, None] == np.arange(len(scheme.groups))))


def contrasts_in_chain(
    outcomes: FloatArray, member: BoolArray, contrasts: FloatArray, surprisal: FloatArray | None
) -> FloatArray:
    """Contrast groups of tokens within each chain.

    Parameters
    ----------
    outcomes
        (..., n, columns) of every token of chains of n tokens, in the order of position.
    member
        (..., n, groups) which group a token is in.
    contrasts
        (terms, groups) weights of the groups.
    surprisal
        (..., n) of every token; None = not known.

    Returns
    -------
    (..., 3, terms, columns) as they are, given position, and given position and surprisal.
    """
    shape = outcomes.shape[:-1]
    place = position_terms(shape[-1])
    place = np.broadcast_to(place, (*shape, place.shape[-1]))
    raw = raw_contrasts(outcomes, member, contrasts)
    given = adjusted_contrasts(outcomes, member, contrasts, place)
    both = np.full(raw.shape, np.nan)
    if surprisal is not None:
        ranks = rank_terms(surprisal)
        together = place[..., :1] * ranks[..., :1]  # as ranks, two causes that add up do not
        covariates = np.concatenate([place, ranks, together], axis=-1)
        both = adjusted_contrasts(outcomes, member, contrasts, covariates, along=surprisal)
    return np.stack([raw, given, both], axis=-3)


def deletions_by_question(reading: Reading, scheme: Scheme) -> tuple[Deletions, IntArray, BoolArray]:
    """Every deletion of all chains for Cox's model.

    Returns
    -------
    The deletions, (deletions,) number of the question of each, and (deletions,) whether it is in the first half of those of its
    chain.
    """
    lengths = [len(chain.step) for chain in reading.chains]
    times = [relative_times(chain.step) for chain in reading.chains]
    time, is_deleted = (np.concatenate(columns) for columns in zip(*times, strict=True))
    member = in_groups(np.concatenate([chain.member for chain in reading.chains]), scheme)
    deletions = deletions_of(time, is_deleted, member, np.repeat(np.arange(len(lengths)), lengths))
    question = np.repeat(question_index(reading.question_ids), lengths)
    is_early = time <= np.repeat([chain.end / 2 for chain in reading.chains], lengths)
    return deletions, question[deletions.token], is_early[deletions.token]


def _outcomes(chain: ChainTokens, horizon: float, ratios: FloatArray) -> FloatArray:
    """(n, 1 + ratios) restricted time of every token, and whether it is kept at each ratio, less the share of all that is."""
    time, is_deleted = relative_times(chain.step)
    is_kept, achieved = kept_at_ratios(chain.step, ratios)
    return np.column_stack([restricted_times(time, is_deleted, horizon), is_kept - achieved])


def _evidence(
    reading: Reading, scheme: Scheme, outcomes: Sequence[FloatArray], times: FloatArray, ratios: FloatArray
) -> Evidence:
    members = [in_groups(chain.member, scheme) for chain in reading.chains]
    found, n_groups = _contrasted(reading.chains, outcomes, members, scheme), len(scheme.groups)
    sizes = np.stack([member.sum(axis=0) for member in members])
    return Evidence(
        scheme,
        restricted=found[..., 0],
        n_tokens=np.asarray(sizes @ (scheme.contrasts != 0).T.astype(np.int64)),
        curves=np.stack(
            [
                shares_left(*relative_times(chain.step), member, times)
                for chain, member in zip(reading.chains, members, strict=True)
            ]
        ),
        times=times,
        excess=found[:, :2, :n_groups, 1:].swapaxes(-1, -2),
        achieved=np.stack([kept_at_ratios(chain.step, ratios)[1] for chain in reading.chains]),
    )


def _contrasted(
    chains: Sequence[ChainTokens], outcomes: Sequence[FloatArray], members: Sequence[BoolArray], scheme: Scheme
) -> FloatArray:
    """(chains, 3, terms, columns) contrasts of `contrasts_in_chain`; chains of one length are taken together."""
    alike: dict[tuple[int, bool], list[int]] = {}
    for number, chain in enumerate(chains):
        alike.setdefault((len(chain.step), chain.surprisal is None), []).append(number)
    found = np.empty((len(chains), len(ALL_ENDINGS), len(scheme.terms), outcomes[0].shape[1]))
    for (n, _), numbers in alike.items():
        at_once = max(1, _TOKENS_AT_ONCE // n)
        for some in (numbers[first : first + at_once] for first in range(0, len(numbers), at_once)):
            surprisals = [values for number in some if (values := chains[number].surprisal) is not None]
            found[some] = contrasts_in_chain(
                np.stack([outcomes[number] for number in some]),
                np.stack([members[number] for number in some]),
                scheme.contrasts,
                np.stack(surprisals) if surprisals else None,
            )
    return found
