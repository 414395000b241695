"""Runs in an object store: what is finished here is there, and on every other machine; served by moto, as S3 is."""

import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import fsspec
import pytest
from moto.server import ThreadedMotoServer

from reasoning_anatomy.chains import write_chains
from reasoning_anatomy.errors import RunError
from reasoning_anatomy.run import open_run, stores
from reasoning_anatomy.run.stores import CACHE_VARIABLE, Store, stored
from reasoning_anatomy.types import ReasoningChain

SECRET = "a-secret-that-no-file-may-hold"
TABLES = ("tokens.parquet", "paths.parquet")


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    yield "http://{}:{}".format(*server.get_host_and_port())
    server.stop()


@pytest.fixture(params=["s3", "file"])
def url(request: pytest.FixtureRequest, endpoint: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    """Return a folder that is not there yet, of S3 and of the file system that `fsspec` takes for this machine's."""
    if request.param == "file":
        return f"file://{tmp_path / 'store'}/run"
    for name, value in {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ACCESS_KEY_ID": "reader",
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    fsspec.get_filesystem_class("s3").clear_instance_cache()  # of another server
    bucket = "b" + tmp_path.name.replace("_", "-").lower()[-50:]
    fsspec.filesystem("s3").mkdir(bucket)
    return f"s3://{bucket}/run"


@pytest.fixture
def on(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[str], None]:
    """Go to a machine: one that has local copies of its own."""

    def go(machine: str) -> None:
        monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / machine))

    go("first")
    return go


@pytest.fixture
def chains() -> list[ReasoningChain]:
    return [
        ReasoningChain(chain_id=f"c{n}", question_id=f"q{n}", question="How many?", reasoning="One and two. So 3.", answer="3")
        for n in range(3)
    ]


def there(url: str) -> dict[str, bytes]:
    """Names and content of all that is in the store."""
    files, root = fsspec.core.url_to_fs(url, use_listings_cache=False)
    return {path.removeprefix(root).lstrip("/"): files.cat_file(path) for path in files.find(root)}


def here(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def finished(folder: Path) -> dict[str, bytes]:
    return {name: content for name, content in here(folder).items() if not name.startswith((".lease", ".claims"))}


@pytest.mark.usefixtures("on")
def test_what_is_finished_here_is_in_the_store_and_nothing_else_is(url, make_planted_run, chains):
    with stored(url) as folder:
        make_planted_run(folder, chains)
        unfinished = [
            folder / "chains" / "x" / "begun-greedy.safetensors",
            folder / ".tmp-run.json-12345678.json",
            folder / "answers" / ".full-seed-0.jsonl.lease",
            folder / "students" / "full" / "checkpoints" / "checkpoint-2" / "state.json",
        ]
        (folder / "chains" / "begun-yesterday-1").mkdir()
        (folder / "chains" / "begun-yesterday-1" / "encoded.safetensors").write_bytes(b"whole")
        for path in unfinished:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"half")
    assert {path.name for path in unfinished} <= {path.name for path in folder.rglob("*")}
    expected = {name: content for name, content in finished(folder).items() if content != b"half"}
    assert there(url) == expected
    assert {*TABLES, "chains/begun-yesterday-1/encoded.safetensors"} < set(expected)


def test_another_machine_reads_it_and_adds_to_it(url, on, make_planted_run, chains):
    with stored(url) as folder:
        make_planted_run(folder, chains[:2])
    on("second")
    with stored(url) as other:
        assert other != folder
        assert finished(other) == finished(folder)
        assert list(open_run(other).chains) == ["c0", "c1"]
        make_planted_run(other, chains)
    on("first")
    assert Store(url).fetch(), "what has changed is brought"
    assert finished(folder) == finished(other)
    assert list(open_run(folder).chains) == ["c0", "c1", "c2"]
    assert Store(url).fetch() == Store(url).send() == [], "what both have is not copied again"


@pytest.mark.usefixtures("on")
def test_what_is_finished_is_sent_while_work_goes_on(url, monkeypatch, make_planted_run, chains):
    monkeypatch.setattr(stores, "_SECONDS_BETWEEN", 0.05)
    with stored(url) as folder:
        make_planted_run(folder, chains)
        until = time.monotonic() + 20
        while not set(TABLES) < set(there(url)) and time.monotonic() < until:
            time.sleep(0.05)
        assert there(url) == finished(folder)


def test_work_that_fails_leaves_what_it_finished(url, on, make_planted_run, chains):
    with pytest.raises(ZeroDivisionError), stored(url) as folder:  # noqa: PT012 (what is sent is made by the block)
        make_planted_run(folder, chains)
        raise ZeroDivisionError
    on("second")
    with stored(url) as other:
        assert finished(other) == finished(folder)


def test_what_is_removed_on_one_side_is_removed_on_the_other(url, on, make_planted_run, chains):
    with stored(url) as folder:
        make_planted_run(folder, chains)
        (folder / "failed").mkdir()
        (folder / "failed" / "a.json").write_text("{}")
    with stored(url) as folder:
        (folder / "failed" / "a.json").unlink()
    assert "failed/a.json" not in there(url)
    on("second")
    with stored(url) as other:
        (other / "unusable.jsonl").write_text("")
    on("first")
    with stored(url) as folder:
        assert (folder / "unusable.jsonl").exists()
    files, root = fsspec.core.url_to_fs(url, use_listings_cache=False)
    files.rm_file(f"{root}/unusable.jsonl")
    with stored(url) as folder:
        assert not (folder / "unusable.jsonl").exists()


