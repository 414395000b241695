"""What flows through the library: chains, measurements of them, and results.

Every type is frozen and checked when it is made; its arrays are read-only.
"""

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Annotated, Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationInfo, field_validator
from pydantic_core import to_json

from reasoning_anatomy import notebook
from reasoning_anatomy.untrusted import HALF_A_PAIR

IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float64]
Float32Array = npt.NDArray[np.float32]
CharacterSpan = tuple[int, int]
"""Half-open characters of a text."""

RESULT_COLUMNS: Final = (
    "term",
    "estimate",
    "ci_low",
    "ci_high",
    "p_value",
    "p_adjusted",
    "n_questions",
    "n_chains",
    "n_tokens",
)


def _whole_number_as_text(value: Any) -> Any:
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _zero_or_one_as_truth(value: Any) -> Any:
    return bool(value) if isinstance(value, int | float) and value in (0, 1) else value


Text = Annotated[str, BeforeValidator(_whole_number_as_text)]
"""Text, or a whole number, which is read as text."""
Truth = Annotated[bool, BeforeValidator(_zero_or_one_as_truth)]
"""True or false, or 1 or 0."""


class ReasoningChain(BaseModel):
    """Question, reasoning and answer of one sample. Text only, and none of it is trusted.

    Attributes
    ----------
    chain_id
        Unique within a file. A whole number is read as text.
    question_id
        The unit of statistics: chains on the same question share it. A whole number is read as text.
    question, reasoning, answer
        The three parts of the sample; none may be empty.
    gold_answer
        The correct answer, if known. A whole number is read as text.
    is_correct
        Whether ``answer`` is the correct one, if known; 1 and 0 are read as true and false.
    system_prompt
        Goes before the question; the model's own default if absent.
    step_starts
        Characters of ``reasoning`` at which steps begin, ascending, for the segmenter ``given``; 0 may be among them or not.
    source
        Provenance, free: teacher model, temperature, ...
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    chain_id: Text = Field(min_length=1)
    question_id: Text = Field(min_length=1)
    question: str = Field(min_length=1)
    reasoning: str
    answer: str
    gold_answer: Text | None = None
    is_correct: Truth | None = None
    system_prompt: str | None = None
    step_starts: tuple[int, ...] | None = None
    source: Mapping[str, Any] = Field(default_factory=dict)

    def _repr_html_(self) -> str:
        names = ("chain_id", "question_id", "system_prompt", "question", "reasoning", "answer", "gold_answer", "is_correct")
        known = {name: getattr(self, name) for name in names}
        return notebook.facts({name: value for name, value in known.items() if value is not None})

    @field_validator("reasoning", "answer")
    @classmethod
    def _has_text(cls, text: str) -> str:
        if not text.strip():
            raise ValueError("is empty; a chain needs reasoning and an answer to be measured")
        return text

    @field_validator(
        "chain_id", "question_id", "question", "reasoning", "answer", "gold_answer", "system_prompt", mode="before"
    )
    @classmethod
    def _is_unicode(cls, text: Any) -> Any:
        if isinstance(text, str) and HALF_A_PAIR.search(text):
            raise ValueError("holds half of a surrogate pair, which no tokenizer can read; repair the text")
        return text

    @field_validator("step_starts", mode="before")
    @classmethod
    def _begin_in_the_reasoning(cls, starts: Any, info: ValidationInfo) -> Any:
        if starts is None or "reasoning" not in info.data:
            return starts
        if not isinstance(starts, list | tuple) or any(type(start) is not int for start in starts):
            raise ValueError("is not a list of whole numbers; give the characters of 'reasoning' at which steps begin")
        length = len(info.data["reasoning"])
        for before, start in pairwise([-1, *starts]):
            if not 0 <= start < length:
                raise ValueError(
                    f"holds a character outside 'reasoning'; {start} is not in 0..{length - 1}: count its characters again"
                )
            if start <= before:
                raise ValueError(f"does not ascend; {start} stands after {before}: give each start once, in ascending order")
        return tuple(starts)

    @field_validator("source")
    @classmethod
    def _is_json(cls, source: Mapping[str, Any]) -> Mapping[str, Any]:
        try:
            json.dumps(source, ensure_ascii=False, allow_nan=False).encode()
            to_json(source)  # nested no deeper than can be written
        except (TypeError, ValueError, RecursionError) as error:
            raise ValueError(f"cannot be written as JSON ({error}); leave it out or write it as text") from None
        return source


@dataclass(frozen=True, eq=False)
class EncodedChain:
    """A chain as token ids of one model: prompt, reasoning and answer, tokenised apart.

    Attributes
    ----------
    chain
        The text.
    prompt_ids
        (p,) everything before the reasoning, chat template included; p >= 1.
    reasoning_ids
        (n,) the reasoning; index = position; n >= 1.
    answer_ids
        (m,) everything after the reasoning: separator, answer, end of turn; m >= 1.
    spans
        (n, 2) half-open character span in ``chain.reasoning`` of every reasoning token. Starts and ends
        never decrease; the tokens of a split character share its span.
    """

    chain: ReasoningChain
    prompt_ids: IntArray
    reasoning_ids: IntArray
    answer_ids: IntArray
    spans: IntArray

    def __post_init__(self) -> None:
        for name in ("prompt_ids", "reasoning_ids", "answer_ids", "spans"):
            object.__setattr__(self, name, _frozen(getattr(self, name), np.int64))
        for name in ("prompt_ids", "reasoning_ids", "answer_ids"):
            ids = getattr(self, name)
            if ids.ndim != 1 or ids.size == 0:
                raise ValueError(f"{self.chain_id}: {name} has shape {ids.shape}, expected one or more ids in a row")
        _expect_shape(self.chain_id, "spans", self.spans, (self.n_reasoning, 2))
        starts, ends = self.spans.T
        if starts[0] < 0 or np.any(starts > ends) or np.any(np.diff(starts) < 0) or np.any(np.diff(ends) < 0):
            raise ValueError(f"{self.chain_id}: spans go backwards")

    @property
    def chain_id(self) -> str:
        """Id of the chain."""
        return self.chain.chain_id

    @property
    def n_reasoning(self) -> int:
        """Number of reasoning tokens."""
        return len(self.reasoning_ids)

    @property
    def ids(self) -> IntArray:
        """(p + n + m,) the whole chain."""
        return np.concatenate([self.prompt_ids, self.reasoning_ids, self.answer_ids])

    def _repr_html_(self) -> str:
        counts = f"{len(self.prompt_ids):,} prompt, {self.n_reasoning:,} reasoning, {len(self.answer_ids):,} answer"
        strip = notebook.token_strip(self.chain.reasoning, self.spans.tolist())
        about = {"chain_id": self.chain_id, "tokens": counts, "question": self.chain.question, "reasoning": strip}
        return notebook.facts({**about, "answer": self.chain.answer})

    def keep(self, positions: IntArray) -> "EncodedChain":
        """Keep only the reasoning tokens at ``positions`` (k,), closed up; ids stay as they are, never tokenised again."""
        return dataclasses.replace(self, reasoning_ids=self.reasoning_ids[positions], spans=self.spans[positions])


@dataclass(frozen=True, eq=False)
class AttentionProfile:
    """Attention that every reasoning token receives, or another value that a scorer has by layer and head.

    Attributes
    ----------
    scorer
        Key of the scorer that asked for it.
    received
        (layers, heads, n) float32, what each reasoning token receives by the scorer's definition: a mean or sum over
        the query tokens of post-softmax weights, or of what they carry; higher = more attention. Scorers of keys have
        their own value here, higher = more important, and one row for each KV head. NaN in layers without attention.
    queries
        Which tokens attend, in words.
    normalisation
        What was done to the weights, in words.
    full_precision
        Whether a file keeps them in float32, for values whose differences matter even if they are large. Attention
        weights are kept in half precision.
    """

    scorer: str
    received: Float32Array
    queries: str
    normalisation: str
    full_precision: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "received", _frozen(self.received, np.float32))
        if self.received.ndim != 3:
            raise ValueError(f"{self.scorer}: received has shape {self.received.shape}, expected (layers, heads, n)")

    @property
    def attending_layers(self) -> IntArray:
        """(k,) layers that have a value, ascending; the others are NaN."""
        return np.flatnonzero(~np.isnan(self.received).all(axis=(1, 2)))

    @property
    def is_finite(self) -> bool:
        """Whether all values of the attending layers are finite numbers, and there are some."""
        layers = self.attending_layers
        return len(layers) > 0 and bool(np.isfinite(self.received[layers]).all())


@dataclass(frozen=True, eq=False)
class PathStages:
    """What was measured on one chain at several stages of a path, each with the tokens that are left when it is reached.

    Attributes
    ----------
    keep_ratios
        (k,) shares of the reasoning tokens that were asked for, descending from 1, the unpruned chain.
    achieved
        (k,) shares that are left.
    nll
        (k, n) mean nll of the answer, in nats per token, if this token were deleted next; higher = its loss hurts more. NaN
        where the token is deleted already.
    received
        (k, layers, heads, n) float32, attention that each token receives from the answer tokens at this stage, their mean, by
        one pass over the tokens that are left; higher = more attention. NaN where the token is deleted already, and in layers
        without attention.
    """

    keep_ratios: FloatArray
    achieved: FloatArray
    nll: FloatArray
    received: Float32Array

    def __post_init__(self) -> None:
        for name in ("keep_ratios", "achieved", "nll"):
            object.__setattr__(self, name, _frozen(getattr(self, name), np.float64))
        object.__setattr__(self, "received", _frozen(self.received, np.float32))
        if self.received.ndim != 4:
            raise ValueError(f"received has shape {self.received.shape}, expected (stages, layers, heads, n)")
        k, n = len(self.keep_ratios), self.received.shape[-1]
        _expect_shape("stages", "achieved", self.achieved, (k,))
        _expect_shape("stages", "nll", self.nll, (k, n))
        _expect_shape("stages", "received", self.received, (k, *self.received.shape[1:3], n))

    @property
    def is_left(self) -> npt.NDArray[np.bool_]:
        """(k, n) whether a token is left at a stage."""
        return ~np.isnan(self.nll)

    @property
    def attending_layers(self) -> IntArray:
        """(l,) layers that have attention, ascending; the others are NaN."""
        return np.flatnonzero(~np.isnan(self.received).all(axis=(0, 2, 3)))

    @property
    def is_finite(self) -> bool:
        """Whether every token that is left has a finite attention in all attending layers, and there are some."""
        layers = self.attending_layers
        values = np.moveaxis(self.received[:, layers], -1, 1)[self.is_left]
        return len(layers) > 0 and bool(np.isfinite(values).all() and not np.isinf(self.nll).any())


@dataclass(frozen=True, eq=False)
class TokenScores:
    """What a scorer says about one chain.

    Attributes
    ----------
    score
        (n,) float64, one finite number per reasoning token; higher = more important.
    profile
        Its values by layer and head, if it has them.
    stages
        What it measures at several stages of a path, if it does.
    """

    score: FloatArray
    profile: AttentionProfile | None = None
    stages: PathStages | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "score", _frozen(self.score, np.float64))
        if self.score.ndim != 1:
            raise ValueError(f"score has shape {self.score.shape}, expected (n,)")
        if self.stages is not None:
            _expect_shape("stages", "nll", self.stages.nll, (len(self.stages.nll), len(self.score)))


@dataclass(frozen=True, eq=False)
class Fit:
    """What a scorer finds in all chains, by question, so that a chain can be scored by what is found in the others.

    Attributes
    ----------
    by_question
        An array by question_id, all of one shape.
    n_chains
        How many chains took part.
    left_out
        Reason by chain_id, for the chains that did not.
    """

    by_question: Mapping[str, FloatArray]
    n_chains: int
    left_out: Mapping[str, str]


@dataclass(frozen=True)
class ChainNll:
    """Mean negative log-likelihoods of the current chain, in nats per token.

    Attributes
    ----------
    answer, joint, reasoning
        Of the answer, of kept reasoning and answer, of kept reasoning (NaN if none is left).
    """

    answer: float
    joint: float
    reasoning: float


@dataclass(frozen=True, eq=False)
class DeletionScores:
    """Log-likelihoods in nats (sums) if one more token were deleted, for each of the k kept tokens in order.

    Attributes
    ----------
    positions
        (k,) the candidates.
    answer
        (k,) of the answer.
    reasoning
        (k,) of the reasoning that would be left, or None if it was not asked for.
    """

    positions: IntArray
    answer: FloatArray
    reasoning: FloatArray | None


@dataclass(frozen=True, eq=False)
class PruningPath:
    """The deletion order of one chain under one strategy, with its likelihood curves.

    Attributes
    ----------
    strategy
        ``repr`` of the strategy: its provenance.
    n_reasoning
        Number n of reasoning tokens of the unpruned chain.
    deleted
        (k,) positions in the order of their deletion.
    margin
        (k,) objective of the runner-up minus objective of the deleted token, in nats per token; NaN if
        there was no runner-up, or if the strategy does not compare candidates.
    n_ties
        Number of deletions whose margin was within the strategy's tie tolerance.
    nll_answer, nll_joint, nll_reasoning
        (k + 1,) mean negative log-likelihood in nats per token of the answer, of kept reasoning and answer,
        and of the kept reasoning, after each deletion; index 0 is the unpruned chain. NaN if not
        evaluated; ``nll_reasoning`` is also NaN if no reasoning is left.
    token_forwards
        Tokens that were run through the model to find the path.
    token_budget
        Tokens of one forward pass at the end: the strategy's own, halved as often as memory ran out. None
        if the strategy has no budget.
    unit
        (k,) number of the piece of reasoning, such as a step, that each deleted token is part of, 0 = deleted first; they
        never decrease. None if tokens are deleted one by one.
    unit_score
        (u,) importance of every such piece in the order of deletion, higher = more important; None if pieces have none.
    other_score
        (v,) importance of pieces without a reasoning token, such as a tag of thinking, with which the strategy's rule compares
        the others; None if it compares none.
    """

    strategy: str
    n_reasoning: int
    deleted: IntArray
    margin: FloatArray
    n_ties: int
    nll_answer: FloatArray
    nll_joint: FloatArray
    nll_reasoning: FloatArray
    token_forwards: int = 0
    token_budget: int | None = None
    unit: IntArray | None = None
    unit_score: FloatArray | None = None
    other_score: FloatArray | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "deleted", _frozen(self.deleted, np.int64))
        for name in ("margin", "nll_answer", "nll_joint", "nll_reasoning"):
            object.__setattr__(self, name, _frozen(getattr(self, name), np.float64))
        k = len(self.deleted)
        if len(set(self.deleted.tolist())) != k or np.any((self.deleted < 0) | (self.deleted >= self.n_reasoning)):
            raise ValueError(f"{self.strategy}: deleted must name each position of 0..{self.n_reasoning - 1} at most once")
        _expect_shape(self.strategy, "margin", self.margin, (k,))
        for name in ("nll_answer", "nll_joint", "nll_reasoning"):
            _expect_shape(self.strategy, name, getattr(self, name), (k + 1,))
        self._check_units()

    def _check_units(self) -> None:
        if self.unit is not None:
            object.__setattr__(self, "unit", _frozen(self.unit, np.int64))
            _expect_shape(self.strategy, "unit", self.unit, (len(self.deleted),))
            if not np.isin(np.diff(self.unit, prepend=-1), (0, 1)).all() or (len(self.unit) and self.unit[0] != 0):
                raise ValueError(f"{self.strategy}: units must be numbered from 0 in the order of deletion")
        if self.unit_score is not None:
            object.__setattr__(self, "unit_score", _frozen(self.unit_score, np.float64))
            n_units = 0 if self.unit is None or not len(self.unit) else int(self.unit[-1]) + 1
            _expect_shape(self.strategy, "unit_score", self.unit_score, (n_units,))
        if self.other_score is not None:
            object.__setattr__(self, "other_score", _frozen(self.other_score, np.float64))

    @property
    def deletion_step(self) -> FloatArray:
        """(n,) step at which each position was deleted, 1 = first; NaN = never deleted (censored)."""
        steps = np.full(self.n_reasoning, np.nan)
        steps[self.deleted] = np.arange(1, len(self.deleted) + 1)
        return steps


@dataclass(frozen=True, eq=False)
class Annotation:
    """The functional category of every reasoning token of one chain.

    Attributes
    ----------
    annotator
        ``repr`` of the annotator: its provenance.
    category
        (n,) one of ``reasoning_anatomy.categories.CATEGORIES`` per token; None = not labelled.
    confidence
        (n,) in 0..1, or None if the annotator gives no confidence.
    justification
        (n,) one line of text, not trusted, why a token has its category; None if the annotator gives no reasons.
    votes
        (n,) how many annotators chose the category, if several voted; else None.
    """

    annotator: str
    category: tuple[str | None, ...]
    confidence: FloatArray | None = None
    justification: tuple[str | None, ...] | None = None
    votes: IntArray | None = None

    def __post_init__(self) -> None:
        for name, dtype in (("confidence", np.float64), ("votes", np.int64), ("justification", object)):
            values = getattr(self, name)
            if values is not None:
                array = _frozen(values, dtype)
                _expect_shape(self.annotator, name, array, (len(self.category),))
                if name != "justification":
                    object.__setattr__(self, name, array)


@dataclass(frozen=True, eq=False)
class AnalysisResult:
    """What an analysis found: one table with fixed columns, details, and what was left out.

    Attributes
    ----------
    name
        Key of the analysis: its module's name.
    table
        Columns ``RESULT_COLUMNS``, one row per term; unrounded. Columns before them say what a row is about, if the
        term alone does not: ``scorer``, ``strategy``, ``annotator``.
    details
        Further tables by name; each becomes ``<name>.csv``.
    exclusions
        Number of units left out, by reason.
    warnings
        What a reader must know before believing the table.
    config
        ``repr`` of the analysis: its options.
    provenance
        Where the numbers come from: run, model, versions.
    finding
        What was found, in a sentence or two with intervals and caveats: what a reader sees before any table.
    printed
        What a terminal shows in place of a table that has too many rows to be read; None shows the table.
    """

    name: str
    table: pd.DataFrame
    details: Mapping[str, pd.DataFrame] = field(default_factory=dict)
    exclusions: Mapping[str, int] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    config: str = ""
    provenance: Mapping[str, Any] = field(default_factory=dict)
    finding: str = ""
    printed: pd.DataFrame | None = None

    def __post_init__(self) -> None:
        if tuple(self.table.columns[-len(RESULT_COLUMNS) :]) != RESULT_COLUMNS:
            raise ValueError(
                f"{self.name}: table has columns {list(self.table.columns)}, expected {list(RESULT_COLUMNS)} at the end"
            )

    def _repr_html_(self) -> str:
        exclusions = ", ".join(f"{count:,} {reason.replace('_', ' ')}" for reason, count in self.exclusions.items())
        parts = [
            notebook.paragraph(self.finding or self.name, strong=True),
            notebook.listed(self.warnings),
            notebook.table(self.table if self.printed is None else self.printed),
            notebook.paragraph(f"Left out: {exclusions or 'nothing'}. Details: {', '.join(self.details) or 'none'}."),
        ]
        return "".join(parts)


def _frozen(array: npt.ArrayLike, dtype: npt.DTypeLike) -> npt.NDArray[Any]:
    copy = np.array(array, dtype=dtype)
    copy.flags.writeable = False
    return copy


def _expect_shape(owner: str, name: str, array: npt.NDArray[Any], shape: tuple[int, ...]) -> None:
    if array.shape != shape:
        raise ValueError(f"{owner}: {name} has shape {array.shape}, expected {shape}")
