"""Files are whole or absent."""

import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from reasoning_anatomy.errors import RunError
from reasoning_anatomy.files import TEMPORARY_PREFIX, atomic_path, remove_temporary, write_atomic


@pytest.fixture
def umask() -> Iterator[int]:
    before = os.umask(0o027)
    yield 0o027
    os.umask(before)


@pytest.mark.parametrize(("content", "expected"), [("é\r\n", b"\xc3\xa9\r\n"), (b"\x00\xff", b"\x00\xff"), ("", b"")])
def test_content_arrives_byte_for_byte(tmp_path: Path, content: bytes | str, expected: bytes) -> None:
    write_atomic(tmp_path / "new" / "folder" / "file", content)
    assert (tmp_path / "new" / "folder" / "file").read_bytes() == expected


def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    target = tmp_path / "file.txt"
    target.write_text("old")

    def write_half() -> None:
        with atomic_path(target) as temporary:
            temporary.write_text("half of the new")
            raise RuntimeError("halfway")

    with pytest.raises(RuntimeError, match="halfway"):
        write_half()
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_until_the_end_a_reader_sees_the_old_file(tmp_path: Path) -> None:
    target = tmp_path / "file.txt"
    write_atomic(target, "old")
    with atomic_path(target) as temporary:
        temporary.write_text("new")
        assert target.read_text() == "old"
        assert temporary.parent == tmp_path  # so that replacing is one rename
        assert temporary.suffix == ".txt"
        assert temporary.name.startswith(TEMPORARY_PREFIX)
    assert target.read_text() == "new"
    assert list(tmp_path.iterdir()) == [target]


def test_text_that_cannot_be_encoded_leaves_the_old_file(tmp_path: Path) -> None:
    write_atomic(tmp_path / "file", "old")
    with pytest.raises(UnicodeEncodeError):
        write_atomic(tmp_path / "file", "\ud800")
    assert [path.read_text() for path in tmp_path.iterdir()] == ["old"]


def test_permissions_follow_the_umask(tmp_path: Path, umask: int) -> None:
    write_atomic(tmp_path / "file", "content")
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o666 & ~umask
    now = os.umask(umask)
    assert now == umask  # and leave it as it was


def test_a_killed_process_leaves_the_old_file_and_what_it_left_is_removed(tmp_path: Path) -> None:
    target = tmp_path / "file"
    target.write_text("old")
    script = (
        "import sys, time; from pathlib import Path; from reasoning_anatomy.files import atomic_path\n"
        "with atomic_path(Path(sys.argv[1])) as temporary:\n"
        "    temporary.write_text('half'); print('ready', flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", script, str(target)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGKILL)
        assert process.wait(timeout=10) == -signal.SIGKILL
    assert target.read_text() == "old"
    assert len(list(tmp_path.iterdir())) == 2
    remove_temporary(target)
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize("name", ["file", "file.txt", "a[b]*", "é"])
def test_what_others_are_writing_is_not_removed(tmp_path: Path, name: str) -> None:
    neighbours = [f"x{name}", f"{name}-2", f"{name}-12345678", "other"]
    with ExitStack() as writing:
        paths = [writing.enter_context(atomic_path(tmp_path / neighbour)) for neighbour in neighbours]
        own = writing.enter_context(atomic_path(tmp_path / name))
        remove_temporary(tmp_path / name)
        assert not own.exists()
        assert all(path.exists() for path in paths)
        own.touch()  # so that it can be replaced


def test_removing_what_is_not_there_is_no_error(tmp_path: Path) -> None:
    remove_temporary(tmp_path / "none")
    remove_temporary(tmp_path / "no folder" / "none")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("folder", ["file", "file/below"])
def test_a_place_that_cannot_be_written_is_named_with_a_remedy(tmp_path: Path, folder: str) -> None:
    (tmp_path / "file").write_text("mine")
    target = tmp_path / folder / "new"
    with pytest.raises(RunError) as refused:
        write_atomic(target, "content")
    assert str(refused.value).startswith(f"{target}: cannot be written (")
    assert str(refused.value).endswith("then run the same command again: finished work is kept")


def test_replacing_is_seen_by_its_time(tmp_path: Path) -> None:
    write_atomic(tmp_path / "file", "old")
    before = (tmp_path / "file").stat().st_mtime_ns
    time.sleep(0.02)
    write_atomic(tmp_path / "file", "old")
    assert (tmp_path / "file").stat().st_mtime_ns > before  # the newest run is found by it
