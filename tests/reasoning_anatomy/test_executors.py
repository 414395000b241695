"""Workers of this machine, of a Ray cluster and of SLURM come to what one process comes to, whoever of them is killed."""

import importlib
import json
import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, Literal

import pytest

from reasoning_anatomy.chains import write_chains
from reasoning_anatomy.errors import RunError
from reasoning_anatomy.files import TEMPORARY_PREFIX
from reasoning_anatomy.models.loading import LoadedModel
from reasoning_anatomy.pipeline.executors import Executor, Local, Ray, Slurm, Work, execute
from reasoning_anatomy.pipeline.measuring import measure, n_left
from reasoning_anatomy.progress import Stages
from reasoning_anatomy.run.folder import Run, open_run
from reasoning_anatomy.types import ReasoningChain

pytestmark = pytest.mark.slow

PROGRAM = (sys.executable, "-c", "from reasoning_anatomy.cli import main; main()")
RESULTS = ("chains.jsonl", "tokens.parquet", "paths.parquet", "chains/**/*.safetensors")


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    texts = [f"{n} and {n} are {2 * n}. " + "Then one more is added. " * (n % 2) + f"That makes {2 * n}." for n in range(4)]
    chains = [
        ReasoningChain(chain_id=f"c{n}", question_id=f"q{n}", question=f"What is {n} + {n}?", reasoning=text, answer=f"{2 * n}")
        for n, text in enumerate(texts)
    ]
    path = tmp_path_factory.mktemp("chains") / "chains.jsonl"
    write_chains(path, chains)
    return path


@pytest.fixture(scope="module")
def arguments(file: Path, tiny_model_folder: Path) -> dict[str, Any]:
    return {
        "chains": str(file), "model": str(tiny_model_folder), "scorers": ["recency"], "workers": 1,
        "strategies": ["greedy:keep_ratio=0.7,checkpoint_every=3", "random_tokens"],
    }  # fmt: skip


