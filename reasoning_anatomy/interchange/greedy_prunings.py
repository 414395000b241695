"""Files of the published greedy pruner."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Final, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from reasoning_anatomy.errors import RunError
from reasoning_anatomy.interchange._items import Index, Item, first_difference, own_keys, validated
from reasoning_anatomy.interchange._pruned import UNKNOWN_ID, Place, PrunedChain
from reasoning_anatomy.types import EncodedChain, FloatArray, PruningPath, ReasoningChain

if TYPE_CHECKING:
    from reasoning_anatomy.models.encoding import ChainEncoder

_CAP: Final = 1e32
_CURVES: Final = {"answer": "nll_answer", "reason_answer": "nll_joint", "reason": "nll_reasoning"}

Perplexity = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Ids = Annotated[list[Index], Field(min_length=1)]


class _Prunings(BaseModel):
    """``greedy_prunings`` of one item."""

    model_config = ConfigDict(frozen=True, strict=True)

    reason_token_ids: Ids
    del_pos_rank: list[int]
    reason_answer_perplexity: list[Perplexity] | None = None
    answer_perplexity: list[Perplexity] | None = None
    reason_perplexity: list[Perplexity] | None = None
    original_reason_answer_perplexity: Perplexity | None = None
    original_answer_perplexity: Perplexity | None = None
    original_reason_perplexity: Perplexity | None = None

    @model_validator(mode="after")
    def _is_one_path(self) -> Self:
        n = len(self.reason_token_ids)
        left = set(range(n))
        for step, position in enumerate(self.del_pos_rank):
            if position not in left:
                raise ValueError(
                    f"'greedy_prunings.del_pos_rank.{step}' is {position}: expected each of 0..{n - 1} at most once"
                )
            left.remove(position)
        for curve in _CURVES:
            values = getattr(self, f"{curve}_perplexity")
            if values is not None and len(values) != len(self.del_pos_rank):
                raise ValueError(
                    f"'greedy_prunings.{curve}_perplexity' has {len(values)} numbers for {len(self.del_pos_rank)} deletions; "
                    "give one to each"
                )
        return self

    def nll(self, curve: str) -> FloatArray:
        """(k + 1,) nats per token; NaN if it is not given, and for the reasoning if none is left."""
        after = getattr(self, f"{curve}_perplexity") or [np.nan] * len(self.del_pos_rank)
        before = getattr(self, f"original_{curve}_perplexity") or np.nan
        nll = np.log([before, *after])
        if curve == "reason":
            nll[len(self.reason_token_ids) :] = np.nan
        return nll


class _Item(Item):
    user_prompt: str
    response_reason: str
    response_answer: str
    greedy_prunings: _Prunings
    question: str | None = None
    chat_template_token_ids: Ids | None = None
    prompt_token_ids: Ids | None = None
    answer_token_ids: Ids | None = None
    margin: list[Annotated[float, Field(allow_inf_nan=False)] | None] | None = None
    n_ties: Index = 0

    @model_validator(mode="after")
    def _has_a_margin_for_each(self) -> Self:
        n_deleted = len(self.greedy_prunings.del_pos_rank)
        if self.margin is not None and len(self.margin) != n_deleted:
            raise ValueError(f"'margin' has {len(self.margin)} numbers for {n_deleted} deletions; give one to each, or null")
        return self


@dataclass(frozen=True, kw_only=True)
class GreedyPrunings:
    """Deletion orders and perplexities, as the published pruner writes them.

    References
    ----------
    Singh and Hakkani-Tür, Do LLMs Encode Functional Importance of Reasoning Tokens?, arXiv:2601.03066.
    """

    has_categories: ClassVar[bool] = False

    def read(self, record: Mapping[str, Any], *, place: Place, encoder: "ChainEncoder | None") -> PrunedChain:
        """Read one item; see `Format.read`."""
        item = validated(_Item, record, place)
        question = item.user_prompt if item.question is None else item.question
        chain = item.chain(place, question=question, reasoning=item.response_reason, answer=item.response_answer)
        prunings = item.greedy_prunings
        path = PruningPath(
            strategy=item.strategy_repr,
            n_reasoning=len(prunings.reason_token_ids),
            deleted=np.array(prunings.del_pos_rank, dtype=np.int64),
            margin=np.array(item.margin or [np.nan] * len(prunings.del_pos_rank), dtype=np.float64),
            n_ties=item.n_ties,
            nll_answer=prunings.nll("answer"),
            nll_joint=prunings.nll("reason_answer"),
            nll_reasoning=prunings.nll("reason"),
        )
        return PrunedChain(_encoded(item, chain, place, encoder), item.strategy, path)

    def write(self, pruned: PrunedChain) -> dict[str, Any]:
        """Make the item of one chain; `RunError` if its tokens have no ids."""
        encoded, path, chain = pruned.encoded, pruned.path, pruned.encoded.chain
        if UNKNOWN_ID in encoded.reasoning_ids:
            raise RunError(
                f"chain {chain.chain_id!r} was imported without a tokenizer, so its tokens have no ids; import its file again "
                "with --model, into another folder"
            )
        n_left = path.n_reasoning - len(path.deleted)
        return {
            "user_prompt": chain.question,
            "response_reason": chain.reasoning,
            "response_answer": chain.answer,
            "chat_template_token_ids": encoded.ids.tolist(),
            "greedy_prunings": {
                "reason_token_ids": encoded.reasoning_ids.tolist(),
                "del_pos_rank": path.deleted.tolist(),
                **_perplexities(path),
            },
            "current_keep_ratio": n_left / path.n_reasoning,
            "total_reason_tokens": path.n_reasoning,
            "tokens_deleted": len(path.deleted),
            "tokens_remaining": n_left,
            "question": chain.question,
            "prompt_token_ids": encoded.prompt_ids.tolist(),
            "answer_token_ids": encoded.answer_ids.tolist(),
            "margin": [None if np.isnan(margin) else margin for margin in path.margin.tolist()],
            "n_ties": path.n_ties,
        } | own_keys(pruned)


def _encoded(item: _Item, chain: ReasoningChain, place: Place, encoder: "ChainEncoder | None") -> EncodedChain:
    ids = item.greedy_prunings.reason_token_ids
    around = _ids_around(item, place)
    if encoder is not None:
        return _encoded_again(ids, around, chain, place, encoder)
    spans = item.span_array(place, reasoning=chain.reasoning, n_tokens=len(ids))
    if spans is None or around is None:
        missing = "spans" if spans is None else "prompt_token_ids"
        raise place.error(f"has no {missing!r}, which a tokenizer must find; name the model that pruned it: --model MODEL")
    return EncodedChain(chain, np.array(around[0]), np.array(ids), np.array(around[1]), spans)


def _encoded_again(
    ids: list[int], around: tuple[list[int], list[int]] | None, chain: ReasoningChain, place: Place, encoder: "ChainEncoder"
) -> EncodedChain:
    """Encode the text, which must give the ids of the file, and keep what the file has before and after them."""
    with place.encoding():
        encoded = encoder.encode(chain)
    ids_of_text = encoded.reasoning_ids.tolist()
    remedy = "it was pruned with another tokenizer; name the model that pruned it: --model MODEL"
    if ids_of_text != ids:
        first = first_difference(ids, ids_of_text)
        given, expected = (str(some[first]) if first < len(some) else "nothing" for some in (ids, ids_of_text))
        raise place.error(f"'greedy_prunings.reason_token_ids.{first}' is {given}, but the text gives {expected}: {remedy}")
    if around is None:
        return encoded
    if (largest := max(*around[0], *around[1])) >= len(encoder.tokenizer):
        raise place.error(f"holds the id {largest}, but the tokenizer has {len(encoder.tokenizer)}: {remedy}")
    return dataclasses.replace(encoded, prompt_ids=np.array(around[0]), answer_ids=np.array(around[1]))


def _ids_around(item: _Item, place: Place) -> tuple[list[int], list[int]] | None:
    """Ids before and after the reasoning; None if the item does not have them."""
    if item.prompt_token_ids is not None and item.answer_token_ids is not None:
        return item.prompt_token_ids, item.answer_token_ids
    if item.chat_template_token_ids is None:
        return None
    cuts = _around(item.chat_template_token_ids, item.greedy_prunings.reason_token_ids)
    if len(cuts) != 1:
        raise place.error(
            f"'chat_template_token_ids' holds 'greedy_prunings.reason_token_ids' {len(cuts)} times, expected once with ids "
            "before and after; leave it out, and prompt and answer are encoded from their text"
        )
    return cuts[0]


def _around(chat: list[int], reasoning: list[int]) -> list[tuple[list[int], list[int]]]:
    """Ids before and after every occurrence of the reasoning in the chat.

    The published pruner cuts at two markers that it adds to the tokenizer: consecutive ids above all others. If they
    were left in, they mark the place and are dropped.
    """
    n = len(reasoning)
    places = [start for start in range(1, len(chat) - n) if chat[start : start + n] == reasoning]
    cut = [(chat[:start], chat[start + n :]) for start in places]
    others = [max([*before[:-1], *after[1:], *reasoning]) for before, after in cut]
    marked = [
        (before[:-1], after[1:])
        for (before, after), largest in zip(cut, others, strict=True)
        if largest < before[-1] == after[0] - 1 and len(before) > 1 and len(after) > 1
    ]
    return marked or cut


def _perplexities(path: PruningPath) -> dict[str, Any]:
    """Perplexities of the curves that are known, capped as the published pruner does."""
    keys: dict[str, Any] = {}
    for curve, name in _CURVES.items():
        nll = getattr(path, name).copy()
        if curve == "reason":
            nll[path.n_reasoning :] = np.inf  # nothing is left to be perplexed by
        perplexity = np.minimum(np.exp(np.minimum(nll, 100)), _CAP).tolist()
        if not np.isnan(nll[1:]).any():
            keys[f"{curve}_perplexity"] = perplexity[1:]
        if not np.isnan(nll[0]):
            keys[f"original_{curve}_perplexity"] = perplexity[0]
    return keys
