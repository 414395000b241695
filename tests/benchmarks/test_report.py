"""The made-up runs of the benchmark of the report, and that it measures them."""

import os
import shutil

import pytest

from benchmarks import report
from benchmarks.report import Options, plant, speed_of
from benchmarks.statistics import in_a_process
from reports import write_report


@pytest.mark.parametrize(("n_chains", "n_tokens"), [(3, 20), (1, 700)])
def test_chains_are_words_and_line_breaks_of_the_examples(n_chains, n_tokens, tmp_path):
    tokens = plant(tmp_path / "run", n_chains, n_tokens).tokens()
    assert tokens.groupby("chain_id").size().tolist() == [n_tokens] * n_chains
    assert tokens["text"].str.fullmatch(r"\n+|[^\S\n]*(\w+|[^\w\s])").all()
    assert tokens["text"].nunique() > 10


IS_NEEDED = os.environ.get("REASONING_ANATOMY_REQUIRE_BROWSER") == "1"


@pytest.mark.slow
@pytest.mark.skipif(not IS_NEEDED and not any(map(shutil.which, report.BROWSERS)), reason="there is no browser")
def test_a_page_is_opened_and_its_slider_used(tmp_path):
    page = write_report(plant(tmp_path / "run", 2, 20))
    speed = in_a_process(speed_of, page, Options(repeats=2, presses=2))  # this one may have a browser already
    assert len(speed.first_paint) == 2
    assert 0 < min(speed.first_paint) < 10_000
    assert {what: len(times) for what, times in speed.responses.items()} == {
        "slider, a step": 2, "slider, end to end": 6, "two views, a step": 2, "two views, end to end": 6,
    }  # fmt: skip
    assert min(min(times) for times in speed.responses.values()) >= report.SHORTEST


def test_without_a_browser_it_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda _: None)
    with pytest.raises(SystemExit, match="install Chromium"):
        speed_of(tmp_path / "report.html", Options())
