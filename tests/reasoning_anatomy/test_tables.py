"""Tidy tables are what the files of the chains say, and are made again if and only if these are others."""

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from reasoning_anatomy.errors import RunError
from reasoning_anatomy.files import TEMPORARY_PREFIX
from reasoning_anatomy.progress import Stages
from reasoning_anatomy.run.folder import Run, open_run
from reasoning_anatomy.run.manifest import Configuration
from reasoning_anatomy.run.tables import write_tables
from reasoning_anatomy.run.writer import RunWriter, begin_run
from reasoning_anatomy.types import EncodedChain, PruningPath, ReasoningChain, TokenScores

Make = Callable[..., Run]
IDS = ["a", "b", "c"]
TABLES = ("tokens.parquet", "paths.parquet")
CONFIGURATION = Configuration(model=None, encoding="words", scorers={"s": "S()"}, strategies={"g": "G()", "h": "H()"})


def chains_of(ids: Sequence[str]) -> list[ReasoningChain]:
    return [ReasoningChain(chain_id=name, question_id="q", question="Q", reasoning="x y z", answer="A") for name in ids]


CHAINS = chains_of(IDS)


def add(writer: RunWriter, chain_id: str, *labels: str) -> None:
    """Add ids, and what is named: ``s`` is a score, others are paths that delete positions 2 and 0."""
    chain = writer.run.chains[chain_id]
    writer.add_encoded(EncodedChain(chain, [1], [7, 8, 9], [2], [[0, 1], [2, 3], [4, 5]]))
    for label in labels:
        if label == "s":
            writer.add_scores(chain_id, "s", TokenScores(np.array([0.5, 1.5, 2.5])))
        else:
            writer.add_path(chain_id, label, PruningPath("G()", 3, [2, 0], [0.1, 0.2], 0, *np.ones((3, 3))))


def contents(run: Run) -> list[bytes]:
    return [(run.folder / name).read_bytes() for name in TABLES]


def test_the_same_files_give_the_same_bytes(tmp_path: Path, make_planted_run: Make) -> None:
    run = make_planted_run(tmp_path / "run", CHAINS)
    before = contents(run)
    write_tables(open_run(run.folder))
    assert contents(run) == before
    assert contents(make_planted_run(tmp_path / "another", CHAINS)) == before


def test_more_chains_than_a_row_group_are_all_there(tmp_path: Path, make_planted_run: Make) -> None:
    run = make_planted_run(tmp_path, chains_of([f"c{n}" for n in range(130)]))
    assert run.tokens().groupby("chain_id", sort=False).size().to_dict() == {f"c{n}": 3 for n in range(130)}


def test_a_chain_on_which_something_was_measured_has_rows_and_the_rest_is_missing(tmp_path: Path) -> None:
    with begin_run(tmp_path, CONFIGURATION, chains_of([*IDS, "d", "e"])) as writer:
        add(writer, "a", "s", "g", "h")
        add(writer, "b", "s")
        add(writer, "c", "h")
        add(writer, "d")  # ids alone, as before a failure
        writer.add_failure("d", "score", "s", "not finite")
    run = open_run(tmp_path)
    tokens = run.tokens()
    assert tokens["chain_id"].tolist() == [*"aaa", *"bbb", *"ccc"]
    assert tokens["text"].tolist() == ["x", "y", "z"] * 3
    assert tokens["token_id"].tolist() == [7, 8, 9] * 3
    assert tokens["score_s"].tolist()[:6] == [0.5, 1.5, 2.5] * 2
    assert tokens["score_s"].isna().tolist() == [False] * 6 + [True] * 3
    steps = {label: tokens[f"deletion_step_{label}"].astype("object").fillna(0).tolist() for label in "gh"}
    assert steps == {"g": [2, 0, 1, 0, 0, 0, 0, 0, 0], "h": [2, 0, 1, 0, 0, 0, 2, 0, 1]}
    paths = run.paths()
    assert (
        list(zip(paths["chain_id"], paths["strategy"], strict=True)) == [("a", "g")] * 3 + [("a", "h")] * 3 + [("c", "h")] * 3
    )
    assert paths["deletion_step"].tolist() == [0, 1, 2] * 3


