"""Files of the published viewer."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Final, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from reasoning_anatomy.categories import CATEGORIES, Category
from reasoning_anatomy.chains import shown
from reasoning_anatomy.errors import RunError
from reasoning_anatomy.interchange._items import Index, Item, first_difference, own_keys, validated
from reasoning_anatomy.interchange._pruned import UNKNOWN_ID, Place, PrunedChain
from reasoning_anatomy.types import EncodedChain, IntArray, PruningPath, ReasoningChain

if TYPE_CHECKING:
    from reasoning_anatomy.models.encoding import ChainEncoder

_MARKERS: Final = (
    "--------------------------------------------------\n\nQuestion:\n",
    "\n\nOutput Reason:\n",
    "\nOutput Answer:\n",
    "\n\nOutput Reason Tokens (JSON Format)",
)
_INSTRUCTION: Final = "Give every token of the reasoning its category.\n\n"


class _Token(BaseModel):
    model_config = ConfigDict(frozen=True, strict=True)

    token_position: Index
    token_text: str
    deleted_step: Index
    category: Category


class _Item(Item):
    question: str
    user_prompt: str
    reason_tokens_json: Annotated[list[_Token], Field(min_length=1)]

    @model_validator(mode="after")
    def _counts_every_token(self) -> Self:
        n = len(self.reason_tokens_json)
        for name, first in (("token_position", 0), ("deleted_step", 1)):
            left = set(range(first, first + n))
            for index, token in enumerate(self.reason_tokens_json):
                value = getattr(token, name)
                if value not in left:
                    raise ValueError(
                        f"'reason_tokens_json.{index}.{name}' is {value}: expected each of {first}..{first + n - 1} once"
                    )
                left.remove(value)
        return self

    @property
    def tokens(self) -> list[_Token]:
        """In the order of the text."""
        return sorted(self.reason_tokens_json, key=lambda token: token.token_position)


@dataclass(frozen=True, kw_only=True)
class ReasonTokensJson:
    """Text, deletion step and category of every token, as the published viewer reads them.

    References
    ----------
    Singh and Hakkani-Tür, Do LLMs Encode Functional Importance of Reasoning Tokens?, arXiv:2601.03066.
    """

    has_categories: ClassVar[bool] = True

    def read(self, record: Mapping[str, Any], *, place: Place, encoder: "ChainEncoder | None") -> PrunedChain:
        """Read one item; see `Format.read`."""
        item = validated(_Item, record, place)
        tokens = item.tokens
        parts = _split(item.user_prompt)
        if isinstance(parts, str):
            raise place.error(f"'user_prompt' has no {shown(parts)} in its place, so the reasoning cannot be cut out")
        _, reasoning, answer = parts
        texts = [token.token_text for token in tokens]
        _expect_same_text(texts, reasoning, place)
        chain = item.chain(place, question=item.question, reasoning="".join(texts), answer=answer)
        spans = item.span_array(place, reasoning=chain.reasoning, n_tokens=len(tokens))
        if spans is not None and token_texts(chain.reasoning, spans) != texts:
            raise place.error("'spans' cut the reasoning into other tokens than 'token_text' does; leave 'spans' out")
        encoded = _encoded(chain, _spans(texts) if spans is None else spans, texts, place, encoder)
        missing = np.full(len(tokens) + 1, np.nan)
        path = PruningPath(
            strategy=item.strategy_repr,
            n_reasoning=len(tokens),
            deleted=np.argsort([token.deleted_step for token in tokens]),
            margin=missing[1:],
            n_ties=0,
            nll_answer=missing,
            nll_joint=missing,
            nll_reasoning=missing,
        )
        return PrunedChain(encoded, item.strategy, path, tuple(token.category for token in tokens))

    def write(self, pruned: PrunedChain) -> dict[str, Any]:
        """Make the item of one chain; `RunError` if the viewer could not read it."""
        chain, path = pruned.encoded.chain, pruned.path
        if len(path.deleted) < path.n_reasoning:
            raise RunError(
                f"chain {chain.chain_id!r}: {path.n_reasoning - len(path.deleted)} of {path.n_reasoning} tokens were never "
                "deleted, but this format needs a deletion step of each; run greedy without keep_ratio"
            )
        texts = token_texts(chain.reasoning, pruned.encoded.spans)
        rows = zip(texts, path.deletion_step, pruned.categories or (), strict=True)
        tokens = [
            {
                "token_position": position,
                "token_text": text,
                "deleted_step": int(step),
                "category": _expected(category, position, chain),
                "justification": "",
            }
            for position, (text, step, category) in enumerate(rows)
        ]
        return {"question": chain.question, "user_prompt": _joined(chain), "reason_tokens_json": tokens} | own_keys(pruned)


def token_texts(reasoning: str, spans: IntArray) -> list[str]:
    """Cut the reasoning into one text per token, which joined are the reasoning.

    A split character goes to the first of its tokens and leaves the others empty; characters between two tokens go
    to the later one, those after the last to the last.
    """
    ends = np.maximum.accumulate(spans[:, 1])
    ends[-1] = len(reasoning)
    return [reasoning[start:end] for start, end in zip([0, *ends[:-1]], ends, strict=True)]


def _spans(texts: Sequence[str]) -> IntArray:
    """(n, 2) spans of texts that follow one another; a token without text has the start and end of the token before it."""
    ends = np.cumsum([len(text) for text in texts])
    starts = [end - len(text) if text else -1 for text, end in zip(texts, ends, strict=True)]
    return np.stack([np.maximum(np.maximum.accumulate(starts), 0), ends], axis=1)


def _encoded(
    chain: ReasoningChain, spans: IntArray, texts: list[str], place: Place, encoder: "ChainEncoder | None"
) -> EncodedChain:
    """Encode the text, which must be cut into the tokens of the file; without a tokenizer all ids are unknown."""
    if encoder is None:
        nothing = np.array([UNKNOWN_ID])
        return EncodedChain(chain, nothing, np.full(len(texts), UNKNOWN_ID), nothing, spans)
    with place.encoding():
        encoded = encoder.encode(chain)
    encoded_texts = token_texts(chain.reasoning, encoded.spans)
    if encoded_texts != texts:
        first = first_difference(texts, encoded_texts)
        given, expected = (shown(some[first]) if first < len(some) else "nothing" for some in (texts, encoded_texts))
        raise place.error(
            f"token {first} is {given}, but {expected} with this tokenizer: it was pruned with another tokenizer; name "
            "the model that pruned it: --model MODEL"
        )
    return encoded


def _split(user_prompt: str) -> tuple[str, str, str] | str:
    """Question, reasoning and answer of a labelling prompt, cut as the viewer does; or the first marker that it lacks."""
    parts = []
    rest = user_prompt
    for marker in _MARKERS:
        part, separator, rest = rest.partition(marker)
        if not separator:
            return marker
        parts.append(part)
    _, question, reasoning, answer = parts
    return question, reasoning, answer


def _joined(chain: ReasoningChain) -> str:
    """Make a labelling prompt; `RunError` if the viewer would cut it elsewhere."""
    parts = (chain.question, chain.reasoning, chain.answer)
    pieces = zip(("", *parts), _MARKERS, strict=True)
    prompt = _INSTRUCTION + "".join(piece + marker for piece, marker in pieces)
    if _split(prompt) != parts:
        raise RunError(
            f"chain {chain.chain_id!r}: its text holds a marker of this format, so that the viewer would cut it in the wrong "
            "place; export it as greedy_prunings"
        )
    return prompt


def _expect_same_text(texts: Sequence[str], reasoning: str, place: Place) -> None:
    """Refuse tokens that are not the reasoning of the prompt; white space around it does not count."""
    joined = "".join(texts)
    given, expected = joined.strip(), reasoning.strip()
    if given != expected:
        same = first_difference(given, expected)
        ends = np.cumsum([len(text) for text in texts])
        token = min(int(np.searchsorted(ends, joined.index(given) + same, side="right")), len(texts) - 1)
        raise place.error(
            f"token {token} is {shown(texts[token])}, but the reasoning in 'user_prompt' continues with "
            f"{shown(expected[same:])}; the token_text of all tokens, joined, must be that reasoning"
        )


def _expected(category: str, position: int, chain: ReasoningChain) -> str:
    if category not in CATEGORIES:
        raise RunError(
            f"chain {chain.chain_id!r}, token {position}: {category!r} is not a category of this format "
            f"({', '.join(CATEGORIES)}); export the labels of another annotator"
        )
    return category
