"""The files of one chain: everything comes back, in parts too, and nothing else is taken for it."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load, save

from reasoning_anatomy.errors import RunError
from reasoning_anatomy.run.arrays import read_arrays, write_arrays
from reasoning_anatomy.run.encoded import read_encoded, write_encoded
from reasoning_anatomy.run.fit import read_fit, write_fit
from reasoning_anatomy.run.layout import Layout, file_stem
from reasoning_anatomy.run.manifest import Configuration, ModelIdentity
from reasoning_anatomy.run.origin import Origin, chain_digest, origin_of, with_need
from reasoning_anatomy.run.packing import pack, unpack
from reasoning_anatomy.run.paths import read_path, write_path
from reasoning_anatomy.run.scores import read_scores, write_scores
from reasoning_anatomy.types import AttentionProfile, EncodedChain, Fit, PathStages, PruningPath, ReasoningChain, TokenScores

REMEDY = "delete the file and run the same command again"
CHAIN = {"chain_id": "c", "question_id": "q", "question": "Q", "reasoning": "R", "answer": "A"}
MODEL = ModelIdentity(
    id="m", revision=None, architecture="A", n_layers=2, n_heads=3, weights="w", template="t", dtype="float32",
    device="cpu", quantization=None,
)  # fmt: skip
CONFIGURATION = Configuration(model=MODEL, encoding="E()")

RNG = np.random.default_rng(0)
N, K = 5, 3
ENCODED = EncodedChain(
    ReasoningChain(**CHAIN), [1, 2], RNG.integers(0, 50_000, N), [9], np.stack([np.arange(N), np.arange(N) + 1], axis=1)
)
SCORES = TokenScores(RNG.random(N), AttentionProfile("answer_attention", RNG.random((2, 3, N)), "answer tokens", "none"))
PATH = PruningPath(
    "Greedy(objective='joint')", N, RNG.permutation(N)[:K], [0.1, np.nan, 0.0], 1, *RNG.random((3, K + 1)),
    token_forwards=77, token_budget=64,
)  # fmt: skip
FIT = Fit({"q/1": RNG.random((2, 3)), "é": RNG.random((2, 3))}, 7, {"c9": "too short"})


def text(**changes: Any) -> ReasoningChain:
    return ReasoningChain(**(CHAIN | changes))


def origin(plugin: str | None = "P()", **changes: Any) -> Origin:
    return origin_of(CONFIGURATION, text(**changes), plugin)


WRITE: dict[str, Callable[[Path], None]] = {
    "encoded": lambda path: write_encoded(path, ENCODED, origin=origin(None)),
    "score": lambda path: write_scores(path, SCORES, chain_id="c", origin=origin()),
    "path": lambda path: write_path(path, PATH, chain_id="c", origin=origin()),
    "fit": lambda path: write_fit(path, FIT, origin=origin()),
}
READ: dict[str, Callable[..., Any]] = {
    "encoded": lambda path, **changes: read_encoded(
        path, text(), **{"origin": origin(None), "run_folder": path.parents[2]} | changes
    ),
    "score": lambda path, **changes: read_scores(path, **{"origin": origin(), "run_folder": path.parents[2]} | changes),
    "path": lambda path, **changes: read_path(path, **{"origin": origin(), "run_folder": path.parents[2]} | changes),
    "fit": lambda path, **changes: read_fit(path, **{"origin": origin(), "run_folder": path.parents[2]} | changes),
}
of_a_chain = pytest.mark.parametrize("kind", ["encoded", "score", "path"])


@pytest.fixture
def written(tmp_path: Path) -> dict[str, Path]:
    """One file of each kind, by kind."""
    paths = {kind: tmp_path / "chains" / "c" / f"{kind}.safetensors" for kind in WRITE}
    for kind, path in paths.items():
        WRITE[kind](path)
    return paths


def same(a: Any, b: Any) -> None:
    assert a.dtype == b.dtype
    np.testing.assert_array_equal(a, b)


# -- what is written comes back


def test_ids_and_spans_come_back(written: dict[str, Path]) -> None:
    found = READ["encoded"](written["encoded"])
    assert found.chain == text()
    for name in ("prompt_ids", "reasoning_ids", "answer_ids", "spans"):
        same(getattr(found, name), getattr(ENCODED, name))


def test_scores_come_back_and_their_profile_in_half_precision(written: dict[str, Path]) -> None:
    found = READ["score"](written["score"])
    same(found.score, SCORES.score)
    assert SCORES.profile is not None
    same(found.profile.received, unpack(*pack(SCORES.profile.received)))
    for name in ("scorer", "queries", "normalisation", "full_precision"):
        assert getattr(found.profile, name) == getattr(SCORES.profile, name)


def test_scores_without_a_profile_come_back(tmp_path: Path) -> None:
    write_scores(tmp_path / "s", TokenScores(SCORES.score), chain_id="c", origin=origin())
    found = read_scores(tmp_path / "s", origin=origin(), run_folder=tmp_path)
    same(found.score, SCORES.score)
    assert found.profile is None


def test_stages_come_back_with_their_attention_in_half_precision(tmp_path: Path) -> None:
    left = np.array([[True] * N, [True, False, True, True, False]])
    nll = np.where(left, RNG.random((2, N)), np.nan)
    received = np.where(left[:, None, None], RNG.random((2, 2, 3, N)), np.nan).astype(np.float32)
    received[:, 1] = np.nan  # a layer without attention
    scores = TokenScores(nll[0], stages=PathStages(np.array([1, 0.7]), np.array([1, 0.6]), nll, received))
    write_scores(tmp_path / "s", scores, chain_id="c", origin=origin())
    found = read_scores(tmp_path / "s", origin=origin(), run_folder=tmp_path).stages
    assert found is not None
    for name in ("keep_ratios", "achieved", "nll"):
        same(getattr(found, name), getattr(scores.stages, name))
    np.testing.assert_allclose(found.received, received, rtol=2**-11)
    assert (found.attending_layers.tolist(), found.is_finite) == ([0], True)
    assert read_scores(tmp_path / "s", origin=origin(), run_folder=tmp_path, with_profile=False).stages is None
    arrays, facts = read_arrays(tmp_path / "s")
    write_arrays(tmp_path / "s", {name: each for name, each in arrays.items() if name != "stages_scale"}, facts)
    with pytest.raises(RunError, match="cannot be read"):
        read_scores(tmp_path / "s", origin=origin(), run_folder=tmp_path)


def test_every_array_and_fact_of_a_path_comes_back(written: dict[str, Path]) -> None:
    found = READ["path"](written["path"])
    for name in ("deleted", "margin", "nll_answer", "nll_joint", "nll_reasoning"):
        same(getattr(found, name), getattr(PATH, name))
    assert (found.strategy, found.n_reasoning, found.n_ties) == (PATH.strategy, 5, 1)
    assert (found.token_forwards, found.token_budget) == (77, 64)


def test_a_fit_comes_back_to_the_last_bit(written: dict[str, Path]) -> None:
    found = READ["fit"](written["fit"])
    assert list(found.by_question) == ["q/1", "é"]
    for question, expected in FIT.by_question.items():
        same(found.by_question[question], expected)
    assert (found.n_chains, found.left_out) == (7, {"c9": "too short"})


@pytest.mark.parametrize("kind", WRITE)
def test_the_same_content_gives_the_same_bytes(written: dict[str, Path], kind: str) -> None:
    before = written[kind].read_bytes()
    WRITE[kind](written[kind])
    assert written[kind].read_bytes() == before


def test_scores_that_were_read_are_written_to_the_same_bytes(written: dict[str, Path], tmp_path: Path) -> None:
    write_scores(tmp_path / "again", READ["score"](written["score"]), chain_id="c", origin=origin())
    assert (tmp_path / "again").read_bytes() == written["score"].read_bytes()


# -- attention in half precision


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


def test_values_whose_differences_count_come_back_to_the_last_bit(tmp_path: Path) -> None:
    """Float16 has 16 values between 20 and 20.25; norms of keys lie closer than that."""
    norms = -(20 + np.linspace(0, 0.25, 500, dtype=np.float32))[None, None]
    assert len(np.unique(pack(norms)[0])) == 17
    profile = AttentionProfile("key_norm", norms, "none", "none", full_precision=True)
    write_scores(tmp_path / "s", TokenScores(np.zeros(500), profile), chain_id="c", origin=origin())
    found = read_scores(tmp_path / "s", origin=origin(), run_folder=tmp_path).profile
    assert found is not None
    same(found.received, norms)
    assert found.full_precision
    assert len(np.unique(found.received)) == 500


@pytest.mark.parametrize("largest", [0.0, 1e-38, 3e4, 1e30])
def test_attention_of_any_size_is_stored_without_overflow(largest: float) -> None:
    found = unpack(*pack(np.array([[[largest, 0]]], dtype=np.float32)))
    np.testing.assert_allclose(found, [[[largest, 0]]], rtol=2**-11)


# -- damage


def truncated(length: int) -> Callable[[bytes], bytes]:
    return lambda content: content[:length]


def facts_of(content: bytes) -> dict[str, Any]:
    size = int.from_bytes(content[:8], "little")
    facts: dict[str, Any] = json.loads(json.loads(content[8 : 8 + size])["__metadata__"]["reasoning_anatomy"])
    return facts


def with_facts(**changes: Any) -> Callable[[bytes], bytes]:
    def damage(content: bytes) -> bytes:
        return save(load(content), metadata={"reasoning_anatomy": json.dumps(facts_of(content) | changes)})

    return damage


def without_fact(name: str) -> Callable[[bytes], bytes]:
    def damage(content: bytes) -> bytes:
        facts = {other: value for other, value in facts_of(content).items() if other != name}
        return save(load(content), metadata={"reasoning_anatomy": json.dumps(facts)})

    return damage


def without_array(name: str) -> Callable[[bytes], bytes]:
    def damage(content: bytes) -> bytes:
        arrays = {other: array for other, array in load(content).items() if other != name}
        return save(arrays, metadata={"reasoning_anatomy": json.dumps(facts_of(content))})

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
    "no digests": without_fact("digests"),
    "digests of other arrays": with_facts(digests={}),
    "no origin": without_fact("origin"),
    "an origin that is a list": with_facts(origin=[]),
}
OF_KIND: dict[str, dict[str, Callable[[bytes], bytes]]] = {
    "encoded": {"spans missing": without_array("spans")},
    "score": {
        "scores missing": without_array("score"),
        "attention missing": without_array("received"),
        "a profile that is a list": with_facts(profile=[1]),
        "unknown facts of a profile": with_facts(profile={"colour": "red"}),
        "no word of a profile": without_fact("profile"),
    },
    "path": {
        "a curve missing": without_array("nll_joint"),
        "facts of a path missing": with_facts(path={}),
        "unknown facts of a path": with_facts(path={"colour": "red"}),
        "positions that the chain does not have": with_facts(
            path={"strategy": "", "n_reasoning": 2, "n_ties": 0, "token_forwards": 0, "token_budget": None}
        ),
    },
    "fit": {
        "questions missing": with_facts(fit={"questions": ["q/1"], "n_chains": 7, "left_out": {}}),
        "facts missing": with_facts(fit={}),
        "arrays missing": without_array("by_question"),
    },
}


@pytest.mark.parametrize(
    ("kind", "damage"),
    [
        pytest.param(kind, damage, id=f"{kind}-{name}")
        for kind, damages in OF_KIND.items()
        for name, damage in {**DAMAGES, **damages}.items()
    ],
)
def test_a_damaged_file_is_refused_with_path_and_remedy(
    written: dict[str, Path], kind: str, damage: Callable[[bytes], bytes]
) -> None:
    path = written[kind]
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(RunError) as refused:
        READ[kind](path)
    message = str(refused.value)
    assert message.startswith(f"{path}: cannot be read (")
    remedy = "restore it, or measure all chains in a new run folder: the scores of this run were made with it"
    assert message.endswith(f"); {remedy if kind == 'fit' else REMEDY}")
    assert "\n" not in message


@pytest.mark.parametrize("kind", WRITE)
def test_one_changed_number_is_noticed(written: dict[str, Path], kind: str) -> None:
    content = bytearray(written[kind].read_bytes())
    content[-3] ^= 1
    written[kind].write_bytes(content)
    with pytest.raises(RunError, match=r"its numbers are not those that were written"):
        READ[kind](written[kind])


@pytest.mark.parametrize("kind", WRITE)
def test_a_file_that_is_not_there_is_named(tmp_path: Path, kind: str) -> None:
    with pytest.raises(RunError, match=r"none\.safetensors: cannot be read"):
        READ[kind](tmp_path / "a" / "b" / "none.safetensors")


def with_changed_array(path: Path, name: str) -> None:
    """Change the numbers of an array, but not what is said of them."""
    content = path.read_bytes()
    arrays = {**load(content)}
    arrays[name] = arrays[name] + np.ones((), dtype=arrays[name].dtype)
    path.write_bytes(save(arrays, metadata={"reasoning_anatomy": json.dumps(facts_of(content))}))


def test_scores_are_read_and_verified_without_their_profile(written: dict[str, Path]) -> None:
    path = written["score"]
    with_changed_array(path, "received")
    found = READ["score"](path, with_profile=False)
    same(found.score, SCORES.score)
    assert found.profile is None
    with pytest.raises(RunError, match="its numbers are not those that were written"):
        READ["score"](path)
    WRITE["score"](path)
    with_changed_array(path, "score")
    with pytest.raises(RunError, match="its numbers are not those that were written"):
        READ["score"](path, with_profile=False)


def test_arrays_of_one_name_have_one_digest_whatever_stands_beside_them(tmp_path: Path) -> None:
    one, two = np.arange(6.0), np.arange(6.0).reshape(2, 3)
    digests = []
    for number, arrays in enumerate(({"a": one}, {"a": one, "b": two}, {"a": two}, {"a": one.astype(np.float32)})):
        write_arrays(tmp_path / str(number), arrays, {})
        digests.append(read_arrays(tmp_path / str(number))[1]["digests"]["a"])
    assert digests[0] == digests[1]
    assert len(set(digests)) == 3  # another shape or type is another array, though its numbers or bytes are the same


# -- what a file was made from


@of_a_chain
@pytest.mark.parametrize(
    ("named", "configuration", "chain"),
    [
        ("model", CONFIGURATION.model_copy(update={"model": MODEL.model_copy(update={"weights": "x"})}), text()),
        ("model", CONFIGURATION.model_copy(update={"model": None}), text()),
        ("encoding", CONFIGURATION.model_copy(update={"encoding": "F()"}), text()),
        ("chain", CONFIGURATION, text(reasoning="another")),
        ("chain", CONFIGURATION, text(chain_id="d")),  # random numbers belong to an id
    ],
)
def test_a_file_that_was_made_from_something_else_is_refused_and_stays(
    written: dict[str, Path], kind: str, named: str, configuration: Configuration, chain: ReasoningChain
) -> None:
    path = written[kind]
    before = path.read_bytes()
    expected = origin_of(configuration, chain, None if kind == "encoded" else "P()")
    with pytest.raises(RunError) as refused:
        READ[kind](path, origin=expected)
    assert (
        str(refused.value) == f"{path}: was made from another {named} than this run has; delete the file and measure it again"
    )
    assert path.read_bytes() == before


@pytest.mark.parametrize("kind", ["score", "path", "fit"])
def test_a_file_of_another_plugin_is_refused(written: dict[str, Path], kind: str) -> None:
    with pytest.raises(RunError, match=r"was made from another plugin than this run has"):
        READ[kind](written[kind], origin=origin("P(seed=1)"))


@of_a_chain
def test_the_file_of_another_stage_is_refused(written: dict[str, Path], kind: str) -> None:
    for other in {"encoded", "score", "path"} - {kind}:
        with pytest.raises(RunError, match=r"safetensors: cannot be read"):
            READ[kind](written[other])


@of_a_chain
def test_where_a_model_lies_is_not_what_a_file_is_made_from(written: dict[str, Path], kind: str) -> None:
    elsewhere = CONFIGURATION.model_copy(update={"model": MODEL.model_copy(update={"id": "/models/m", "revision": "abc"})})
    found = READ[kind](written[kind], origin=origin_of(elsewhere, text(), None if kind == "encoded" else "P()"))
    numbers = {"encoded": (ENCODED, "reasoning_ids"), "score": (SCORES, "score"), "path": (PATH, "deleted")}
    expected, name = numbers[kind]
    same(getattr(found, name), getattr(expected, name))


@pytest.fixture
def following(tmp_path: Path, written: dict[str, Path]) -> Path:
    """A path that was made from another one."""
    path = tmp_path / "chains" / "c" / "following.safetensors"
    write_path(path, PATH, chain_id="c", origin=with_need(origin(), tmp_path, written["path"]))
    return path


def test_what_a_file_needs_is_found_by_its_place_in_the_run(tmp_path: Path, following: Path) -> None:
    needs = facts_of(following.read_bytes())["origin"]["needs"]
    assert list(needs) == ["chains/c/path.safetensors"]
    moved = tmp_path.rename(tmp_path.with_name("moved"))
    found = read_path(moved / "chains" / "c" / "following.safetensors", origin=origin(), run_folder=moved)
    same(found.deleted, PATH.deleted)


def test_a_file_is_refused_if_what_it_needs_has_other_numbers(written: dict[str, Path], following: Path) -> None:
    assert READ["path"](following).deleted.tolist() == PATH.deleted.tolist()
    WRITE["path"](written["path"])  # the same numbers again
    assert READ["path"](following).deleted.tolist() == PATH.deleted.tolist()
    write_path(written["path"], replace(PATH, deleted=PATH.deleted[::-1]), chain_id="c", origin=origin())
    with pytest.raises(RunError) as refused:
        READ["path"](following)
    assert str(refused.value) == (
        f"{following}: was made from another chains/c/path.safetensors than this run has; delete the file and measure it again"
    )


def test_a_file_is_refused_if_what_it_needs_is_gone(written: dict[str, Path], following: Path) -> None:
    written["path"].unlink()
    with pytest.raises(RunError) as refused:
        READ["path"](following)
    assert str(refused.value) == (
        f"{following}: was made from chains/c/path.safetensors, which is gone; restore it, or delete this file and measure "
        "it again"
    )


def test_if_what_a_file_needs_is_damaged_that_is_named(written: dict[str, Path], following: Path) -> None:
    written["path"].write_bytes(b"")
    with pytest.raises(RunError) as refused:
        READ["path"](following)
    assert str(refused.value).startswith(f"{written['path']}: cannot be read (")


@pytest.mark.parametrize(
    "changes",
    [
        {"question": "x"}, {"reasoning": "x"}, {"answer": "x"}, {"system_prompt": "x"}, {"system_prompt": ""},
        {"chain_id": "x"}, {"step_starts": []}, {"step_starts": [0]},
    ],
)  # fmt: skip
def test_whatever_a_measurement_depends_on_changes_the_digest(changes: dict[str, Any]) -> None:
    assert chain_digest(text()) != chain_digest(text(**changes))


def test_chains_that_give_no_steps_keep_the_digest_of_former_runs() -> None:
    chain = ReasoningChain(chain_id="c", question_id="q", question="Q", reasoning="R", answer="A", system_prompt="S")
    assert chain_digest(chain) == hashlib.sha256(b'["c", "S", "Q", "R", "A"]').hexdigest()
    given = chain.model_copy(update={"step_starts": (0,)})
    assert chain_digest(given) == hashlib.sha256(b'["c", "S", "Q", "R", "A", [0]]').hexdigest()


@pytest.mark.parametrize("changes", [{"gold_answer": "x"}, {"is_correct": True}, {"source": {"a": 1}}])
def test_what_is_not_measured_does_not(changes: dict[str, Any]) -> None:
    assert chain_digest(text()) == chain_digest(text(**changes))


def test_text_cannot_move_from_one_part_to_the_next() -> None:
    assert chain_digest(text(question="QR", reasoning="R")) != chain_digest(text(question="Q", reasoning="RR"))


# -- where a file lies

IDS = ["../../x", "a/b", "a\\b", "/etc/passwd", "..", ".", "x" * 10_000, "😀", "con", "NUL.txt", "a\nb", "a\0b", " ", "-",
       "a b", "A", "a", "é", "e\u0301", "~", "$HOME", "*", "c:"]  # fmt: skip
PLACES: dict[str, Callable[[Layout, str], Path]] = {
    "encoded": lambda layout, name: layout.encoded(name),
    "score": lambda layout, name: layout.artefact(name, "score", name),
    "path": lambda layout, name: layout.artefact(name, "path", name),
    "missing score": lambda layout, name: layout.missing_score(name, name),
    "begun path": lambda layout, name: layout.begun_path(name, name),
    "failure": lambda layout, name: layout.failure(name, "path", name),
    "fit": lambda layout, name: layout.fit(name),
    "claim": lambda layout, name: layout.claim(name, name),
}


@pytest.mark.parametrize("name", IDS, ids=lambda name: ascii(name)[:20])
def test_no_id_and_no_label_leads_out_of_the_run(tmp_path: Path, name: str) -> None:
    stem = file_stem(name)
    assert len(stem) <= 61
    assert set(stem) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-")
    assert stem[0] != "-"  # not an option
    assert stem.lower() not in ("con", "nul")  # reserved on Windows, whatever the extension
    for place in PLACES.values():
        path = place(Layout(tmp_path), name)
        assert path.resolve().is_relative_to(tmp_path.resolve())
        assert len(path.relative_to(tmp_path).parts) <= 3
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")  # the name is not too long


def test_all_files_of_a_run_have_different_places(tmp_path: Path) -> None:
    places = [place(Layout(tmp_path), name) for name in ("a", "b", "encoded") for place in PLACES.values()]
    assert len(set(places)) == len(places)


def test_distinct_ids_have_distinct_names_even_if_case_does_not_count() -> None:
    ids = [*IDS, *(f"a/{n}" for n in range(1000)), *(f"a-{n}" for n in range(1000)), *("x" * n for n in range(2, 200))]
    assert len({file_stem(chain_id).lower() for chain_id in ids}) == len(ids)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(
    st.text(st.characters(exclude_categories=("Cs",)), min_size=1),
    st.text(st.characters(exclude_categories=("Cs",)), min_size=1),
)
def test_names_are_equal_if_ids_are(one: str, two: str) -> None:
    assert (file_stem(one) == file_stem(two)) == (one == two)
    assert "/" not in file_stem(one)