@pytest.fixture(scope="module")
def whole(arguments: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The run by this process."""
    return measure(**arguments, out=tmp_path_factory.mktemp("whole") / "run")


@pytest.fixture(scope="module")
def cluster(dying: object) -> Iterator[Any]:
    """A Ray cluster of this machine."""
    ray = pytest.importorskip("ray")
    ray.init(num_cpus=2, log_to_driver=False, include_dashboard=False)
    yield ray
    ray.shutdown()


def content(run: Run) -> dict[str, bytes]:
    """Every file that holds results; run.json also holds times."""
    return {str(path.relative_to(run.folder)): path.read_bytes() for pattern in RESULTS for path in run.folder.glob(pattern)}


def work_on(out: Path, arguments: dict[str, Any]) -> Work:
    return Work(measure, {**arguments, "out": out})


DYING = """
import os, signal
from contextlib import ExitStack
from pathlib import Path
from unittest.mock import patch
from reasoning_anatomy.errors import RunError
from reasoning_anatomy.pipeline.measuring import measure
from reasoning_anatomy.run import tables
from reasoning_anatomy.run.writer import RunWriter

MOMENTS = {
    "before the first chain is written": (RunWriter, "add_encoded", True),
    "within a chain": (RunWriter, "add_begun_path", False),
    "between chains": (RunWriter, "add_path", False),
    "between tables": (tables, "_write_table", False),
}

def dying_at(moment, died, error):
    owner, name, is_before = MOMENTS[moment]
    act = getattr(owner, name)

    def die(*args, **options):
        if not is_before:
            act(*args, **options)
        try:
            (Path(died) / moment).touch(exist_ok=False)
        except FileExistsError:
            return act(*args, **options) if is_before else None
        if error is not None:
            raise RunError(error)
        os.kill(os.getpid(), signal.SIGKILL)

    return patch.object(owner, name, die)

def measure_or_die(moments, died, error=None, **arguments):
    with ExitStack() as patched:
        for moment in moments:
            patched.enter_context(dying_at(moment, died, error))
        return measure(**arguments)

def measure_or_be_preempted(told, **arguments):
    act = RunWriter.add_begun_path

    def add(writer, chain_id, label, pruning, **options):
        act(writer, chain_id, label, pruning, **options)
        is_first = not Path(told).exists()
        with open(told, "a") as file:
            file.write(f"{chain_id} {len(pruning.deleted)}\\n")
        if is_first:
            os.kill(os.getpid(), signal.SIGUSR2)

    with patch.object(RunWriter, "add_begun_path", add):
        return measure(**arguments)
"""
"""Workers import it: the first that comes to a moment is killed there, or ends with an error, or is told that it must go."""

MOMENTS = ("before the first chain is written", "within a chain", "between chains", "between tables")


@pytest.fixture(scope="module")
def dying(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Run]]:
    """A `measure` that kills its process, wherever that runs."""
    folder = tmp_path_factory.mktemp("dying")
    (folder / "dying.py").write_text(DYING)
    with pytest.MonkeyPatch.context() as patched:
        patched.syspath_prepend(folder)
        patched.setenv("PYTHONPATH", os.pathsep.join(sys.path))
        yield importlib.import_module("dying").measure_or_die


@pytest.fixture
def executor(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Executor:
    """Two processes, two actors of the cluster, or two jobs that submitit runs here."""
    if request.param == "local":
        return Local(processes=2)
    if request.param == "ray":
        request.getfixturevalue("cluster")
        return Ray(processes=2)
    submitit = pytest.importorskip("submitit")
    monkeypatch.setattr(submitit.Job, "_results_timeout_s", 1)  # how long it waits for what a killed job has not written
    return Slurm(tmp_path / "jobs", 2, cluster="local")


@pytest.mark.parametrize("executor", ["local", "ray", "submitit"], indirect=True)
def test_workers_come_to_the_bytes_of_one_process_though_one_is_killed_at_every_moment(
    whole: Run, arguments: dict[str, Any], tmp_path: Path, dying: Callable[..., Run], executor: Executor
) -> None:
    out, died = tmp_path / "run", tmp_path / "died"
    died.mkdir()
    work = Work(dying, {**arguments, "out": out, "moments": MOMENTS, "died": died})
    for _ in MOMENTS:  # the jobs of submitit are not started again
        if len(list(died.iterdir())) == len(MOMENTS):
            break
        with Stages() as stages, suppress(RunError):
            execute(work, executor, n_left=partial(n_left, out), stages=stages)
    assert {path.name for path in died.iterdir()} == set(MOMENTS)
    measure(**arguments, out=out)
    assert content(open_run(out)) == content(whole)
    assert [path.name for path in out.rglob("*") if path.name.startswith(TEMPORARY_PREFIX)] == []
    assert [path.name for path in out.rglob("*.lease")] == []


def test_what_a_worker_leaves_whose_disk_is_full_the_others_do(
    whole: Run, arguments: dict[str, Any], tmp_path: Path, dying: Callable[..., Run]
) -> None:
    out = tmp_path / "run"
    failing = {"moments": ["within a chain"], "died": tmp_path, "error": "No space left on device"}
    with Stages() as stages:
        execute(Work(dying, {**arguments, **failing, "out": out}), Local(2), n_left=partial(n_left, out), stages=stages)
    assert "note: a worker could not go on, and left its part to others: No space left on device" in stages.said
    assert content(open_run(out)) == content(whole)


def test_two_commands_with_workers_share_a_run(whole: Run, arguments: dict[str, Any], tmp_path: Path) -> None:
    out = tmp_path / "run"

    def command() -> None:
        with Stages() as stages:
            execute(work_on(out, arguments), Local(processes=1), n_left=partial(n_left, out), stages=stages)

    with ThreadPoolExecutor(2) as commands:
        for each in [commands.submit(command) for _ in range(2)]:
            each.result()
    assert content(open_run(out)) == content(whole)
    assert n_left(out) == 0


SBATCH = """#!{python}
# Plays sbatch: runs every task of the array in the background, as SLURM does, with the variables that it sets.
import os, re, subprocess, sys
script = open(sys.argv[-1]).read()
n = int(re.search(r"--array=0-(\\d+)", script).group(1)) + 1
out = re.search(r"--output=(\\S+)", script).group(1)
for number in range(n):
    environment = os.environ | {{
        "SLURM_JOB_ID": str(100 + number), "SLURM_ARRAY_JOB_ID": "7", "SLURM_ARRAY_TASK_ID": str(number),
        "SLURM_JOB_NUM_NODES": "1", "SLURM_NTASKS": "1", "SLURM_PROCID": "0", "SLURM_LOCALID": "0", "SLURM_NODEID": "0",
        "SLURM_JOB_NODELIST": "here", "SLURMD_NODENAME": "here",
        "PLAYED_SCRIPT": sys.argv[-1], "PLAYED_OUTPUT": out.replace("%A", "7").replace("%a", str(number)),
    }}
    subprocess.Popen(["bash", sys.argv[-1]], env=environment, start_new_session=True,
                     stdout=open(environment["PLAYED_OUTPUT"], "w"), stderr=subprocess.STDOUT)
print("Submitted batch job 7")
"""
SRUN = """#!/bin/bash
# Plays srun: leaves its own options out, and runs the rest here.
while [[ "$1" == --* || "$1" == -* ]]; do
  case "$1" in --output|--error) shift 2 ;; *) shift ;; esac
