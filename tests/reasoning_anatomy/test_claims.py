"""Threads and processes that share a run do each piece of work once, wait for one another, and lose nothing if one dies."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from reasoning_anatomy import claims
from reasoning_anatomy.claims import claimed, expect_held
from reasoning_anatomy.errors import RunError
from reasoning_anatomy.files import TEMPORARY_PREFIX
from reasoning_anatomy.run.folder import Run, open_run
from reasoning_anatomy.run.manifest import Configuration
from reasoning_anatomy.run.writer import Missing, RunWriter, begin_run
from reasoning_anatomy.types import EncodedChain, PruningPath, ReasoningChain, TokenScores

CHAINS = [ReasoningChain(chain_id=f"c{n}", question_id="q", question="Q", reasoning="x y z", answer="A") for n in range(12)]
CONFIGURATION = Configuration(model=None, encoding="words", scorers={"s": "S()"}, strategies={"g": "G()"})


def encode(chain: ReasoningChain) -> EncodedChain:
    return EncodedChain(chain, [1], [7, 8, 9], [2], [[0, 1], [2, 3], [4, 5]])


def path(*deleted: int) -> PruningPath:
    k = len(deleted)
    return PruningPath("G()", 3, deleted, np.full(k, 0.1), 0, *np.ones((3, k + 1)))


def is_free(lock: Path) -> bool:
    with claimed(lock, []) as is_ours:
        return is_ours


# -- a claim


def test_a_claim_is_had_by_one_until_it_ends(tmp_path: Path) -> None:
    lock = tmp_path / "claims" / "a.lease"
    with ThreadPoolExecutor(1) as another_thread:
        with claimed(lock, []) as is_ours:
            assert is_ours
            assert not is_free(lock)
            assert not another_thread.submit(is_free, lock).result()
            assert is_free(lock.with_name("b.lease"))
        assert another_thread.submit(is_free, lock).result()


def test_a_claim_ends_with_an_error(tmp_path: Path) -> None:
    def fail() -> None:
        with claimed(tmp_path / "a", []):
            raise RuntimeError("broken")

    with pytest.raises(RuntimeError, match="broken"):
        fail()
    assert is_free(tmp_path / "a")


def test_who_waits_gets_the_claim_when_it_ends(tmp_path: Path) -> None:
    events: list[str] = []
    begun = threading.Event()

    def wait() -> None:
        begun.set()
        with claimed(tmp_path / "a", [], wait=True) as is_ours:
            events.append(f"second: {is_ours}")

    with ThreadPoolExecutor(1) as another_thread:
        with claimed(tmp_path / "a", []):
            waiting = another_thread.submit(wait)
            assert begun.wait(10)
            events.append("first")
        waiting.result(10)
    assert events == ["first", "second: True"]


def test_a_claim_ends_with_its_process_and_what_that_left_is_removed(tmp_path: Path) -> None:
    target = tmp_path / "chains" / "score-a.safetensors"
    script = (
        "import sys, time; from pathlib import Path\n"
        "from reasoning_anatomy.files import atomic_path; from reasoning_anatomy.claims import claimed\n"
        "lock, target = map(Path, sys.argv[1:])\n"
        "with claimed(lock, [target]) as is_ours, atomic_path(target) as temporary:\n"
        "    temporary.write_text('half'); print(is_ours, flush=True); time.sleep(60)"
    )
    arguments = [sys.executable, "-c", script, str(tmp_path / "a"), str(target)]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "True\n"
        with claimed(tmp_path / "a", [target]) as is_ours:
            assert not is_ours
        assert len(list(target.parent.iterdir())) == 1  # whoever does not have the claim removes nothing
        process.send_signal(signal.SIGKILL)
        assert process.wait(timeout=10) == -signal.SIGKILL
    with claimed(tmp_path / "a", [target], wait=True) as is_ours:
        assert is_ours
        assert list(target.parent.iterdir()) == []


LEASE = 0.6
ELSEWHERE = b"host=elsewhere:1\npid=1\nclaim=a\n"


@pytest.fixture
def short_lease(monkeypatch: pytest.MonkeyPatch) -> None:
    """What this process waits for; the tests renew by hand."""
    monkeypatch.setattr(claims, "LEASE_SECONDS", LEASE)


@pytest.mark.skipif(not Path("/proc/sys/kernel/random/boot_id").exists(), reason="only Linux tells machines of one name apart")
def test_who_ended_on_a_machine_of_the_same_name_is_not_known_to_have_ended(tmp_path: Path) -> None:
    lock, booted = tmp_path / "a", Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    with subprocess.Popen(["true"]) as ended:
        pass
    with claimed(lock):
        record = lock.read_bytes().replace(f"pid={os.getpid()}".encode(), f"pid={ended.pid}".encode())
    lock.write_bytes(record.replace(booted.encode(), b"another"))
    assert not is_free(lock)
    lock.write_bytes(record)
    assert is_free(lock)


@pytest.mark.usefixtures("short_lease")
@pytest.mark.parametrize("record", [ELSEWHERE, b""], ids=["of another machine", "killed before it was written"])
def test_a_claim_that_is_not_renewed_goes_to_who_waits(tmp_path: Path, record: bytes) -> None:
    lock, begun = tmp_path / "a", time.monotonic()
    lock.write_bytes(record)
    assert not is_free(lock)
    with claimed(lock, wait=True) as is_ours:
        assert is_ours
        assert LEASE <= time.monotonic() - begun < 20 * LEASE
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("short_lease")
@pytest.mark.parametrize("fast", [-100, 0, 100])
def test_a_claim_that_is_renewed_stays_though_clocks_differ(tmp_path: Path, fast: float) -> None:
    """Times of the file are of the other machine, whose clock goes so many seconds fast."""
    lock = tmp_path / "a"
    lock.write_bytes(ELSEWHERE)
    for _ in range(20):
        os.utime(lock, times=2 * (time.time() + fast,))
        assert not is_free(lock)
        time.sleep(LEASE / 10)
    assert lock.read_bytes() == ELSEWHERE


def test_a_claim_of_long_ago_is_free_at_once(tmp_path: Path) -> None:
    lock = tmp_path / "a"
    lock.write_bytes(ELSEWHERE)
    os.utime(lock, times=2 * (time.time() - 3600,))
    assert is_free(lock)


def test_of_many_who_take_over_a_claim_one_has_it(tmp_path: Path) -> None:
    lock, n_holders, most = tmp_path / "a", Counter[str](), Counter[str]()
    lock.write_bytes(ELSEWHERE)
    os.utime(lock, times=2 * (time.time() - 3600,))

    def take() -> None:
        with claimed(lock, wait=True):
            n_holders["now"] += 1
            most["ever"] = max(most["ever"], n_holders["now"])
            time.sleep(0.002)
            n_holders["now"] -= 1

    with ThreadPoolExecutor(8) as threads:
        for each in [threads.submit(take) for _ in range(64)]:
            each.result()
    assert most["ever"] == 1
    assert list(tmp_path.iterdir()) == []


def test_who_stood_still_does_not_undo_what_its_successor_wrote(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lock, record = tmp_path / "a", tmp_path / "record"
    script = (
        "import sys; from pathlib import Path; from reasoning_anatomy.claims import claimed, expect_held\n"
        "lock, record = map(Path, sys.argv[1:])\n"
        "with claimed(lock):\n"
        "    expect_held(lock); print('held', flush=True); sys.stdin.readline()\n"
        "    expect_held(lock); record.write_text('first')"
    )
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", script, str(lock), str(record)], text=True, **pipes) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        process.send_signal(signal.SIGSTOP)
        monkeypatch.setattr(claims, "LEASE_SECONDS", LEASE)
        with claimed(lock, wait=True):
            record.write_text("second")
            process.send_signal(signal.SIGCONT)
            _, error = process.communicate("go\n", timeout=60)
            assert "this process stood still for more than" in error
            assert record.read_text() == "second"
            expect_held(lock)  # the first one has removed its own claim only
    assert list(tmp_path.iterdir()) == [record]


def test_a_claim_is_renewed_while_it_is_held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claims, "_SECONDS_BETWEEN_RENEWALS", 0.02)
    lock = tmp_path / "a"
    with claimed(lock):
        os.utime(lock, times=(0, 0))
        deadline = time.monotonic() + 20
        while lock.stat().st_mtime == 0:
            assert time.monotonic() < deadline
            time.sleep(0.01)


def test_a_disk_that_is_full_is_named(tmp_path: Path) -> None:
    (tmp_path / "claims").write_text("a file where a folder is to be")
    with pytest.raises(RunError, match=r"claims.a: cannot be written .*make room, then run the same command again"):
        is_free(tmp_path / "claims" / "a")


# -- a run that several processes measure

MEASURE = """
import sys, time
from pathlib import Path
import numpy as np
from reasoning_anatomy.run.manifest import Configuration
from reasoning_anatomy.run.writer import begin_run
from reasoning_anatomy.types import EncodedChain, ReasoningChain, TokenScores

