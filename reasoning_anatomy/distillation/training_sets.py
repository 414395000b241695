"""Training sets: the same chains for every arm, as rows of ids of which the reasoning and the answer are to be predicted."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import pandas as pd

from reasoning_anatomy.distillation.orders import Orders
from reasoning_anatomy.errors import MissingError, RunError
from reasoning_anatomy.files import atomic_path
from reasoning_anatomy.models.encoding import ChainEncoder
from reasoning_anatomy.pruning import kept_without
from reasoning_anatomy.pruning._threshold import unit_ends
from reasoning_anatomy.run.folder import Run
from reasoning_anatomy.run.students import ANSWER_ONLY, FULL, Arm
from reasoning_anatomy.types import EncodedChain, IntArray, PruningPath

NOT_PREDICTED: Final = -100
"""Label of an id that is read and not to be predicted, as torch and all trainers have it."""

Form = Literal["ids", "text"]


@dataclass(frozen=True, eq=False)
class TaughtChain:
    """A chain as the student's tokenizer has it.

    Attributes
    ----------
    encoded
        With the student's ids.
    n_prompt
        Ids that the student is given when it answers; all behind them are to be predicted.
    of_run
        The chain as the run has it: what the positions of a path are about.
    """

    encoded: EncodedChain
    n_prompt: int
    of_run: EncodedChain


@dataclass(frozen=True, eq=False)
class Row:
    """One chain of a training set.

    Attributes
    ----------
    chain_id, question
        Of the chain.
    prompt, completion
        The row as text: what is read, and what is to be predicted.
    input_ids
        (T,) prompt, what is left of the reasoning, answer.
    labels
        (T,) the same, `NOT_PREDICTED` in the prompt.
    n_reasoning, n_kept
        Reasoning tokens of the whole chain, and of the row.
    is_changed_by_text
        Whether what is left has other ids if it is decoded and tokenised again.
    """

    chain_id: str
    question: str
    prompt: str
    completion: str
    input_ids: IntArray
    labels: IntArray
    n_reasoning: int
    n_kept: int
    is_changed_by_text: bool

    @property
    def n_supervised(self) -> int:
        """Tokens to be predicted."""
        return int((self.labels != NOT_PREDICTED).sum())


def taught_chains(run: Run, encoder: ChainEncoder, chain_ids: Sequence[str], *, form: Form) -> dict[str, TaughtChain]:
    """Encode chains for the student.

    Raises
    ------
    RunError
        The student's tokenizer has other ids for the reasoning than the run, so that positions mean nothing to it, and the form
        is ``ids``; or its prompt does not begin its rows.
    EncodingError
        A chain cannot be encoded for the student.
    """
    taught = {}
    for chain_id in chain_ids:
        of_run, encoded = run.encoded(chain_id), encoder.encode(run.chains[chain_id])
        if form == "ids" and not np.array_equal(of_run.reasoning_ids, encoded.reasoning_ids):
            raise RunError(
                f"{run.folder}: the reasoning of {chain_id!r} has other ids in the student's tokenizer than in the run, so the "
                "student cannot be taught ids; teach it text, which is tokenised again: --form text"
            )
        prompt = encoder.prompt(encoded.chain.question, encoded.chain.system_prompt, owner=chain_id)
        if not np.array_equal(encoded.prompt_ids[: len(prompt)], prompt):
            raise RunError(
                f"{run.folder}: the student's rows of {chain_id!r} do not begin as its prompt does, so it would be asked "
                "otherwise than it was taught; leave out what changes its joints"
            )
        taught[chain_id] = TaughtChain(encoded, len(prompt), of_run)
    return taught


def training_set(
    orders: Orders, taught: Mapping[str, TaughtChain], arm: Arm, encoder: ChainEncoder, *, form: Form
) -> Iterator[Row]:
    """Make the rows of an arm, in the order of the chains.

    Raises
    ------
    MissingError
        A chain has no path of the strategy, or one that ends too early; the message has the command that measures it.
    """
    kept = kept_of_arm(orders, {chain_id: chain.of_run.n_reasoning for chain_id, chain in taught.items()}, arm)
    for chain_id, chain in taught.items():
        encoded, left = chain.encoded, chain.of_run.reasoning_ids[kept[chain_id]]
        again = _tokenised_again(chain.of_run, kept[chain_id], encoder)
        reasoning = left if form == "ids" else again
        ids = np.concatenate([encoded.prompt_ids, reasoning, encoded.answer_ids])
        yield Row(
            chain_id=chain_id,
            question=encoded.chain.question,
            prompt=_text(encoder, ids[: chain.n_prompt]),
            completion=_text(encoder, ids[chain.n_prompt :]),
            input_ids=ids,
            labels=np.where(np.arange(len(ids)) < chain.n_prompt, NOT_PREDICTED, ids),
            n_reasoning=chain.of_run.n_reasoning,
            n_kept=len(left),
            is_changed_by_text=not np.array_equal(left, again),
        )


def kept_of_arm(orders: Orders, n_reasoning: Mapping[str, int], arm: Arm) -> dict[str, IntArray]:
    """Find what an arm keeps of every chain.

    Matched by chain, all arms keep the same number of tokens of a chain, the ratio rounded to the nearest, at least one; a step
    may be cut. Matched by the mean, only whole steps are deleted, those of a path in turn, and what a chain keeps too much or
    too little is made up for in the next ones: the set as a whole comes as close to the ratio as one step.

    Parameters
    ----------
    orders
        Of the deletions.
    n_reasoning
        Reasoning tokens of every chain, by chain_id.
    arm
        What is kept.

    Returns
    -------
    (k,) ascending positions by chain_id.
    """
    kept, owed = {}, 0.0
    for chain_id, n in n_reasoning.items():
        if arm.strategy in (FULL, ANSWER_ONLY):
            kept[chain_id] = np.arange(n if arm.strategy == FULL else 0)
            continue
        path, wanted = _path(orders, chain_id, arm), arm.keep_ratio * n
        if arm.matching == "chain":
            n_kept = max(1, int(wanted + 0.5))
        else:
            ends = n - np.concatenate([[0], unit_ends(path)])
            n_kept = int(ends[np.abs(ends - wanted - owed).argmin()])
            owed += wanted - n_kept
        if n - n_kept > len(path.deleted):
            raise MissingError(
                f"{orders.run.folder}: the path of {arm.strategy!r} on {chain_id!r} ends when {n - len(path.deleted)} of {n} "
                f"tokens are left, before the keep ratio {arm.keep_ratio:g}; measure the strategy with a lower keep_ratio"
            )
        kept[chain_id] = kept_without(path, n - n_kept)
    return kept


def write_rows(rows: Sequence[Row], path: Path) -> None:
    """Write a training set as Parquet, one row a chain, with the fields of `Row` as columns and ``n_supervised``."""
    table = pd.DataFrame([{**vars(row), "n_supervised": row.n_supervised} for row in rows])
    with atomic_path(path) as temporary:
        table.to_parquet(temporary, index=False)


def read_rows(path: Path) -> list[dict[str, Any]]:
    """Read ``input_ids`` and ``labels`` of a training set."""
    table = pd.read_parquet(path, columns=["input_ids", "labels"])
    columns = {name: [values.tolist() for values in table[name]] for name in ("input_ids", "labels")}
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def _path(orders: Orders, chain_id: str, arm: Arm) -> PruningPath:
    path = orders.of(chain_id, arm.strategy)
    if path is None:
        raise MissingError(
            f"{orders.run.folder}: {chain_id!r} has no path of {arm.strategy!r}, so the arms would not be taught the same "
            f"chains; measure it: reasoning-anatomy run CHAINS.jsonl --out {orders.run.folder} --strategies {arm.strategy}"
        )
    return path


def _text(encoder: ChainEncoder, ids: IntArray) -> str:
    text: str = encoder.tokenizer.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False)
    return text


def _tokenised_again(chain: EncodedChain, kept: IntArray, encoder: ChainEncoder) -> IntArray:
    """Tokenise the text of what is left, as those do who train on text."""
    is_left = np.zeros(len(chain.chain.reasoning), dtype=bool)
    for start, end in chain.spans[kept]:
        is_left[start:end] = True
    text = "".join(np.array(list(chain.chain.reasoning))[is_left])
    if not text:
        return chain.reasoning_ids[:0]
    return encoder.encode(chain.chain.model_copy(update={"reasoning": text})).reasoning_ids