done
exec "$@"
"""
SACCT = """#!{python}
print("JobID|State")
"""
SCONTROL = """#!{python}
# Plays scontrol requeue: runs the task of its caller again, as SLURM does, with the same variables.
import os, subprocess
subprocess.Popen(["bash", os.environ["PLAYED_SCRIPT"]], start_new_session=True,
                 stdout=open(os.environ["PLAYED_OUTPUT"], "a"), stderr=subprocess.STDOUT)
"""


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Programs that play those of SLURM."""
    folder = tmp_path / "bin"
    folder.mkdir()
    played = {"sbatch": SBATCH, "srun": SRUN, "sacct": SACCT, "scontrol": SCONTROL, "scancel": "#!/bin/bash\n"}
    for name, text in played.items():
        program = folder / name
        program.write_text(text.format(python=sys.executable) if "{python}" in text else text)
        program.chmod(program.stat().st_mode | stat.S_IEXEC)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    return folder


@pytest.mark.usefixtures("slurm", "dying")
@pytest.mark.parametrize(
    ("cluster", "n_jobs", "minutes", "reason"), [("slurm", 2, 60, "preempted"), ("local", 1, 5, "timed-out")]
)
def test_jobs_come_to_the_bytes_of_one_process_and_one_that_must_go_is_queued_again_and_goes_on_within_its_chain(
    whole: Run,
    arguments: dict[str, Any],
    tmp_path: Path,
    cluster: Literal["slurm", "local"],
    n_jobs: int,
    minutes: int,
    reason: str,
) -> None:
    pytest.importorskip("submitit")
    out, told = tmp_path / "run", tmp_path / "told"
    work = Work(importlib.import_module("dying").measure_or_be_preempted, {**arguments, "out": out, "told": told})
    jobs = Slurm(tmp_path / "jobs", n_jobs, {"timeout_min": minutes}, cluster)
    with Stages() as stages:
        execute(work, jobs, n_left=partial(n_left, out), stages=stages)
    assert content(open_run(out)) == content(whole)
    saved = told.read_text().splitlines()
    assert len(saved) == len(set(saved)) >= 4, "each checkpoint is written once, by the one or the other"
    logs = "".join(path.read_text() for path in (tmp_path / "jobs").glob("*_log.*"))
    assert f"this job is {reason}" in logs
    assert logs.count("Requeued job") == 1


def test_workers_that_cannot_begin_end_with_their_reason(arguments: dict[str, Any], tmp_path: Path) -> None:
    bad = {**arguments, "strategies": ["greedy:keep_ratio=2"]}
    with pytest.raises(RunError, match="keep_ratio"), Stages() as stages:
        execute(work_on(tmp_path / "run", bad), Local(processes=2), n_left=partial(n_left, tmp_path / "run"), stages=stages)


def test_a_model_that_is_loaded_stays_in_its_process(make_random_model: Callable[[str], LoadedModel]) -> None:
    with pytest.raises(RunError, match="model is a loaded model, which stays in its process; give its id"):
        Work(measure, {"model": make_random_model("llama")})


def test_what_workers_say_is_said_once(arguments: dict[str, Any], tmp_path: Path) -> None:
    with Stages() as stages:
        execute(
            work_on(tmp_path / "run", arguments), Local(processes=2), n_left=partial(n_left, tmp_path / "run"), stages=stages
        )
    prompts = [text for text in stages.said if text.startswith("The prompt ends in ")]
    assert len(prompts) == 1


def test_the_command_takes_an_executor(call: Callable[..., Any], file: Path, tiny_model_folder: Path, whole: Run) -> None:
    options = ["--model", tiny_model_folder, "--scorers", "recency", "--workers", "1", "--out", "run"]
    strategies = ["--strategies", "greedy:keep_ratio=0.7,checkpoint_every=3", "random_tokens"]
    done = call("run", file, *options, *strategies, "--processes", "2")
    assert (done.code, done.out.splitlines()[-2:-1]) == (0, ["4 of 4 chains are measured in run"])
    assert content(open_run("run")) == content(whole)