def test_a_reason_for_having_no_score_counts_as_measured(tmp_path: Path) -> None:
    with begin_run(tmp_path, CONFIGURATION, CHAINS) as writer:
        add(writer, "a")
        writer.add_missing_score("a", "s", "has one step")
    tokens = open_run(tmp_path).tokens()
    assert tokens["chain_id"].tolist() == [*"aaa"]
    assert tokens["score_s"].isna().all()


def test_paths_that_only_chains_after_the_first_row_group_have_are_there(tmp_path: Path) -> None:
    ids = [f"c{n}" for n in range(66)]
    with begin_run(tmp_path, CONFIGURATION, chains_of(ids)) as writer:
        for chain_id in ids:
            add(writer, chain_id, "s")
        add(writer, "c65", "h")
    paths = open_run(tmp_path).paths()
    assert paths[["chain_id", "strategy"]].drop_duplicates().to_numpy().tolist() == [["c65", "h"]]
    assert paths["position"].tolist()[1:] == [2, 0]


def test_a_run_without_scorers_and_strategies_has_tokens_and_an_empty_table_of_paths(
    tmp_path: Path, make_planted_run: Make
) -> None:
    with begin_run(tmp_path / "run", Configuration(model=None, encoding="words"), CHAINS) as writer:
        for chain_id in IDS:
            add(writer, chain_id)
    run = open_run(tmp_path / "run")
    assert run.paths().empty
    assert run.paths().columns.tolist() == make_planted_run(tmp_path / "whole", CHAINS).paths().columns.tolist()
    assert len(run.tokens()) == 9
    assert not any(name.startswith(("score_", "deletion_step_")) for name in run.tokens().columns)


def test_nothing_measured_is_nothing_to_tabulate(tmp_path: Path, make_planted_run: Make) -> None:
    run = make_planted_run(tmp_path, CHAINS)
    for chain_id in IDS:
        run.layout.encoded(chain_id).unlink()
    before = contents(run)
    with pytest.raises(RunError, match=r"no chain was measured, so there is nothing to tabulate$"):
        write_tables(run)
    assert contents(run) == before


def test_the_reason_why_nothing_was_measured_is_said(tmp_path: Path, make_planted_run: Make) -> None:
    writer = RunWriter(make_planted_run(tmp_path, CHAINS), CONFIGURATION, Stages())
    for chain_id, reason in zip(IDS, ["no luck", "overflow", "overflow"], strict=True):
        shutil.rmtree(writer.run.layout.chain(chain_id))
        label = next(iter(writer.run.manifest.configuration.scorers))
        writer.add_failure(chain_id, "score", label, reason)
    says = rf"nothing to tabulate; scorer {label} failed on 2 of 3 chains: overflow \(all reasons are in failed/\)$"
    with pytest.raises(RunError, match=says):
        write_tables(Run(tmp_path))


def test_a_damaged_file_leaves_the_tables_that_are_there(tmp_path: Path, make_planted_run: Make) -> None:
    run = make_planted_run(tmp_path, CHAINS)
    before = contents(run)
    damaged = run.layout.artefact("b", "path", "greedy")
    damaged.write_bytes(b"broken")
    with pytest.raises(RunError, match="cannot be read"):
        write_tables(run)
    assert contents(run) == before
    assert [path for path in tmp_path.rglob("*") if path.name.startswith(TEMPORARY_PREFIX)] == []


