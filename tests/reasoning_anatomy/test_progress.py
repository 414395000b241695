"""How far the work has come, on a terminal and in the log of a batch job."""

import re
import sys
import time

import pytest

from reasoning_anatomy.progress import Stages, duration


def wait_for(read, seconds: float = 10) -> str:
    """Read until there is something."""
    end = time.monotonic() + seconds
    while not (text := read()) and time.monotonic() < end:
        time.sleep(0.005)
    return text


def test_a_log_has_plain_lines_with_done_total_rate_and_time_left(capsys: pytest.CaptureFixture[str]) -> None:
    with Stages(show=True, seconds_between_lines=0.02) as stages, stages.add("prune", 1000) as stage:
        stage.advance(250)
        line = wait_for(lambda: capsys.readouterr().err).splitlines()[0]
    assert re.fullmatch(r"prune: 250 of 1,000, [\d.e+]+ per second, \d+ (s|min \d+ s) left", line)


def test_a_step_that_takes_long_is_seen_while_it_lasts(capsys: pytest.CaptureFixture[str]) -> None:
    with Stages(show=True, seconds_between_lines=0.02) as stages, stages.add("load", 1):
        assert wait_for(lambda: capsys.readouterr().err).splitlines()[0] == "load: 0 of 1"


def test_stages_that_run_side_by_side_share_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    with Stages(show=True, seconds_between_lines=0.02) as stages, stages.add("score", 4), stages.add("prune", 9):
        stages.add("encode", 2)  # is not running
        line = wait_for(lambda: capsys.readouterr().err).splitlines()[0]
    assert line == "score: 0 of 4 | prune: 0 of 9"


def test_lines_end_with_the_stages(capsys: pytest.CaptureFixture[str]) -> None:
    with Stages(show=True, seconds_between_lines=0.02) as stages, stages.add("score", 4):
        wait_for(lambda: capsys.readouterr().err)
    capsys.readouterr()
    time.sleep(0.1)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(("show", "expected"), [(True, "It will take a day.\n"), (False, "")])
def test_a_sentence_is_shown_if_anything_is(capsys: pytest.CaptureFixture[str], show: bool, expected: str) -> None:
    with Stages(show=show) as stages:
        stages.say("It will take a day.")
    assert capsys.readouterr().err == expected


def test_a_terminal_has_a_bar_per_stage_and_no_lines(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    with Stages(show=True, seconds_between_lines=0.01) as stages, stages.add("prune", 4) as stage:
        stage.advance(4)
        stages.say("[bold] is not markup")
        time.sleep(0.05)
    shown = capsys.readouterr().err
    assert "4/4" in shown
    assert "[bold] is not markup" in shown
    assert "4 of 4" not in shown


def test_nothing_is_shown_unless_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    with Stages(seconds_between_lines=0.01) as stages, stages.add("prune", 4):
        time.sleep(0.05)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0 s"),
        (0.4, "0 s"),
        (59.6, "1 min"),
        (3600, "1 h"),
        (3660, "1 h 1 min"),
        (86400 * 3 + 7, "3 d 7 s"),
        (90, "1 min 30 s"),
    ],
)
def test_a_duration_is_said_in_its_two_largest_units(seconds: float, words: str) -> None:
    assert duration(seconds) == words
