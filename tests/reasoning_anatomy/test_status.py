"""How far a run has come is counted from its files, by their names."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from reasoning_anatomy.errors import RunError
from reasoning_anatomy.run import arrays
from reasoning_anatomy.run.folder import Run
from reasoning_anatomy.run.manifest import Configuration
from reasoning_anatomy.run.status import Status
from reasoning_anatomy.run.writer import RunWriter, begin_run
from reasoning_anatomy.types import EncodedChain, PruningPath, ReasoningChain, TokenScores

CONFIGURATION = Configuration(model=None, encoding="words", scorers={"s": "S()", "t:x=1": "T(x=1)"}, strategies={"g": "G()"})
CHAINS = [
    ReasoningChain(chain_id=name, question_id="q", question="Q", reasoning="x y", answer="A")
    for name in ("a", "b", "c/d", "e", "f")
]


def add(writer: RunWriter, chain_id: str, *labels: str) -> None:
    writer.add_encoded(EncodedChain(writer.run.chains[chain_id], [1], [7, 8], [2], [[0, 1], [2, 3]]))
    for label in labels:
        if label == "g":
            writer.add_path(chain_id, label, PruningPath("G()", 2, [1], [0.1], 0, *np.ones((3, 2))))
        else:
            writer.add_scores(chain_id, label, TokenScores(np.ones(2)))


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """One chain is measured, one in part, one failed in part, one was only encoded, one not even that."""
    with begin_run(tmp_path / "run", CONFIGURATION, CHAINS) as writer:
        add(writer, "a", "s", "g")
        writer.add_missing_score("a", "t:x=1", "has one step")
        add(writer, "b", "s")
        add(writer, "c/d", "s")
        writer.add_failure("c/d", "score", "t:x=1", "not finite")
        writer.add_failure("c/d", "path", "g", "no memory")
        add(writer, "e")
    return Run(tmp_path / "run")


def test_every_chain_is_done_failed_or_left(run: Run) -> None:
    status = run.status()
    assert (status.n_chains, status.n_done, status.n_left) == (5, 1, 3)
    assert status.failed == {"c/d": {"scorer t:x=1": "not finite", "strategy g": "no memory"}}
    assert status.missing_scores == {"t:x=1": {"a": "has one step"}}
    assert status.left == {"scorer s": 2, "scorer t:x=1": 3, "strategy g": 3}


def test_what_was_measured_after_a_failure_has_not_failed(run: Run) -> None:
    with begin_run(run.folder, CONFIGURATION, CHAINS) as writer:
        add(writer, "c/d", "t:x=1")
        assert Run(run.folder).status().failed == {"c/d": {"strategy g": "no memory"}}
        add(writer, "c/d", "g")
    status = Run(run.folder).status()
    assert (status.n_done, status.failed) == (2, {})
    assert [path for path in (run.folder / "failed").rglob("*") if path.is_file()] == []


def test_what_is_there_counts_even_if_a_failure_was_left_beside_it(run: Run) -> None:
    """A process may be killed after it wrote the scores and before it removed what an earlier one had failed on."""
    failure = run.layout.failure("c/d", "score", "t:x=1")
    reason = failure.read_bytes()
    with begin_run(run.folder, CONFIGURATION, CHAINS) as writer:
        add(writer, "c/d", "t:x=1")
    failure.write_bytes(reason)
    assert Run(run.folder).status().failed == {"c/d": {"strategy g": "no memory"}}


def test_labels_that_are_added_are_left_on_every_chain(run: Run) -> None:
    with begin_run(run.folder, CONFIGURATION.model_copy(update={"strategies": {"h": "H()"}}), CHAINS[:1]):
        pass
    status = Run(run.folder).status()
    assert (status.n_done, status.left["strategy h"]) == (0, 5)


def test_what_is_not_asked_for_does_not_count(run: Run) -> None:
    folder = run.layout.chain("b")
    for name in ("begun-x.safetensors", "score-unknown.safetensors", "notes.txt", ".tmp-path-x"):
        (folder / name).write_bytes(b"")
    (run.folder / "chains" / "stranger").mkdir()
    assert run.status() == Run(run.folder).status()
    assert run.status().left == {"scorer s": 2, "scorer t:x=1": 3, "strategy g": 3}


def test_ids_without_spans_on_file_are_not_done(run: Run) -> None:
    run.layout.encoded("a").unlink()
    assert (run.status().n_done, run.status().n_left) == (0, 4)
    assert run.measured == ["b", "c/d"]


def test_counting_opens_no_array(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[Path] = []
    read: Callable[..., object] = arrays.safe_open

    def watched(path: Path, **options: object) -> object:
        opened.append(path)
        return read(path, **options)

    monkeypatch.setattr(arrays, "safe_open", watched)
    assert run.status().n_done == 1
    with begin_run(run.folder, CONFIGURATION, CHAINS) as writer:
        assert list(writer.missing([chain.chain_id for chain in CHAINS])) == ["b", "c/d", "e", "f"]
    assert opened == []
    run.encoded("a")
    assert opened == [run.layout.encoded("a")]


def test_a_run_with_nothing_to_measure_is_done_if_its_chains_are_encoded(tmp_path: Path) -> None:
    with begin_run(tmp_path, Configuration(model=None, encoding="words"), CHAINS) as writer:
        add(writer, "a")
    assert Run(tmp_path).status() == Status(n_chains=5, n_done=1)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"{}", b"\xff", b"3"])
@pytest.mark.parametrize("kind", ["failure", "missing score"])
def test_a_damaged_reason_is_named_with_its_remedy(run: Run, kind: str, content: bytes) -> None:
    layout = run.layout
    path = layout.failure("c/d", "path", "g") if kind == "failure" else layout.missing_score("a", "t:x=1")
    path.write_bytes(content)
    with pytest.raises(RunError) as refused:
        run.status()
    assert str(refused.value).startswith(f"{path}: cannot be read (")
    assert str(refused.value).endswith("; delete the file and run the same command again")
