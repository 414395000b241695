"""A run is begun once and grows; what is there is kept, and another meaning is refused."""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from reasoning_anatomy import claims
from reasoning_anatomy.chains import read_chains
from reasoning_anatomy.errors import ChainFileError, RunError
from reasoning_anatomy.files import TEMPORARY_PREFIX
from reasoning_anatomy.progress import Stages
from reasoning_anatomy.run.folder import Run, open_run
from reasoning_anatomy.run.manifest import Configuration, ModelIdentity
from reasoning_anatomy.run.writer import Missing, RunWriter, begin_run, expect_run_folder
from reasoning_anatomy.types import EncodedChain, Fit, PruningPath, ReasoningChain, TokenScores
from reasoning_anatomy.version import __version__

MODEL = ModelIdentity(
    id="m", revision=None, architecture="A", n_layers=2, n_heads=3, weights="w", template="t", dtype="float32",
    device="cpu", quantization=None,
)  # fmt: skip
CONFIGURATION = Configuration(model=MODEL, encoding="words", scorers={"s": "S()"}, strategies={"g": "G(x=1)"})


def chain(chain_id: str, **changes: Any) -> ReasoningChain:
    facts = {"chain_id": chain_id, "question_id": "q", "question": "Q", "reasoning": "x y z", "answer": "A"}
    return ReasoningChain(**(facts | changes))


CHAINS = [chain("a"), chain("b")]
SCORES = TokenScores(np.array([0.5, 1.5, 2.5]))
FIT = Fit({"q": np.ones(2)}, 2, {})


def encode(of: ReasoningChain) -> EncodedChain:
    return EncodedChain(of, [1], [7, 8, 9], [2], [[0, 1], [2, 3], [4, 5]])


def path(*deleted: int) -> PruningPath:
    k = len(deleted)
    return PruningPath("G(x=1)", 3, deleted, np.full(k, 0.1), 0, *np.ones((3, k + 1)))


def measure(
    folder: Path, configuration: Configuration = CONFIGURATION, chains: Sequence[ReasoningChain] = tuple(CHAINS)
) -> dict[str, Missing]:
    """Measure what is missing, and say what that was."""
    with begin_run(folder, configuration, chains) as writer:
        missing = writer.missing([chain.chain_id for chain in chains])
        for chain_id, lacking in missing.items():
            writer.add_encoded(encode(writer.run.chains[chain_id]))
            for label in lacking.scorers:
                writer.add_scores(chain_id, label, SCORES)
            for label in lacking.strategies:
                writer.add_path(chain_id, label, path(2, 0))
    return missing


def files(folder: Path) -> dict[Path, bytes]:
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


# -- begun and grown


def test_a_run_is_begun_with_what_it_is_measured_with(tmp_path: Path) -> None:
    assert measure(tmp_path / "new" / "run") == {name: Missing(("s",), ("g",)) for name in "ab"}
    run = open_run(tmp_path / "new" / "run")
    assert run.manifest.configuration == CONFIGURATION
    assert run.manifest.package == __version__
    assert {"python", "numpy", "pandas"} <= run.manifest.versions.keys()
    assert list(run.chains.values()) == CHAINS
    assert run.status().n_done == 2
    assert len(run.tokens()) == 6