@pytest.fixture(scope="module")
def sampling(tmp_path_factory: pytest.TempPathFactory, tiny_model_folder: Path) -> list[str]:
    """Words of a command that samples, without its file."""
    problems = tmp_path_factory.mktemp("problems") / "problems.jsonl"
    asked = [{"question_id": f"q{n}", "question": f"What is {n} + {n}?", "gold_answer": f"{2 * n}"} for n in range(20)]
    problems.write_text("".join(json.dumps(each) + "\n" for each in asked))
    return ["generate", str(problems), "--model", str(tiny_model_folder), "--samples", "2", "--max-tokens", "8"]


@pytest.fixture(scope="module")
def sampled(sampling: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file by one process."""
    path = tmp_path_factory.mktemp("sampled") / "chains.jsonl"
    subprocess.run([*PROGRAM, *sampling, "--out", str(path)], check=True, capture_output=True)
    return path


def test_workers_sample_the_file_of_one_process(call: Callable[..., Any], sampling: list[str], sampled: Path) -> None:
    first = call(*sampling[:4], "--samples", "1", "--max-tokens", "8", "--first", "6", "--out", "chains.jsonl")
    assert first.code == 0, first.err
    done = call(*sampling, "--processes", "2", "--out", "chains.jsonl")
    assert done.code == 0, done.err
    assert "Wrote chains.jsonl: 40 chains" in done.out
    assert Path("chains.jsonl").read_bytes() == sampled.read_bytes()
    assert sorted(path.name for path in Path().glob(".chains*")) == []
    again = call(*sampling, "--processes", "2", "--out", "chains.jsonl", "--dtype", "bfloat16")
    assert again.code == 2
    assert "was sampled with other options (model" in again.err


def test_workers_go_on_where_a_killed_command_and_its_workers_were(
    call: Callable[..., Any], sampling: list[str], sampled: Path, tmp_path: Path
) -> None:
    out = tmp_path / "killed" / "chains.jsonl"
    words = [*sampling, "--processes", "2", "--out", str(out)]
    with subprocess.Popen([*PROGRAM, *words], start_new_session=True, stderr=subprocess.DEVNULL) as process:
        while not any(path.read_bytes() for path in out.parent.glob(".chains.jsonl.parts/*.jsonl")):
            assert process.poll() is None
            time.sleep(0.01)
        os.killpg(process.pid, signal.SIGKILL)
    done = call(*words)
    assert done.code == 0, done.err
    assert out.read_bytes() == sampled.read_bytes()
    assert sorted(path.name for path in out.parent.iterdir()) == ["chains.jsonl", "chains.jsonl.options.json"]


CLAIM = """
import os, sys
from pathlib import Path
from reasoning_anatomy.claims import claimed
claimed(Path(sys.argv[1])).__enter__()
os._exit(0)
"""
"""A process that ends without giving back its claim, as one that is killed does."""


def test_what_killed_workers_left_half_written_is_removed(
    call: Callable[..., Any], sampling: list[str], sampled: Path, tmp_path: Path
) -> None:
    out = tmp_path / "chains.jsonl"
    parts = tmp_path / ".chains.jsonl.parts"
    parts.mkdir()
    for what in ("done", "options"):
        (parts / f".tmp-0123456789abcdef.jsonl.{what}.json-01234567.json").write_text("{")
    (tmp_path / ".tmp-chains.jsonl-01234567.jsonl").write_text("{")
    subprocess.run([sys.executable, "-c", CLAIM, str(parts / ".0123456789abcdef.jsonl.lease")], check=True)
    done = call(*sampling, "--processes", "2", "--out", str(out))
    assert done.code == 0, done.err
    assert out.read_bytes() == sampled.read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["chains.jsonl", "chains.jsonl.options.json"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--address", "auto"], "--address is for --executor ray, not for local"),
        (["--gpus", "0"], "--gpus is for --executor ray, not for local"),
        (["--executor", "ray", "--gpus", "1.5"], "gpus is 1.5; give a whole number, or a fraction of one"),
        (["--executor", "ray", "--dry-run"], "--dry-run is for --executor slurm, not for ray"),
        (["--executor", "slurm"], "how many jobs there are to be is not said: --processes N"),
        (["--processes", "0"], "processes is 0; give 1 or more"),
        (["--executor", "slurm", "--processes", "2", "--slurm", "fast"], "--slurm fast: expected KEY=VALUE"),
    ],
)
def test_options_that_contradict_each_other_are_named(
    call: Callable[..., Any], file: Path, options: list[str], message: str
) -> None:
    done = call("run", file, "--out", "run", *options)
    assert done.code == 2
    assert message in done.err