def test_tables_are_made_from_scores_without_attention(tmp_path: Path, make_planted_run: Make) -> None:
    """The scores of a file are verified by themselves, so damage in its attention is not even seen."""
    run = make_planted_run(tmp_path, CHAINS)
    before = contents(run)
    for chain_id in IDS:
        path = run.layout.artefact(chain_id, "score", "answer_attention")
        content = bytearray(path.read_bytes())
        tail = content.rfind(bytes(run.token_scores(chain_id, "answer_attention", with_profile=False).score.data))  # type: ignore[union-attr]
        assert 0 < tail < len(content) - 24  # attention and its scales stand after the three scores
        content[-1] ^= 1
        path.write_bytes(content)
    write_tables(run)
    assert contents(run) == before


# -- made again, or not


@pytest.fixture
def finished(tmp_path: Path) -> Run:
    with begin_run(tmp_path / "run", CONFIGURATION, CHAINS) as writer:
        add(writer, "a", "s", "g", "h")
    return open_run(tmp_path / "run")


def times(run: Run) -> list[int]:
    return [(run.folder / name).stat().st_mtime_ns for name in TABLES]


def finish(run: Run, configuration: Configuration = CONFIGURATION, chains: Sequence[ReasoningChain] = tuple(CHAINS)) -> None:
    """Go on with a run without adding a file."""
    with begin_run(run.folder, configuration, list(chains)):
        pass


def test_tables_of_the_same_files_stay(finished: Run) -> None:
    before = times(finished)
    finish(finished)
    finish(finished, chains=CHAINS[:1])
    finish(finished, CONFIGURATION.model_copy(update={"scorers": {}}))
    assert times(finished) == before


@pytest.mark.parametrize(("chain_id", "label", "n_rows"), [("a", "t", 3), ("b", "s", 6), ("b", "g", 6)])
def test_a_process_that_was_killed_between_measuring_and_tabulating_is_made_up_for(
    finished: Run, chain_id: str, label: str, n_rows: int
) -> None:
    grown = CONFIGURATION.model_copy(update={"scorers": {"s": "S()", "t": "T()"}})

    def killed() -> None:
        with begin_run(finished.folder, grown, CHAINS) as writer:
            add(writer, chain_id)
            if label == "t":
                writer.add_scores(chain_id, "t", TokenScores(np.zeros(3)))
            else:
                add(writer, chain_id, label)
            raise KeyboardInterrupt

    before = contents(finished)
    with pytest.raises(KeyboardInterrupt):
        killed()
    assert contents(finished) == before
    finish(finished, grown)
    tokens, paths = open_run(finished.folder).tokens(), open_run(finished.folder).paths()
    assert len(tokens) == n_rows
    assert tokens["score_t"].notna().sum() == (3 if label == "t" else 0)
    assert len(paths[paths["chain_id"] == "b"]) == (3 if label == "g" else 0)


@pytest.mark.parametrize("change", ["missing", "broken", "empty", "of another program"])
@pytest.mark.parametrize("name", TABLES)
def test_a_table_that_is_missing_or_damaged_is_made_again(finished: Run, name: str, change: str) -> None:
    before, path = contents(finished), finished.folder / name
    if change == "missing":
        path.unlink()
    elif change == "of another program":
        finished.tokens()[["text"]].to_parquet(path)
    else:
        path.write_bytes(b"broken" if change == "broken" else b"")
    finish(finished)
    assert contents(finished) == before


def test_a_file_that_was_deleted_leaves_the_tables(finished: Run) -> None:
    finished.layout.artefact("a", "path", "h").unlink()
    finish(finished)
    assert set(open_run(finished.folder).paths()["strategy"]) == {"g"}


def test_numbers_that_were_measured_again_reach_the_tables(finished: Run) -> None:
    """The file has the same name as before."""
    finished.layout.artefact("a", "score", "s").unlink()
    with begin_run(finished.folder, CONFIGURATION, CHAINS) as writer:
        writer.add_scores("a", "s", TokenScores(np.array([4.0, 5.0, 6.0])))
    assert open_run(finished.folder).tokens()["score_s"].tolist() == [4, 5, 6]
