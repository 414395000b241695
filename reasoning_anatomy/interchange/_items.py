"""The keys that both formats share, checked.

They are not in the published files. The library writes them, so that its own files can be read back without loss.
"""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final, TypeVar

import numpy as np
from pydantic import AliasChoices, BaseModel, ConfigDict, Field, ValidationError

from reasoning_anatomy.chains import shown
from reasoning_anatomy.interchange._pruned import Place, PrunedChain
from reasoning_anatomy.questions import question_id_of
from reasoning_anatomy.types import IntArray, ReasoningChain, Text, Truth

_SMALL: Final = 200
_LARGEST: Final = 2**31


Index = Annotated[int, Field(ge=0, lt=_LARGEST)]
Span = Annotated[list[Index], Field(min_length=2, max_length=2)]
Model = TypeVar("Model", bound=BaseModel)
Label = Annotated[str, Field(pattern=r"^[a-z]\w*(:.+)?$")]


class Item(BaseModel):
    """One record.

    Attributes
    ----------
    chain_id, question_id, gold_answer, is_correct, system_prompt, step_starts, source
        As in `ReasoningChain`; ``id`` is read as a ``chain_id`` too.
    spans
        (n, 2) characters of the reasoning.
    strategy, strategy_repr
        Label and provenance of the strategy.
    """

    model_config = ConfigDict(frozen=True, extra="allow", strict=True)

    chain_id: Text | None = Field(default=None, validation_alias=AliasChoices("chain_id", "id"))
    question_id: Text | None = None
    gold_answer: Text | None = None
    is_correct: Truth | None = None
    system_prompt: str | None = None
    step_starts: list[int] | None = None
    source: dict[str, Any] | None = None
    spans: list[Span] | None = None
    strategy: Label = "greedy"
    strategy_repr: str = "greedy, objective not stated"

    def chain(self, place: Place, *, question: str, reasoning: str, answer: str) -> ReasoningChain:
        """Make the chain; without ids of its own it is named after its place, and the question after its text."""
        facts = {
            "chain_id": self.chain_id or f"{place.file.stem}-{place.number}",
            "question_id": self.question_id or question_id_of(question),
            "question": question,
            "reasoning": reasoning,
            "answer": answer,
            "gold_answer": self.gold_answer,
            "is_correct": self.is_correct,
            "system_prompt": self.system_prompt or None,
            "step_starts": self.step_starts,
            "source": self._small() if self.source is None else self.source,
        }
        return validated(ReasoningChain, facts, place)

    def span_array(self, place: Place, *, reasoning: str, n_tokens: int) -> IntArray | None:
        """(n, 2) spans, checked against the text; None if they are not given."""
        if self.spans is None:
            return None
        if len(self.spans) != n_tokens:
            raise place.error(f"'spans' has {len(self.spans)} entries for {n_tokens} tokens; give one to each")
        spans = np.array(self.spans, dtype=np.int64)
        backwards = np.diff(spans, axis=0, prepend=0).min(axis=1) < 0
        wrong = np.flatnonzero(backwards | (spans[:, 0] > spans[:, 1]) | (spans[:, 1] > len(reasoning)))
        if len(wrong):
            raise place.error(
                f"'spans.{wrong[0]}' is {self.spans[wrong[0]]}: expected a start and an end in 0..{len(reasoning)}, neither "
                "before that of the previous token"
            )
        return spans

    def _small(self) -> dict[str, Any]:
        """Further keys with a number or a short text."""
        further = self.model_extra or {}
        return {
            name: value
            for name, value in further.items()
            if value is None or isinstance(value, int | float) or (isinstance(value, str) and len(value) <= _SMALL)
        }


def own_keys(pruned: PrunedChain) -> dict[str, Any]:
    """Return the keys of `Item` for one chain."""
    chain = pruned.encoded.chain
    steps = {} if chain.step_starts is None else {"step_starts": list(chain.step_starts)}
    return steps | {
        "chain_id": chain.chain_id,
        "question_id": chain.question_id,
        "gold_answer": chain.gold_answer,
        "is_correct": chain.is_correct,
        "system_prompt": chain.system_prompt or "",
        "source": dict(chain.source),
        "spans": pruned.encoded.spans.tolist(),
        "strategy": pruned.label,
        "strategy_repr": pruned.path.strategy,
    }


def first_difference(one: Sequence[Any], other: Sequence[Any]) -> int:
    """Index of the first element in which two sequences differ; the length of the shorter one if the other begins with it."""
    pairs = zip(one, other, strict=False)
    return next((index for index, (a, b) in enumerate(pairs) if a != b), min(len(one), len(other)))


def validated(model: type[Model], record: Mapping[str, Any], place: Place) -> Model:
    """Make a model from a record; `ChainFileError` names place, key and value of the first mistake."""
    try:
        return model.model_validate(record)
    except ValidationError as error:
        raise place.error(_explain(error)) from None


def _explain(error: ValidationError) -> str:
    first = error.errors()[0]
    name = ".".join(str(part) for part in first["loc"])
    message = first["msg"].removeprefix("Value error, ")
    if first["type"] == "missing":
        return f"has no key {name!r}, which every item of this format has"
    if isinstance(first["input"], Mapping):
        return message
    return f"{name!r} is {shown(first['input'])}: {message}"