def test_the_same_again_changes_nothing(tmp_path: Path) -> None:
    measure(tmp_path)
    before, times = files(tmp_path), {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.*") if path.is_file()}
    assert measure(tmp_path) == {}
    assert files(tmp_path) == before
    assert {path: path.stat().st_mtime_ns for path in times} == times


def test_only_what_is_new_is_measured_and_what_is_there_stays(tmp_path: Path) -> None:
    measure(tmp_path)
    before = files(tmp_path / "chains")
    more = Configuration(model=MODEL, encoding="words", scorers={"t": "T()"}, strategies={"g": "G(x=1)", "h": "H()"})
    assert measure(tmp_path, more, [chain("c"), *CHAINS]) == {
        "c": Missing(("t",), ("g", "h")), "a": Missing(("t",), ("h",)), "b": Missing(("t",), ("h",)),
    }  # fmt: skip
    assert before.items() <= files(tmp_path / "chains").items()
    run = open_run(tmp_path)
    assert list(run.chains) == ["a", "b", "c"]  # added at the end
    assert (list(run.manifest.configuration.scorers), list(run.manifest.configuration.strategies)) == (["s", "t"], ["g", "h"])
    assert run.status().left == {"scorer s": 1}  # nobody asked for it on the new chain
    assert measure(tmp_path, CONFIGURATION, [chain("c")]) == {"c": Missing(("s",), ())}
    assert open_run(tmp_path).status().n_done == 3


def test_a_part_of_a_run_can_be_measured_alone(tmp_path: Path) -> None:
    measure(tmp_path)
    assert measure(tmp_path, Configuration(model=MODEL, encoding="words"), CHAINS[:1]) == {}
    run = open_run(tmp_path)
    assert (list(run.chains), run.manifest.configuration) == (["a", "b"], CONFIGURATION)


def test_ids_and_spans_that_were_deleted_are_written_again(tmp_path: Path) -> None:
    """As the message about a damaged file says: delete it and run the same command again."""
    measure(tmp_path)
    before = files(tmp_path)
    encoded = open_run(tmp_path).layout.encoded("b")
    encoded.unlink()
    assert measure(tmp_path) == {"b": Missing((), ())}
    assert files(tmp_path) == before


def test_what_was_not_finished_is_taken_up_again(tmp_path: Path) -> None:
    def killed() -> None:
        with begin_run(tmp_path, CONFIGURATION, CHAINS) as writer:
            writer.add_encoded(encode(CHAINS[0]))
            writer.add_scores("a", "s", SCORES)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        killed()
    assert not (tmp_path / "tokens.parquet").exists()
    assert measure(tmp_path) == {"a": Missing((), ("g",)), "b": Missing(("s",), ("g",))}


def test_a_run_that_was_killed_before_its_record_is_begun_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claims, "LEASE_SECONDS", 0.5)
    (tmp_path / ".lease").touch()
    (tmp_path / "chains.jsonl").write_text("half of a li")
    (tmp_path / f"{TEMPORARY_PREFIX}run.json-12345678.json").write_text("{")
    measure(tmp_path)
    assert list(open_run(tmp_path).chains.values()) == CHAINS
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(TEMPORARY_PREFIX)] == []


# -- refused


REFUSED = [
    ("model.weights: 'w' in the run, 'x' now", {"model": MODEL.model_copy(update={"weights": "x"})}),
    ("encoding: 'words' in the run, 'letters' now", {"encoding": "letters"}),
    ("strategy 'g', x: '1' in the run, '2' now", {"strategies": {"g": "G(x=2)"}}),
]


@pytest.mark.parametrize(("difference", "changes"), REFUSED, ids=[words.partition(":")[0] for words, _ in REFUSED])
def test_another_meaning_is_refused_and_nothing_is_changed(tmp_path: Path, difference: str, changes: dict[str, Any]) -> None:
    measure(tmp_path)
    before = files(tmp_path)
    with pytest.raises(RunError) as refused:
        measure(tmp_path, CONFIGURATION.model_copy(update=changes), [*CHAINS, chain("c")])
    message = f"{tmp_path}: was measured with other options ({difference}); use the same, or another folder"
    assert str(refused.value) == message
    assert files(tmp_path) == before


@pytest.mark.parametrize(
    ("name", "value", "shown"),
    [
        ("reasoning", "other", "('x y z') than now ('other')"),
        ("question_id", "r", "('q') than now ('r')"),
        ("step_starts", [0, 2], "(None) than now ((0, 2))"),
        ("answer", "B" * 100, f"('A') than now ('{'B' * 56}...)"),
    ],
)
def test_a_chain_id_that_means_another_chain_is_refused(tmp_path: Path, name: str, value: object, shown: str) -> None:
    measure(tmp_path)
    before = files(tmp_path)
    with pytest.raises(RunError) as refused:
        measure(tmp_path, CONFIGURATION, [chain("c"), chain("b", **{name: value})])
    assert str(refused.value) == (
        f"{tmp_path}: chain 'b' has another {name!r} in the run {shown}; give it another chain_id, or measure it in "
        "another folder"
    )
    assert files(tmp_path) == before


