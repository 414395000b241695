"""When a sample ends: every rule, and the first of them that holds."""

from collections.abc import Sequence

import numpy as np
import pytest

from reasoning_anatomy.generation.stopping import StopRules, is_loop

PIECES = {1: "</s>", 2: "ab", 3: "c", 4: "cd\n", 5: "</", 6: "think", 7: ">", 8: " x"}
RULES = StopRules(ends_of_turn=frozenset({0, 1}), strings=("bc", "\n\n"), closing=(5, 6, 7), loop_tokens=32)


def decode(ids: Sequence[int]) -> str:
    return "".join(PIECES.get(token, "?") for token in ids)


@pytest.mark.parametrize(
    ("ids", "expected"),
    [
        ([8, 1], "eos"),
        ([8, 0], "eos"),
        ([8, 5, 6, 7], "think_closed"),
        ([8, 5, 6, 8, 7], None),
        ([6, 7], None),
        ([2, 3], "stop_string"),  # across a boundary
        ([2, 4], "stop_string"),  # ends within a token
        ([2, 8, 3], None),
        ([8] * 49 + [1], "eos"),  # the model's own end counts before the limit
        ([8] * 50, "length"),
        ([8, 2] * 16, "loop"),
        ([8] * 32, "loop"),
        ([8] * 31, None),
        ([8] * 33, None),  # is looked for at every 16th token
        ([2, 8, 3] * 16, "loop"),  # a piece of three, by which 32 cannot be divided
    ],
)
def test_the_reason_why_a_sample_ends(ids: list[int], expected: str | None) -> None:
    assert RULES.reason(ids, decode, max_tokens=50) == expected


def test_loops_are_looked_for_only_on_request() -> None:
    assert StopRules(ends_of_turn=frozenset(), loop_tokens=0).reason([8] * 64, decode, max_tokens=99) is None


def test_text_is_decoded_only_as_far_back_as_a_stop_string_may_reach() -> None:
    seen = []

    def remembering(ids: Sequence[int]) -> str:
        seen.append(len(ids))
        return decode(ids)

    ids = [8] * 1000 + [2, 3]
    assert RULES.reason(ids, remembering, max_tokens=5000) == "stop_string"
    assert max(seen) <= 8
    assert StopRules(ends_of_turn=frozenset(), loop_tokens=0).reason(ids, remembering, max_tokens=5000) is None
    assert len(seen) == 1


@pytest.mark.parametrize(
    ("ids", "n_tokens", "expected"),
    [
        ([1, 2, 3, 4] * 8, 32, True),
        ([9] * 3 + [1, 2, 3, 4] * 8, 32, True),
        ([1, 2, 3, 4] * 7 + [1, 2, 3, 5], 32, False),
        ([5, *[1, 2, 3, 4] * 7, 1, 2, 3], 32, False),
        (list(range(16)) * 2, 32, True),  # a piece must stand there twice
        ([*range(17), *range(15)], 32, False),
        ([1, 2, 3, 4] * 8, 33, False),
        (list(range(128)) * 4, 512, True),
        (list(range(129)) * 4, 512, False),  # pieces have 128 tokens at most
        ([1], 1, False),
    ],
)
def test_a_loop_is_one_piece_again_and_again(ids: list[int], n_tokens: int, expected: bool) -> None:
    assert is_loop(ids, n_tokens) is expected


def test_random_ids_are_no_loop() -> None:
    rng = np.random.default_rng(0)
    assert not any(is_loop(rng.integers(0, 3, 64).tolist(), 64) for _ in range(200))