def test_a_local_copy_that_vanishes_takes_nothing_with_it(url, on, make_planted_run, chains):
    with stored(url) as folder:
        make_planted_run(folder, chains)
    before = there(url)
    with pytest.raises(RunError, match=r"has lost its record; delete the folder"), stored(url) as folder:
        shutil.rmtree(folder)
    assert there(url) == before
    with stored(url) as folder:
        assert finished(folder) == before, "it is fetched again"
    files, root = fsspec.core.url_to_fs(url)
    files.rm(root, recursive=True)
    with pytest.raises(RunError, match=r"has lost its record, which .* has; copy that there"), stored(url):
        pass
    assert finished(folder) == before


@pytest.mark.usefixtures("on")
def test_an_error_of_the_work_stays_the_error_and_what_could_not_be_sent_is_added(url, make_planted_run, chains):
    with stored(url) as folder:
        make_planted_run(folder, chains)

    def work() -> None:
        with stored(url) as folder:
            shutil.rmtree(folder)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError) as found:
        work()
    assert "has lost its record" in found.value.__notes__[0]


def test_two_machines_at_once_are_noticed_and_nothing_is_lost(url, on, make_planted_run, chains):
    with stored(url) as folder:
        make_planted_run(folder, chains[:1])
    work = stored(url)
    folder = work.__enter__()
    make_planted_run(folder, chains[:2])
    on("second")
    with stored(url) as other:
        make_planted_run(other, [chains[0], chains[2]])
    on("first")
    with pytest.raises(RunError, match=r"/run\.json: was changed elsewhere .*merge.*goes on from there"):
        work.__exit__(None, None, None)
    assert there(url) == finished(other)
    assert list(open_run(folder).chains) == ["c0", "c1"]


@pytest.mark.parametrize("url", ["s3"], indirect=True)
def test_no_file_holds_a_secret(url, on, make_planted_run, chains, tmp_path):
    with stored(url) as folder:
        make_planted_run(folder, chains)
    assert os.environ["AWS_SECRET_ACCESS_KEY"] == SECRET
    every = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()] + list(there(url).values())
    assert not any(SECRET.encode() in content for content in every)
    for given in (f"s3://reader:{SECRET}@bucket/run", f"s3://bucket/run?secret={SECRET}"):
        with pytest.raises(RunError, match="AWS_PROFILE") as refused, stored(given):
            pass
        assert SECRET not in str(refused.value)


@pytest.mark.parametrize("url", ["s3"], indirect=True)
@pytest.mark.usefixtures("on")
def test_a_name_that_leads_out_of_the_folder_is_refused(url):
    files, root = fsspec.core.url_to_fs(url)
    files.pipe_file(f"{root}/../../outside.json", b"{}")
    with pytest.raises(RunError, match=r"leads out of its folder \('\.\./\.\./outside\.json'\)"), stored(url):
        pass


@pytest.mark.parametrize("url", ["s3"], indirect=True)
@pytest.mark.usefixtures("on")
def test_a_store_that_cannot_be_used_is_named(url, monkeypatch, call):
    missing = "s3://no-bucket-of-this-name/run"
    done = call("status", missing)
    assert done.code == 2
    assert done.err.startswith(f"error: {missing}: cannot be used (FileNotFoundError"), done.err
    fsspec.get_filesystem_class("s3").clear_instance_cache()
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    done = call("status", url)
    assert done.code == 2
    assert done.err.startswith(f"error: {url}: cannot be used (EndpointConnectionError")


@pytest.mark.parametrize("url", ["s3"], indirect=True)
def test_commands_take_urls(url, on, call, tiny_model_folder, example_chains, tmp_path):
    chain = min(example_chains, key=lambda each: len(each.reasoning))
    write_chains(tmp_path / "chains.jsonl", [chain])
    model = ("--model", str(tiny_model_folder), "--strategies", "truncation", "--workers", "1")
    done = call("run", tmp_path / "chains.jsonl", "--out", url, *model)
    assert (done.code, done.err.count("error")) == (0, 0), done.err
    assert f"1 of 1 chains are measured in {url}\n" in done.out
    assert f"reasoning-anatomy report {url}\n" in done.out
    on("second")
    assert f"1 of 1 chains are measured in {url}\n" in call("status", url).out
    done = call(url, module="analyses.rank_correlation")
    assert done.code == 0, done.err
    assert "analyses/rank_correlation/table.csv" in there(url)


@pytest.mark.parametrize("url", ["file"], indirect=True)
@pytest.mark.usefixtures("on")
def test_workers_of_other_machines_do_not_see_the_local_copy(url, call, chains, tmp_path):
    write_chains(tmp_path / "chains.jsonl", chains)
    done = call("run", tmp_path / "chains.jsonl", "--out", url, "--executor", "slurm", "--processes", "2")
    assert done.code == 2
    assert done.err.startswith(f"error: {url}: its local copy is on this machine, and workers of slurm must see the same files")


def test_samples_are_a_local_file(call):
    done = call("generate", "problems.jsonl", "--out", "s3://bucket/chains.jsonl")
    assert done.code == 2
    assert done.err.startswith("error: s3://bucket/chains.jsonl: is a URL, and this is a local file")
    assert not Path("s3:").exists()


def test_a_path_is_a_path(tmp_path, call, make_planted_run, chains, monkeypatch):
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    make_planted_run(tmp_path / "run", chains)
    assert call("status", tmp_path / "run").code == 0
    assert not (tmp_path / "cache").exists()
