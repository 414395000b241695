"""How much of the difference between the classes rests on the tokens that state the answer."""

from collections.abc import Sequence
from typing import Final

import numpy as np
import pandas as pd

from analyses._category_survival.evidence import contrasts_in_chain, in_groups
from analyses._category_survival.reading import ChainTokens, Reading, read, whole_units
from analyses._category_survival.words import CLASSES
from analyses._restatement_audit.effects import Effects
from analyses._schemes import ENDINGS, SCHEMES
from analyses._statistics.position import BoolArray
from analyses._statistics.survival import relative_times, restricted_times
from analyses._tokens import tokens_with
from reasoning_anatomy.errors import AnalysisError
from reasoning_anatomy.run.folder import Run
from reasoning_anatomy.steps import restates
from reasoning_anatomy.types import FloatArray

PART: Final = "deletion time"

_CLASSES: Final = next(scheme for scheme in SCHEMES if scheme.name == "classes")


def deletion_times(run: Run, *, annotators: Sequence[str], strategies: Sequence[str]) -> list[Effects]:
    """Compare the classes of every annotator under every strategy, with all tokens and without those that restate the answer.

    Raises
    ------
    AnalysisError
        No chain can be used.
    """
    steps = [f"deletion_step_{strategy}" for strategy in strategies]
    tokens = tokens_with(run, "start", "end", *steps, labels=annotators)
    for strategy in strategies:
        tokens = whole_units(run, tokens, strategy)
    tokens = tokens.assign(restates=_restating(run, tokens))
    found = [
        effects
        for annotator in annotators
        for strategy in strategies
        if (effects := _effects(tokens, annotator, strategy)) is not None
    ]
    if not found:
        raise AnalysisError(f"{run.folder}: no chain has labels and deletions that can be used; label or measure other chains")
    return found


def contrasts_with_and_without(
    step: FloatArray, member: BoolArray, is_restating: BoolArray, horizon: float
) -> tuple[FloatArray, FloatArray]:
    """Difference of the classes in the time that a token is left, with all tokens and without some.

    Parameters
    ----------
    step
        (..., n) deletion steps of chains of n tokens; they stay as they are.
    member
        (..., n, 2) which class a token is in.
    is_restating
        (..., n) which tokens are left out.
    horizon
        Up to which time is counted.

    Returns
    -------
    2 x (..., 2) as it is and given position.
    """
    outcome = restricted_times(*relative_times(step), horizon)[..., None]
    with_all, without = (
        contrasts_in_chain(outcome, used, np.array([[1.0, -1.0]]), None)[..., :2, 0, 0]
        for used in (member, member & ~is_restating[..., None])
    )
    return with_all, without


def _effects(tokens: pd.DataFrame, annotator: str, strategy: str) -> Effects | None:
    """Effects of one annotator under one strategy; None if no chain can be used."""
    reading = read(tokens, annotator=annotator, strategy=strategy)
    if not reading.chains:
        return None
    restating = {str(chain_id): rows.to_numpy() for chain_id, rows in tokens.groupby("chain_id", sort=False)["restates"]}
    positions = {str(chain_id): rows.to_numpy() for chain_id, rows in tokens.groupby("chain_id", sort=False)["position"]}
    marked = [restating[chain.chain_id][positions[chain.chain_id].argsort()] for chain in reading.chains]
    pairs = [_of_chain(chain, mark, reading.horizon) for chain, mark in zip(reading.chains, marked, strict=True)]
    kept, stripped = (np.stack(values) for values in zip(*pairs, strict=True))
    labels = pd.DataFrame(
        {"part": PART, "annotator": annotator, "strategy": strategy, "term": [CLASSES + end for end in ENDINGS]}
    )
    n_tokens = np.array([int((chain.category >= 0).sum()) for chain in reading.chains])
    return Effects(
        labels,
        reading.question_ids,
        kept,
        stripped,
        n_tokens=np.repeat(n_tokens[:, None], len(ENDINGS), axis=1),
        exclusions=reading.exclusions,
        details={"restating_tokens": _counts(reading, marked, annotator, strategy)},
    )


def _of_chain(chain: ChainTokens, is_restating: BoolArray, horizon: float) -> tuple[FloatArray, FloatArray]:
    return contrasts_with_and_without(chain.step, in_groups(chain.member, _CLASSES), is_restating, horizon)


def _restating(run: Run, tokens: pd.DataFrame) -> BoolArray:
    """(tokens,) whether a token states the answer or is in the last sentence, as `sweep --restatements stripped` has it."""
    found = np.zeros(len(tokens), dtype=bool)
    spans = tokens[["start", "end"]].to_numpy(dtype=np.int64)
    place = tokens["position"].to_numpy()
    for chain_id, rows in tokens.groupby("chain_id", sort=False).indices.items():
        ordered = rows[place[rows].argsort()]
        found[ordered] = restates(run.chains[str(chain_id)], spans[ordered])
    return found


def _counts(reading: Reading, marked: Sequence[BoolArray], annotator: str, strategy: str) -> pd.DataFrame:
    """How many tokens of each class restate the answer."""
    member = np.concatenate([in_groups(chain.member, _CLASSES) for chain in reading.chains])
    is_restating = np.concatenate(marked)
    return pd.DataFrame(
        {
            "annotator": annotator,
            "strategy": strategy,
            "class": _CLASSES.groups,
            "n_tokens": member.sum(axis=0),
            "n_restating": member[is_restating].sum(axis=0),
        }
    )