def test_what_no_number_depends_on_is_taken_over_and_never_forgotten(tmp_path: Path) -> None:
    measure(tmp_path)
    told = [chain("b", is_correct=True, gold_answer="A", source={"a": 1}), chain("b", source={"b": 2}), chain("b")]
    assert [measure(tmp_path, CONFIGURATION, [each]) for each in told] == [{}, {}, {}]
    known = Run(tmp_path).chains
    assert list(known) == [each.chain_id for each in CHAINS]
    assert (known["b"].is_correct, known["b"].gold_answer, known["b"].source) == (True, "A", {"a": 1, "b": 2})


@pytest.mark.parametrize("source", [{"steps": (1, 2)}, {"by": {1: "a"}}, {"x": 0.1, "none": None}], ids=str)
def test_what_json_writes_otherwise_is_the_same_chain(tmp_path: Path, source: dict[str, Any]) -> None:
    chains = [chain("a", source=source)]
    measure(tmp_path, chains=chains)
    assert measure(tmp_path, chains=chains) == {}
    assert measure(tmp_path, chains=read_chains(tmp_path / "chains.jsonl")) == {}


def test_a_folder_of_other_files_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / "file").write_text("mine")
    for folder, words in ((tmp_path, r"holds other files \(file, \.\.\.\) and no run"), (tmp_path / "file", "is a file")):
        for refuse in (expect_run_folder, measure):
            with pytest.raises(RunError, match=words):
                refuse(folder)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "notes.txt"]


def test_a_run_of_version_0_1_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text(json.dumps({"format": 1}))
    with pytest.raises(RunError, match=r"was written by version 0\.1"):
        measure(tmp_path)
    assert (tmp_path / "run.json").read_text() == '{"format": 1}'


def test_damaged_chains_of_a_run_are_named(tmp_path: Path) -> None:
    measure(tmp_path)
    (tmp_path / "chains.jsonl").write_text("{")
    with pytest.raises(ChainFileError, match=r"chains\.jsonl, line 1"):
        measure(tmp_path)


# -- what is added


@pytest.fixture
def writer(tmp_path: Path) -> RunWriter:
    """A run in which both chains are encoded."""
    with begin_run(tmp_path, CONFIGURATION.model_copy(update={"strategies": {"g": "G(x=1)", "f": "F()"}}), CHAINS) as begun:
        for each in CHAINS:
            begun.add_encoded(encode(each))
        begun.add_scores("b", "s", SCORES)
    return begun


def test_ids_that_are_there_are_not_written_again(writer: RunWriter) -> None:
    before = writer.run.layout.encoded("a").stat().st_mtime_ns
    writer.add_encoded(encode(CHAINS[0]))
    assert writer.run.layout.encoded("a").stat().st_mtime_ns == before


def test_the_first_deletions_of_a_path_go_once_it_is_there_even_if_its_process_was_killed_in_between(tmp_path: Path) -> None:
    with begin_run(tmp_path, CONFIGURATION, CHAINS) as writer:
        writer.add_path("a", "g", path(2, 0))
        for each in CHAINS:
            writer.add_encoded(encode(each))
            writer.add_begun_path(each.chain_id, "g", path(2))
    assert writer.begun_path("a", "g") is None
    assert writer.begun_path("b", "g") is not None


def test_a_path_that_was_begun_can_be_gone_on_with_until_it_is_there(writer: RunWriter) -> None:
    assert writer.begun_path("a", "g") is None
    writer.add_begun_path("a", "g", path(2))
    writer.add_begun_path("a", "g", path(2, 0))
    begun = writer.begun_path("a", "g")
    assert begun is not None
    assert begun.deleted.tolist() == [2, 0]
    assert writer.run.path("a", "g") is None
    assert "g" in writer.missing(["a"])["a"].strategies
    writer.add_path("a", "g", path(2, 0, 1))
    assert writer.begun_path("a", "g") is None
    assert not writer.run.layout.begun_path("a", "g").exists()


def test_a_path_begun_after_one_that_was_made_again_is_refused(writer: RunWriter) -> None:
    writer.add_path("a", "g", path(2))
    writer.add_begun_path("a", "f", path(0), follows="g")
    assert writer.begun_path("a", "f") is not None
    writer.add_path("a", "g", path(1))
    with pytest.raises(RunError) as refused:
        writer.begun_path("a", "f")
    followed = writer.run.layout.artefact("a", "path", "g").relative_to(writer.run.folder).as_posix()
    assert str(refused.value) == (
        f"{writer.run.layout.begun_path('a', 'f')}: was made from another {followed} than this run has; delete the file and "
        "measure it again"
    )


