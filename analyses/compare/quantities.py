"""What two runs have measured on the same chains: one value per chain and quantity."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd

from analyses._strategy_comparison.curves import mean_rise, points_of, rises
from reasoning_anatomy.errors import MissingError, RunError
from reasoning_anatomy.run.folder import Run
from reasoning_anatomy.types import FloatArray, IntArray

RATIOS: Final = (0.9, 0.7, 0.5)
"""Keep ratios at which the rise of the nll is compared."""

_TERMS: Final = ("spearman", "spearman_given_position")
_OF_CHAIN: Final = ("question_id", "question", "reasoning", "answer")

Values = Mapping[tuple[str, str], float]
"""Value by chain_id and term."""


@dataclass(frozen=True, eq=False)
class Matched:
    """Chains that two runs share, and what both have measured on them.

    Attributes
    ----------
    chain_ids, question_ids
        Of the chains.
    n_tokens
        (chains,) reasoning tokens, as the first run counts them.
    quantities
        ``part, term, lowest, highest``: one row per quantity; the last two bound a difference.
    first, second
        (chains, quantities) values of the two runs; NaN = it has none.
    exclusions
        Chains left out, by reason.
    """

    chain_ids: tuple[str, ...]
    question_ids: tuple[str, ...]
    n_tokens: IntArray
    quantities: pd.DataFrame
    first: FloatArray
    second: FloatArray
    exclusions: Mapping[str, int]


@dataclass(frozen=True)
class _Part:
    """A kind of quantity: how a run names what it has of it, what a label's values are, and the bound of a difference."""

    name: str
    labels: Callable[[Run], Sequence[str]]
    values: Callable[[Run, str, Sequence[str]], Values]
    bound: float


def matched(first: Run, second: Run) -> Matched:
    """Read what two runs have measured on the chains that both have, with the same text.

    A strategy, scorer or annotator is compared with the one of the same label; if the runs share no label of a kind and have
    one each, with the other.
    """
    chain_ids, exclusions = _shared_chains(first, second)
    rows: list[tuple[str, str, float]] = []
    columns: list[tuple[list[float], list[float]]] = []
    for part in _PARTS:
        for ours, theirs in _counterparts(part.labels(first), part.labels(second)):
            values = part.values(first, ours, chain_ids), part.values(second, theirs, chain_ids)
            terms = dict.fromkeys(term for of_run in values for _, term in of_run)
            for term in terms:
                both = tuple([of_run.get((chain_id, term), np.nan) for chain_id in chain_ids] for of_run in values)
                if np.isfinite(both).all(axis=0).any():
                    rows.append((part.name, _named(term, ours, theirs), part.bound))
                    columns.append((both[0], both[1]))
    bounds = [bound for *_, bound in rows]
    quantities = pd.DataFrame([row[:2] for row in rows], columns=["part", "term"])
    lengths = first.tokens(columns=["chain_id"]).groupby("chain_id").size()
    arrays = [np.array([column[which] for column in columns]).reshape(len(columns), len(chain_ids)).T for which in (0, 1)]
    return Matched(
        chain_ids=tuple(chain_ids),
        question_ids=tuple(first.chains[chain_id].question_id for chain_id in chain_ids),
        n_tokens=np.array([lengths.get(chain_id, 0) for chain_id in chain_ids], dtype=np.int64),
        quantities=quantities.assign(lowest=np.negative(bounds), highest=bounds),
        first=arrays[0],
        second=arrays[1],
        exclusions=exclusions,
    )


def _shared_chains(first: Run, second: Run) -> tuple[list[str], dict[str, int]]:
    ours, theirs = set(first.measured), set(second.measured)
    exclusions = Counter({"only_in_the_first_run": len(ours - theirs), "only_in_the_other_run": len(theirs - ours)})
    shared = []
    for chain_id in first.chains:
        if chain_id in ours and chain_id in theirs:
            a, b = first.chains[chain_id], second.chains[chain_id]
            is_same = all(getattr(a, name) == getattr(b, name) for name in _OF_CHAIN)
            if is_same:
                shared.append(chain_id)
            exclusions["same_id_but_other_text"] += not is_same
    return shared, {reason: count for reason, count in sorted(exclusions.items()) if count}


