"""Whatever happens to a run, nothing computed is lost, and the same command finishes it to the same bytes."""

import multiprocessing
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from reasoning_anatomy.chains import write_chains
from reasoning_anatomy.errors import MeasurementError, RunError
from reasoning_anatomy.pipeline.measuring import measure
from reasoning_anatomy.pruning import PruningJob
from reasoning_anatomy.pruning.greedy import Greedy
from reasoning_anatomy.run.folder import Run, open_run

pytestmark = pytest.mark.slow

N_KILLS = 10
STRATEGIES = ("greedy:keep_ratio=0.7,checkpoint_every=3", "random_tokens:keep_ratio=0.7")
IMPORTED_ONCE = [
    "reasoning_anatomy.pipeline.measuring", "reasoning_anatomy.pruning.greedy", "reasoning_anatomy.pruning.random_tokens",
    "reasoning_anatomy.importance.recency", "transformers.models.auto.modeling_auto",
    "transformers.models.llama.modeling_llama",
]  # fmt: skip
RESULTS = ("chains.jsonl", "tokens.parquet", "paths.parquet", "chains/**/*.safetensors")


@pytest.fixture(scope="module")
def processes():
    """Start processes in which torch is already imported."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(IMPORTED_ONCE)
    return context


@pytest.fixture(scope="module")
def slow_model_folder(write_tiny_model, tokenizer, tmp_path_factory):
    """A tiny model with the whole vocabulary, which takes so long that a process can be killed within a chain."""
    return write_tiny_model(tmp_path_factory.mktemp("model") / "slow", tokenizer)


@pytest.fixture(scope="module")
def start(processes, slow_model_folder, example_chains, tmp_path_factory):
    """Start to measure two chains in a process of its own."""
    file = tmp_path_factory.mktemp("chains") / "chains.jsonl"
    write_chains(file, example_chains[:2])

    def start(out: Path, strategies=STRATEGIES):
        options = {"model": str(slow_model_folder), "scorers": ["recency"], "strategies": strategies, "workers": 1}
        process = processes.Process(target=measure, args=(str(file),), kwargs=options | {"out": str(out)})
        process.start()
        return process

    return start


@pytest.fixture(scope="module")
def whole(start, tmp_path_factory) -> tuple[Run, float]:
    """A run that nobody disturbed, and the seconds that it takes when all is imported."""
    out = tmp_path_factory.mktemp("runs") / "whole"
    finish(start, out)
    begin = time.perf_counter()
    finish(start, out.with_name("again"))
    return open_run(out), time.perf_counter() - begin


def finish(start, out: Path) -> None:
    process = start(out)
    process.join()
    assert process.exitcode == 0


def content(run: Run) -> dict[str, bytes]:
    """Every file that holds results; run.json also holds times."""
    paths = [path for pattern in RESULTS for path in run.folder.glob(pattern)]
    return {str(path.relative_to(run.folder)): path.read_bytes() for path in paths}


def test_chains_killed_at_random_moments_come_to_the_same_bytes(start, whole, tmp_path):
    undisturbed, seconds = whole
    rng = np.random.default_rng(0)
    n_kills, n_resumed, runs = 0, 0, 0
    while n_kills < N_KILLS:
        out = tmp_path / str(runs)
        runs += 1
        for _ in range(5):  # few enough that most runs are cut off before their end
            n_resumed += any(out.glob("chains/*/begun-*"))
            process = start(out)
            process.join(rng.uniform(0.1, 0.6) * seconds)
            n_kills += process.exitcode is None
            process.kill()
            process.join()
        finish(start, out)
        assert content(open_run(out)) == content(undisturbed)
        assert open_run(out).status().n_left == 0
        assert not list(out.rglob(".tmp-*"))
        assert not any((out / ".claims").iterdir())
    assert n_resumed >= 2  # chains went on in their middle


def test_processes_on_one_run_share_the_work_and_come_to_the_same_bytes(start, whole, tmp_path):
    out = tmp_path / "shared"
    processes = [start(out) for _ in range(3)]
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0, 0]
    assert content(open_run(out)) == content(whole[0])
    assert not list(out.rglob(".tmp-*"))


def test_a_process_takes_over_what_a_killed_one_was_working_on(start, whole, tmp_path):
    out = tmp_path / "shared"
    first, second = start(out), start(out)
    while not any(out.glob("chains/*/begun-*")):
        time.sleep(0.005)
    first.kill()
    first.join()
    second.join()
    assert second.exitcode == 0
    assert content(open_run(out)) == content(whole[0])


def test_processes_add_different_strategies_to_one_run_at_the_same_time(start, whole, tmp_path):
    out = tmp_path / "shared"
    processes = [start(out, strategies=[strategy]) for strategy in STRATEGIES]
    for process in processes:
        process.join()
    run = open_run(out)
    assert set(run.manifest.configuration.strategies) == set(STRATEGIES)
    assert run.status().n_done == 2
    assert {name: data for name, data in content(run).items() if name.startswith("chains/")} == {
        name: data for name, data in content(whole[0]).items() if name.startswith("chains/")
    }


def test_run_goes_on_from_the_deletions_that_were_saved(make_random_model, make_random_chain):
    loaded, chain = make_random_model("llama"), make_random_chain(4, 12, 3)
    greedy, saved = Greedy(objective="joint", checkpoint_every=5), []
    path = greedy.prune(chain, loaded=loaded, job=PruningJob(save=saved.append))
    assert [len(begun.deleted) for begun in saved] == [5, 10, 12]
    calls = []
    job = PruningJob(begun=saved[0], advance=lambda: calls.append(1))
    again = greedy.prune(chain, loaded=loaded, job=job)
    assert len(calls) == 7
    for name in ("deleted", "margin", "nll_answer", "nll_joint", "nll_reasoning"):
        assert getattr(again, name).tobytes() == getattr(path, name).tobytes()
    assert (again.n_ties, again.token_forwards) == (path.n_ties, path.token_forwards)


def test_full_disk_is_named_and_the_run_finished_later(tiny_model_folder, example_chains, tmp_path):
    file, out = tmp_path / "chains.jsonl", tmp_path / "run"
    write_chains(file, example_chains[:1])
    limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (2500, 2500)); "  # bytes of any file
    program = "from reasoning_anatomy.cli import main; main()"
    options = ["run", file, "--model", tiny_model_folder, "--out", out, "--strategies", "truncation"]
    environment = os.environ | {"HF_HUB_OFFLINE": "1"}
    command = [sys.executable, "-B", "-c", limit + program, *options]  # -B: compiled modules would be cut off, and stay so
    failed = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert failed.returncode == 2
    assert re.search(r"cannot be written \(.*File too large\); make room or choose another place", failed.stderr)
    assert "Traceback" not in failed.stderr
    assert open_run(out).status().n_left == 1
    measure(file, out=out, model=str(tiny_model_folder), strategies=["truncation"])
    assert open_run(out).status().n_left == 0


def test_unreadable_checkpoint_is_named_with_its_remedy(start, tmp_path, slow_model_folder, example_chains):
    out = tmp_path / "run"
    process = start(out)
    while process.is_alive() and not any(out.glob("chains/*/begun-*")):
        time.sleep(0.001)
    process.kill()
    process.join()
    (checkpoint,) = out.glob("chains/*/begun-*")
    checkpoint.write_bytes(b"no tensors")
    with pytest.raises(
        RunError, match=rf"{checkpoint.name}: cannot be read .*; delete the file and run the same command again"
    ):
        measure(example_chains[:2], out=out, model=str(slow_model_folder), scorers=["recency"], strategies=STRATEGIES)


@pytest.fixture
def make_room_for(make_random_model):
    """Let a small model fail on every pass of more tokens than there is room for, as an accelerator does."""
    handles = []

    def make(n_tokens: int):
        def refuse(_module, _args, options) -> None:
            if options["input_ids"].numel() > n_tokens:
                raise torch.OutOfMemoryError("CUDA out of memory")

        loaded = make_random_model("llama")
        handles.append(loaded.model.register_forward_pre_hook(refuse, with_kwargs=True))
        return loaded

    yield make
    for handle in handles:
        handle.remove()


@pytest.mark.parametrize("room", [200, 40, 16])
def test_budget_is_halved_where_memory_runs_out_and_recorded(make_room_for, make_random_model, make_random_chain, room):
    chain = make_random_chain(4, 12, 3)
    expected = Greedy(objective="joint").prune(chain, loaded=make_random_model("llama"))
    path = Greedy(objective="joint").prune(chain, loaded=make_room_for(room))
    assert path.deleted.tolist() == expected.deleted.tolist()
    np.testing.assert_allclose(path.nll_joint, expected.nll_joint, atol=1e-5)
    assert expected.token_budget == 1024
    assert path.token_budget <= room or room == 200


def test_chain_whose_smallest_pass_does_not_fit_is_counted_as_failed(make_room_for, make_random_chain):
    with pytest.raises(MeasurementError, match="random: there is too little memory for a single forward pass"):
        Greedy().prune(make_random_chain(4, 12, 3), loaded=make_room_for(6))


def test_memory_that_really_runs_out_on_a_cpu_halves_the_budget():
    program = Path(__file__).with_name("limited_memory.py")
    found = subprocess.run([sys.executable, program], capture_output=True, text=True, check=True).stdout.split()
    unlimited, limited, same_order = int(found[0]), int(found[1]), found[2] == "True"
    assert limited < unlimited
    assert same_order
