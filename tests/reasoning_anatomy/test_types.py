"""The types refuse what cannot be, and nothing in them can be changed."""

import dataclasses
from typing import Any

import numpy as np
import pandas as pd
import pytest

from reasoning_anatomy.types import (
    RESULT_COLUMNS,
    AnalysisResult,
    Annotation,
    AttentionProfile,
    EncodedChain,
    PathStages,
    PruningPath,
    ReasoningChain,
    TokenScores,
)

CHAIN = ReasoningChain(chain_id="c", question_id="q", question="?", reasoning="ab", answer="c")
ENCODED: dict[str, Any] = {
    "chain": CHAIN, "prompt_ids": [1], "reasoning_ids": [2, 3], "answer_ids": [4], "spans": [[0, 1], [1, 2]],
}  # fmt: skip
PATH: dict[str, Any] = {
    "strategy": "S()", "n_reasoning": 4, "deleted": [2, 0], "margin": [0.1, np.nan], "n_ties": 0,
    "nll_answer": [3.0, 2.0, 1.0], "nll_joint": [3.0, 2.0, 1.0], "nll_reasoning": [3.0, 2.0, 1.0],
}  # fmt: skip
EXAMPLES = [
    EncodedChain(**ENCODED),
    AttentionProfile("s", np.zeros((1, 2, 3)), "queries", "none"),
    TokenScores(np.zeros(3)),
    PathStages(np.ones(1), np.ones(1), np.zeros((1, 3)), np.zeros((1, 2, 4, 3))),
    PruningPath(**PATH),
    Annotation("A()", ("OTHER",), np.array([0.5])),
]


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: type(example).__name__)
def test_fields_are_frozen_and_arrays_are_read_only(example: Any) -> None:
    arrays = [value for name in vars(example) if isinstance(value := getattr(example, name), np.ndarray)]
    assert arrays
    for array in arrays:
        with pytest.raises(ValueError, match="read-only"):
            array[...] = 0
    name = dataclasses.fields(example)[0].name
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(example, name, None)


def test_the_array_that_was_given_is_neither_frozen_nor_shared() -> None:
    received = np.zeros((1, 1, 2), dtype=np.float32)
    profile = AttentionProfile("s", received, "queries", "none")
    received[:] = 1
    assert profile.received.tolist() == [[[0, 0]]]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"prompt_ids": []}, r"c: prompt_ids has shape \(0,\), expected one or more ids"),
        ({"reasoning_ids": []}, r"c: reasoning_ids has shape \(0,\)"),
        ({"answer_ids": [[4]]}, r"c: answer_ids has shape \(1, 1\)"),
        ({"spans": [[0, 1]]}, r"c: spans has shape \(1, 2\), expected \(2, 2\)"),
        ({"spans": [[0, 1, 2], [0, 1, 2]]}, r"c: spans has shape \(2, 3\), expected \(2, 2\)"),
        ({"spans": [[1, 2], [0, 3]]}, "c: spans go backwards"),
        ({"spans": [[0, 3], [1, 2]]}, "c: spans go backwards"),
        ({"spans": [[1, 0], [1, 2]]}, "c: spans go backwards"),
        ({"spans": [[-1, 0], [1, 2]]}, "c: spans go backwards"),
    ],
)
def test_an_encoded_chain_is_checked(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        EncodedChain(**(ENCODED | changes))


def test_an_encoded_chain_joins_its_parts_in_order() -> None:
    encoded = EncodedChain(**ENCODED)
    assert encoded.ids.tolist() == [1, 2, 3, 4]
    assert encoded.n_reasoning == 2


def test_tokens_of_a_split_character_may_share_a_span() -> None:
    assert EncodedChain(**(ENCODED | {"spans": [[0, 1], [0, 1]]})).spans.tolist() == [[0, 1], [0, 1]]


def test_a_profile_needs_three_axes() -> None:
    with pytest.raises(ValueError, match=r"s: received has shape \(2, 3\), expected \(layers, heads, n\)"):
        AttentionProfile("s", np.zeros((2, 3)), "queries", "none")


def test_scores_are_one_number_a_token() -> None:
    with pytest.raises(ValueError, match=r"score has shape \(2, 3\), expected \(n,\)"):
        TokenScores(np.zeros((2, 3)))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"deleted": [2, 2]}, r"S\(\): deleted must name each position of 0..3 at most once"),
        ({"deleted": [2, 4]}, "deleted must name each position"),
        ({"deleted": [2, -1]}, "deleted must name each position"),
        ({"margin": [0.1]}, r"S\(\): margin has shape \(1,\), expected \(2,\)"),
        ({"nll_answer": [1.0, 2.0]}, r"S\(\): nll_answer has shape \(2,\), expected \(3,\)"),
        ({"nll_joint": [1.0]}, "nll_joint has shape"),
        ({"nll_reasoning": [1.0] * 4}, "nll_reasoning has shape"),
    ],
)
def test_a_path_is_checked(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        PruningPath(**(PATH | changes))


def test_deletion_step_counts_from_one_and_is_missing_where_never_deleted() -> None:
    # position 2 went first and position 0 second; 1 and 3 were never deleted
    np.testing.assert_array_equal(PruningPath(**PATH).deletion_step, [2, np.nan, 1, np.nan])


def test_confidence_is_one_number_a_token_or_none() -> None:
    assert Annotation("A()", ("OTHER", "OTHER")).confidence is None
    with pytest.raises(ValueError, match=r"A\(\): confidence has shape \(1,\), expected \(2,\)"):
        Annotation("A()", ("OTHER", "OTHER"), np.array([0.5]))


@pytest.mark.parametrize(("name", "values"), [("votes", np.array([1])), ("justification", ("because",))])
def test_votes_and_justifications_are_one_a_token(name: str, values: Any) -> None:
    assert getattr(Annotation("A()", ("OTHER", None)), name) is None
    with pytest.raises(ValueError, match=rf"A\(\): {name} has shape \(1,\), expected \(2,\)"):
        Annotation("A()", ("OTHER", None), **{name: values})


@pytest.mark.parametrize("columns", [RESULT_COLUMNS[1:], (*RESULT_COLUMNS, "extra"), tuple(reversed(RESULT_COLUMNS))])
def test_a_result_has_the_fixed_columns_in_order(columns: tuple[str, ...]) -> None:
    assert AnalysisResult("a", pd.DataFrame(columns=list(RESULT_COLUMNS))).table.empty
    with pytest.raises(ValueError, match=r"a: table has columns .* expected "):
        AnalysisResult("a", pd.DataFrame(columns=list(columns)))