def _counterparts(ours: Sequence[str], theirs: Sequence[str]) -> list[tuple[str, str]]:
    shared = [(label, label) for label in ours if label in theirs]
    return shared or (list(zip(ours, theirs, strict=True)) if len(ours) == len(theirs) == 1 else [])


def _named(term: str, ours: str, theirs: str) -> str:
    """Put the label into a term; the control stays at its end."""
    label = ours if ours == theirs else f"{ours} and {theirs}"
    if not label:
        return term
    base, given, control = term.partition("_given_")
    return f"{base} of {label}" + (f" given {control}" if given else "")


def _whole_chain(run: Run, _: str, chain_ids: Sequence[str]) -> Values:
    paths = run.paths()
    if "deletion_step" not in paths:
        return {}
    unpruned = paths[paths["deletion_step"] == 0].groupby("chain_id")["nll_answer"].first()
    return {(chain_id, "nll of the answer, whole chain"): float(unpruned.get(chain_id, np.nan)) for chain_id in chain_ids}


def _rises(run: Run, strategy: str, chain_ids: Sequence[str]) -> Values:
    found: dict[tuple[str, str], float] = {}
    for chain_id in chain_ids:
        path = run.path(chain_id, strategy)
        points = None if path is None else points_of(path, "answer")
        if points is not None:
            found[chain_id, f"mean rise of the nll to keep ratio {RATIOS[-1]:g}"] = float(mean_rise(points, RATIOS[-1]))
            for ratio, value in zip(RATIOS, rises(points, np.array(RATIOS)), strict=True):
                found[chain_id, f"rise of the nll at keep ratio {ratio:g}"] = float(value)
    return found


def _correlated_scorers(run: Run) -> list[str]:
    """Scorers of a run that its rank_correlation has; not what it sets beside them, such as the length of a token."""
    try:
        per_chain = run.analysis("rank_correlation").details["per_chain"]
    except (RunError, KeyError):
        return []
    correlated = set(per_chain["scorer"]) if set(_TERMS) <= set(per_chain.columns) else set()
    return [scorer for scorer in run.manifest.configuration.scorers if scorer in correlated]


def _correlations(run: Run, scorer: str, chain_ids: Sequence[str]) -> Values:
    per_chain = run.analysis("rank_correlation").details["per_chain"]
    rows = per_chain[(per_chain["scorer"] == scorer) & per_chain["chain_id"].isin(chain_ids)]
    return {(row["chain_id"], term): float(row[term]) for row in rows.to_dict("records") for term in _TERMS}


def _own_answers(run: Run) -> pd.DataFrame:
    """Judged answers of a sweep from what strategies leave at their own thresholds; none if there was no sweep."""
    try:
        table = run.evaluations()
    except (RunError, MissingError):
        return pd.DataFrame({"strategy": []})
    return table[table["reference"].isna()].dropna(subset="verdict")


def _accuracies(run: Run, strategy: str, chain_ids: Sequence[str]) -> Values:
    table = _own_answers(run)
    rows = table[(table["strategy"] == strategy) & table["chain_id"].isin(chain_ids)]
    cell = ["chain_id", "reading", "restatements", "threshold"]
    means = rows.assign(correct=rows["verdict"] == "correct").groupby(cell, sort=False)["correct"].mean().reset_index()
    return {
        (
            row["chain_id"],
            f"accuracy at threshold {row['threshold']:g} ({row['reading']}, restatements {row['restatements']})",
        ): float(row["correct"])
        for row in means.to_dict("records")
    }


def _shares(run: Run, annotator: str, chain_ids: Sequence[str]) -> Values:
    column = f"category_{annotator}"
    rows = run.tokens(columns=["chain_id", column], chains=chain_ids).dropna(subset=column)
    shares = pd.crosstab(rows["chain_id"], rows[column], normalize="index")
    return {
        (str(chain_id), f"share of {name}"): float(share)
        for chain_id, of_chain in shares.to_dict("index").items()
        for name, share in of_chain.items()
    }


_PARTS: Final = (
    _Part("answer", lambda run: [""], _whole_chain, np.inf),
    _Part("pruning", lambda run: list(run.manifest.configuration.strategies), _rises, np.inf),
    _Part("answers at thresholds", lambda run: list(dict.fromkeys(_own_answers(run)["strategy"])), _accuracies, 1),
    _Part("rank correlation", _correlated_scorers, _correlations, 2),
    _Part("categories", lambda run: list(run.annotators), _shares, 1),
)