folder, log, label, n_chains = Path(sys.argv[1]), sys.argv[2], sys.argv[3], int(sys.argv[4])
texts = {"question_id": "q", "question": "Q", "reasoning": "x y z", "answer": "A"}
chains = [ReasoningChain(chain_id=f"c{n}", **texts) for n in range(n_chains)]
configuration = Configuration(model=None, encoding="words", scorers={"s": "S()", label: "S()"})
print("ready", flush=True)
sys.stdin.readline()
with begin_run(folder, configuration, chains) as writer:
    for wait in (False, True):
        for chain_id in list(writer.missing([chain.chain_id for chain in chains])):
            writer.add_encoded(EncodedChain(writer.run.chains[chain_id], [1], [7, 8, 9], [2], [[0, 1], [2, 3], [4, 5]]))
            with writer.claim_scores(chain_id, ["s", label], wait=wait) as is_ours:
                lacking = writer.missing([chain_id]) if is_ours else {}
                for name in lacking[chain_id].scorers if lacking else ():
                    time.sleep(0.01)
                    with open(log, "a") as file:
                        file.write(f"{chain_id} {name}\\n")
                    writer.add_scores(chain_id, name, TokenScores(np.arange(3.0)))
"""


def measure_together(folder: Path, log: Path, *labels_and_chains: tuple[str, int]) -> None:
    """Start processes, and let them go when all are ready."""
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", MEASURE, str(folder), str(log), label, str(n_chains)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for label, n_chains in labels_and_chains
    ]  # fmt: skip
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    ended = [process.communicate(timeout=120) for process in processes]
    assert [error for _, error in ended] == [""] * len(processes)


def test_processes_share_a_run_and_do_each_piece_of_work_once(tmp_path: Path) -> None:
    """They begin the run at the same time, with other chains and labels each."""
    log = tmp_path / "log"
    measure_together(tmp_path / "run", log, ("s", 12), ("s", 12), ("t", 4))
    assert Counter(log.read_text().splitlines()) == {
        **{f"c{n} s": 1 for n in range(12)}, **{f"c{n} t": 1 for n in range(4)}
    }  # fmt: skip
    run = open_run(tmp_path / "run")
    assert sorted(run.chains) == sorted(chain.chain_id for chain in CHAINS)
    assert set(run.manifest.configuration.scorers) == {"s", "t"}
    assert run.status().left == {"scorer t": 8}
    tokens = run.tokens()
    assert tokens["score_s"].tolist() == [0, 1, 2] * 12
    assert tokens["score_t"].notna().sum() == 12
    assert [path for path in tmp_path.rglob("*") if path.name.startswith(TEMPORARY_PREFIX)] == []


def test_who_claims_is_not_disturbed_by_who_finishes(tmp_path: Path) -> None:
    """A process may still go through chains that another one has measured when that one forgets the claims."""
    with begin_run(tmp_path, CONFIGURATION, CHAINS[:1]) as writer:
        writer.add_encoded(encode(CHAINS[0]))
        writer.add_scores("c0", "s", TokenScores(np.zeros(3)))
        writer.add_path("c0", "g", path(0))
    other = RunWriter(Run(tmp_path), CONFIGURATION, writer.stages)
    ended = threading.Event()

    def finish() -> None:
        while not ended.is_set():
            other.finish()

    with ThreadPoolExecutor(1) as another_thread:
        finishing = another_thread.submit(finish)
        try:
            for _ in range(300):
                with writer.claim_scores("c0", ["s"], wait=True) as is_ours:
                    assert is_ours
        finally:
            ended.set()
        finishing.result()


# -- a path that follows another one


@dataclass(frozen=True)
class Last:
    """Deletes the last token."""

    def prune(self, chain: EncodedChain, *, loaded: object, job: object = None) -> PruningPath:
        return path(chain.n_reasoning - 1)


@dataclass(frozen=True)
class Follower:
    """Deletes what the path that it follows deletes."""

    reference: str = "g"
    seen: list[str] = field(default_factory=list, compare=False, repr=False)

    def prune(self, chain: EncodedChain, *, loaded: object, job: object = None) -> PruningPath:
        self.seen.append(chain.chain_id)
        return path(*job.paths[self.reference].deleted)  # type: ignore[attr-defined]


FOLLOWING = Configuration(model=None, encoding="words", strategies={"g": "Last()", "f": "Follower(reference='g')"})


def test_a_path_that_follows_one_in_the_making_is_left_until_that_is_there(tmp_path: Path) -> None:
    from reasoning_anatomy.pipeline.chain import ChainWork
    from reasoning_anatomy.pipeline.plan import Plan

    follower, chain = Follower(), encode(CHAINS[0])
    with begin_run(tmp_path, FOLLOWING, CHAINS[:1]) as writer, ThreadPoolExecutor(1) as another_thread:
        work = ChainWork(writer, Plan({}, {"g": Last(), "f": follower}), loaded=None)  # type: ignore[arg-type]
        missing = Missing((), ("g", "f"))
        with writer.claim_path("c0", "g"):  # as another process that makes it
            work.measure(chain, missing)
            assert follower.seen == []
            assert Run(tmp_path).status().failed == {}
            waiting = another_thread.submit(work.measure, chain, missing, wait=True)
            writer.add_path("c0", "g", path(1))
        waiting.result(30)
    found = open_run(tmp_path).path("c0", "f")
    assert found is not None
    assert found.deleted.tolist() == [1]
    assert open_run(tmp_path).status().n_done == 1


@pytest.mark.parametrize("wait", [False, True])
def test_a_path_that_follows_one_that_failed_fails_with_its_reason(tmp_path: Path, wait: bool) -> None:
    from reasoning_anatomy.pipeline.chain import ChainWork
    from reasoning_anatomy.pipeline.plan import Plan

    with begin_run(tmp_path, FOLLOWING.model_copy(update={"scorers": {"s": "S()"}}), CHAINS[:1]) as writer:
        writer.add_scores("c0", "s", TokenScores(np.zeros(3)))
        work = ChainWork(writer, Plan({}, {"f": Follower()}), loaded=None)  # type: ignore[arg-type]
        work.measure(encode(CHAINS[0]), Missing((), ("f",)), wait=wait)
    assert open_run(tmp_path).status().failed == {"c0": {"strategy f": "has no path of g, which f follows"}}