def test_a_path_is_pinned_by_the_path_that_it_follows(writer: RunWriter) -> None:
    writer.add_path("a", "g", path(2))
    writer.add_path("a", "f", path(0), follows="g")
    found = Run(writer.run.folder).path("a", "f")
    assert found is not None
    writer.add_path("a", "g", path(1))
    with pytest.raises(RunError, match=r"path-f-.*: was made from another chains/.*/path-g-.* than this run has"):
        Run(writer.run.folder).path("a", "f")


def test_the_larger_of_two_results_of_a_check_stays(writer: RunWriter) -> None:
    writer.add_checks({"x": 1e-7, "y": 1.0})
    writer.add_checks({"x": 1e-6, "z": 2.0})
    writer.add_checks({"x": 1e-8})
    assert open_run(writer.run.folder).manifest.checks == {"x": 1e-6, "y": 1.0, "z": 2.0}
    assert open_run(writer.run.folder).manifest.configuration == writer.configuration


def test_scores_are_pinned_by_what_the_scorer_found_in_all_chains(tmp_path: Path) -> None:
    with begin_run(tmp_path, CONFIGURATION, CHAINS) as writer:
        assert writer.fit("s") is None
        with writer.claim_fit("s") as is_ours:
            assert is_ours
            writer.add_fit("s", FIT, ["a", "b"])
        found = writer.fit("s")
        assert found is not None
        assert found.by_question["q"].tolist() == [1, 1]
        for each in CHAINS:
            writer.add_encoded(encode(each))
            writer.add_scores(each.chain_id, "s", SCORES)
    run = open_run(tmp_path)
    assert run.token_scores("a", "s") is not None
    run.layout.fit("s").unlink()
    with pytest.raises(RunError, match=r"was made from fits/s-.*, which is gone; restore it"):
        run.token_scores("a", "s")
    with begin_run(tmp_path, CONFIGURATION, CHAINS) as writer, pytest.raises(RunError) as refused:
        writer.add_fit("s", FIT, ["a", "b"])
    assert str(refused.value) == (
        f"{run.layout.fit('s')}: is missing, but 2 chains have scores that were made with it; restore it, or measure in a new "
        "run folder"
    )


def test_a_fit_of_a_scorer_with_other_options_is_refused(tmp_path: Path) -> None:
    with begin_run(tmp_path, CONFIGURATION, CHAINS) as writer:
        writer.add_fit("s", FIT, ["a"])
        writer.add_encoded(encode(CHAINS[0]))
        writer.add_scores("a", "s", SCORES)
        other = RunWriter(writer.run, CONFIGURATION.model_copy(update={"scorers": {"s": "S(y=2)"}}), writer.stages)
        with pytest.raises(RunError, match="was made from another plugin than this run has"):
            other.fit("s")


def test_the_record_has_the_seconds_of_who_measured_last(tmp_path: Path) -> None:
    def measured(*chain_ids: str) -> dict[str, float]:
        stages = Stages()
        with begin_run(tmp_path, CONFIGURATION, CHAINS, stages=stages) as writer:
            for chain_id in chain_ids:
                with stages.add(f"measure {chain_id}", 1):
                    writer.add_encoded(encode(writer.run.chains[chain_id]))
                    writer.add_scores(chain_id, "s", SCORES)
        return dict(open_run(tmp_path).manifest.seconds)

    assert list(measured("a")) == ["measure a", "tabulate"]
    assert list(measured("b")) == ["measure b", "tabulate"]
    assert list(measured()) == ["measure b", "tabulate"]


def test_claims_of_killed_processes_are_forgotten_when_nothing_is_left_to_claim(tmp_path: Path) -> None:
    with begin_run(tmp_path, CONFIGURATION, CHAINS) as writer:
        with writer.claim_scores("a", ["s"]) as is_ours:
            assert is_ours
            claim = next(writer.run.layout.claims.iterdir())
            record = claim.read_bytes()
        writer.add_encoded(encode(CHAINS[0]))
        writer.add_scores("a", "s", SCORES)
        assert list(writer.run.layout.claims.iterdir()) == []
        claim.write_bytes(record.replace(str(os.getpid()).encode(), str(2**31 - 1).encode()))  # of a process that is gone
    assert claim.exists()
    measure(tmp_path)
    assert not claim.exists()
