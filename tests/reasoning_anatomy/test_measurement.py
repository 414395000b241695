"""The file of one chain: everything comes back, and nothing else is taken for it."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load, save

from reasoning_anatomy.errors import RunError
from reasoning_anatomy.run.measurement import (
    Measurement,
    chain_digest,
    file_name,
    pack,
    read_measurement,
    unpack,
    write_measurement,
)
from reasoning_anatomy.types import AttentionProfile, EncodedChain, PruningPath, ReasoningChain

ARRAYS = {
    "encoded": ("prompt_ids", "reasoning_ids", "answer_ids", "spans"),
    "path": ("deleted", "margin", "nll_answer", "nll_joint", "nll_reasoning"),
}


CHAIN = {"chain_id": "c", "question_id": "q", "question": "Q", "reasoning": "R", "answer": "A"}


def text(chain_id: str = "c") -> ReasoningChain:
    return ReasoningChain(**(CHAIN | {"chain_id": chain_id}))


def measure(chain_id: str = "c") -> Measurement:
    rng = np.random.default_rng(0)
    n, k = 5, 3
    spans = np.stack([np.arange(n), np.arange(n) + 1], axis=1)
    encoded = EncodedChain(text(chain_id), [1, 2], rng.integers(0, 50_000, n), [9], spans)
    path = PruningPath(
        "Greedy(objective='joint')", n, rng.permutation(n)[:k], [0.1, np.nan, 0.0], 1, *rng.random((3, k + 1)),
        token_forwards=77, token_budget=64,
    )  # fmt: skip
    profile = AttentionProfile("answer_attention", rng.random((2, 3, n)), "answer tokens", "none")
    return Measurement(
        encoded,
        scores={"answer_attention": rng.random(n), "é/😀:a=b": rng.random(n)},
        profiles={"answer_attention": profile},
        paths={"greedy:objective=joint": path, "other": path},
        begun={"begun": path},
    )


@pytest.fixture
def written(tmp_path: Path) -> Path:
    path = tmp_path / "chains" / "c.safetensors"
    write_measurement(path, measure(), fingerprint="f")
    return path


def same(a: Any, b: Any) -> None:
    assert a.dtype == b.dtype
    np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("fingerprint", ["f", None])
def test_every_array_and_fact_comes_back(written: Path, fingerprint: str | None) -> None:
    expected, found = measure(), read_measurement(written, text(), fingerprint=fingerprint)
    assert found.encoded.chain_id == "c"
    for name in ARRAYS["encoded"]:
        same(getattr(found.encoded, name), getattr(expected.encoded, name))
    assert list(found.scores) == list(expected.scores)
    for label, score in expected.scores.items():
        same(found.scores[label], score)
    assert list(found.profiles) == list(expected.profiles)
    for label, profile in expected.profiles.items():
        again = found.profiles[label]
        same(again.received, unpack(*pack(profile.received)))
        assert (again.scorer, again.queries, again.normalisation) == (profile.scorer, profile.queries, profile.normalisation)
    assert list(found.paths) == list(expected.paths)
    assert list(found.begun) == list(expected.begun)
    for label, path in {**expected.paths, **expected.begun}.items():
        again = {**found.paths, **found.begun}[label]
        for name in ARRAYS["path"]:
            same(getattr(again, name), getattr(path, name))
        assert (again.strategy, again.n_ties, again.token_forwards, again.token_budget) == (path.strategy, 1, 77, 64)
        assert again.n_reasoning == 5


@settings(max_examples=300, deadline=None, derandomize=True)
@given(
    st.integers(-100, 20),
    st.lists(st.floats(0, 1, width=32) | st.floats(1 - 2**-10, 1, width=32) | st.just(2**-29), min_size=1, max_size=20),
)
def test_attention_comes_back_within_the_stated_error(exponent: int, fractions: list[float]) -> None:
    received = np.ldexp(np.array([[fractions, [1.0] * len(fractions)]], dtype=np.float32), exponent)
    packed, scale = pack(received)
    found, largest = unpack(packed, scale), received.max(axis=2, keepdims=True)
    assert (packed.dtype, scale.dtype, found.dtype) == (np.float16, np.float32, np.float32)
    error = np.abs(found.astype(float) - received)
    assert (error <= np.where(received >= 2.0**-28 * largest, 2.0**-11 * received, 2.0**-39 * largest)).all()
    again = pack(found)
    assert (again[0].tobytes(), again[1].tobytes()) == (packed.tobytes(), scale.tobytes())


def test_values_of_which_the_differences_count_come_back_to_the_last_bit(tmp_path: Path) -> None:
    """Float16 has 16 values between 20 and 20.25; norms of keys lie closer than that."""
    norms = -(20 + np.linspace(0, 0.25, 500, dtype=np.float32))[None, None]
    assert len(np.unique(pack(norms)[0])) == 17
    spans = np.stack([np.arange(500), np.arange(1, 501)], axis=1)
    encoded = EncodedChain(text(), [1], np.arange(500), [2], spans)
    profiles = {"key_norm": AttentionProfile("key_norm", norms, "none", "none", full_precision=True)}
    write_measurement(tmp_path / "c", Measurement(encoded, profiles=profiles), fingerprint="f")
    found = read_measurement(tmp_path / "c", text()).profiles["key_norm"]
    same(found.received, norms)
    assert found.full_precision
    assert len(np.unique(found.received)) == 500


@pytest.mark.parametrize("largest", [0.0, 1e-38, 3e4, 1e30])
def test_attention_of_any_size_is_stored_without_overflow(largest: float) -> None:
    found = unpack(*pack(np.array([[[largest, 0]]], dtype=np.float32)))
    np.testing.assert_allclose(found, [[[largest, 0]]], rtol=2**-11)


def test_the_same_measurement_gives_the_same_bytes(written: Path) -> None:
    before = written.read_bytes()
    write_measurement(written, read_measurement(written, text()), fingerprint="f")
    assert written.read_bytes() == before


def test_a_chain_without_scores_and_paths_comes_back(tmp_path: Path) -> None:
    write_measurement(tmp_path / "c", Measurement(measure().encoded), fingerprint="f")
    found = read_measurement(tmp_path / "c", text())
    assert (found.scores, found.profiles, found.paths) == ({}, {}, {})


def test_another_fingerprint_is_refused_and_the_file_stays(written: Path) -> None:
    before = written.read_bytes()
    with pytest.raises(RunError) as refused:
        read_measurement(written, text(), fingerprint="g")
    assert str(refused.value) == f"{written}: measured from another text or configuration; use another run folder"
    assert written.read_bytes() == before


def truncated(length: int) -> Callable[[bytes], bytes]:
    return lambda content: content[:length]


def with_metadata(**changes: Any) -> Callable[[bytes], bytes]:
    def damage(content: bytes) -> bytes:
        size = int.from_bytes(content[:8], "little")
        facts = json.loads(json.loads(content[8 : 8 + size])["__metadata__"]["reasoning_anatomy"]) | changes
        return save(load(content), metadata={"reasoning_anatomy": json.dumps(facts)})

    return damage


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "empty": truncated(0),
    "part of the length": truncated(5),
    "part of the header": truncated(100),
    "one byte short": truncated(-1),
    "one byte long": lambda content: content + b"\0",
    "other bytes": lambda content: b"\xff" * len(content),
    "text": lambda content: b"not a tensor file at all",
    "no metadata": lambda content: save(load(content)),
    "metadata of another program": lambda content: save(load(content), metadata={"format": "pt"}),
    "metadata that is no JSON": lambda content: save(load(content), metadata={"reasoning_anatomy": "{"}),
    "metadata that is no object": lambda content: save(load(content), metadata={"reasoning_anatomy": "[]"}),
    "a score that is not there": with_metadata(scores=["nope"]),
    "profiles that are a list": with_metadata(profiles=[]),
    "unknown facts of a profile": with_metadata(profiles={"answer_attention": {"colour": "red"}}),
    "facts of a path missing": with_metadata(paths={"other": {}}),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_file_is_refused_with_path_and_remedy(written: Path, damage: Callable[[bytes], bytes]) -> None:
    written.write_bytes(damage(written.read_bytes()))
    with pytest.raises(RunError) as refused:
        read_measurement(written, text(), fingerprint="f")
    message = str(refused.value)
    assert message.startswith(f"{written}: cannot be read (")
    assert message.endswith("); delete the file and run the same command again")
    assert "\n" not in message


def test_one_changed_number_is_noticed(written: Path) -> None:
    content = bytearray(written.read_bytes())
    content[-3] ^= 1
    written.write_bytes(content)
    with pytest.raises(RunError, match=r"its numbers are not those that were written.*delete the file"):
        read_measurement(written, text(), fingerprint="f")


def test_the_file_of_another_chain_is_refused(written: Path) -> None:
    with pytest.raises(RunError, match=r"it holds chain 'c', not 'd'"):
        read_measurement(written, text("d"))


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"none\.safetensors: cannot be read"):
        read_measurement(tmp_path / "none.safetensors", text())


IDS = ["../../x", "a/b", "a\\b", "/etc/passwd", "..", ".", "x" * 10_000, "😀", "con", "NUL.txt", "a\nb", "a\0b", " ", "-",
       "a b", "A", "a", "é", "e\u0301", "~", "$HOME", "*", "c:"]  # fmt: skip


@pytest.mark.parametrize("chain_id", IDS, ids=lambda chain_id: ascii(chain_id)[:20])
def test_a_file_name_never_leaves_the_folder(tmp_path: Path, chain_id: str) -> None:
    name = file_name(chain_id)
    path = tmp_path / name
    assert path.resolve().parent == tmp_path.resolve()
    assert len(name) <= 80
    assert set(name) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.")
    assert name[0] not in "-."  # neither an option nor hidden
    assert name.split(".")[0].lower() not in ("con", "nul")  # reserved on Windows, whatever the extension
    write_measurement(path, measure(chain_id), fingerprint="f")
    assert list(tmp_path.iterdir()) == [path]
    assert read_measurement(path, text(chain_id)).encoded.chain_id == chain_id


def test_distinct_ids_have_distinct_names_even_where_case_does_not_count() -> None:
    ids = [*IDS, *(f"a/{n}" for n in range(1000)), *(f"a-{n}" for n in range(1000)), *("x" * n for n in range(2, 200))]
    assert len({file_name(chain_id).lower() for chain_id in ids}) == len(ids)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(
    st.text(st.characters(exclude_categories=("Cs",)), min_size=1),
    st.text(st.characters(exclude_categories=("Cs",)), min_size=1),
)
def test_names_are_equal_where_ids_are(one: str, two: str) -> None:
    assert (file_name(one) == file_name(two)) == (one == two)
    assert "/" not in file_name(one)


@pytest.mark.parametrize(
    "changes", [{"question": "x"}, {"reasoning": "x"}, {"answer": "x"}, {"system_prompt": "x"}, {"system_prompt": ""}]
)
def test_any_text_that_is_measured_changes_the_digest(changes: dict[str, str]) -> None:
    assert chain_digest(ReasoningChain(**CHAIN)) != chain_digest(ReasoningChain(**(CHAIN | changes)))


@pytest.mark.parametrize("changes", [{"gold_answer": "x"}, {"is_correct": True}, {"source": {"a": 1}}])
def test_what_is_not_measured_does_not(changes: dict[str, Any]) -> None:
    assert chain_digest(ReasoningChain(**CHAIN)) == chain_digest(ReasoningChain(**(CHAIN | changes)))


def test_text_cannot_move_from_one_part_to_the_next() -> None:
    one, two = CHAIN | {"question": "QR", "reasoning": "R"}, CHAIN | {"question": "Q", "reasoning": "RR"}
    assert chain_digest(ReasoningChain(**one)) != chain_digest(ReasoningChain(**two))
