"""The benchmarks of large runs, on small ones."""

from pathlib import Path

import pytest

from benchmarks import reading, status
from reasoning_anatomy.run import open_run


def test_the_tables_that_are_made_up_are_read_as_those_of_a_run(tmp_path: Path) -> None:
    reading.plant(tmp_path / "run", n_chains=70, n_tokens=20, n_scorers=3)
    run = open_run(tmp_path / "run")
    tokens = run.tokens()
    assert len(tokens) == 70 * 20
    assert tokens.notna().all()[["score_s2", "category_first", "step_sentences"]].all()
    assert tokens["deletion_step_greedy"].notna().sum() == 70 * 18
    assert run.annotator("first") == "first()"
    assert len(reading.READS["all columns of some chains"](run, 30)) == 30 * 20
    seconds, mib = reading.cost_of(run.folder, "deletion_by_category", 0)
    assert seconds > 0
    assert mib > 10


@pytest.mark.parametrize("n_thresholds", [0, 2])
def test_half_of_the_run_that_is_made_up_is_done(tmp_path: Path, n_thresholds: int) -> None:
    run = status.plant(tmp_path / "run", 4, 22, 2, 1, n_thresholds)
    assert (run.status().n_done, run.status().n_left) == (2, 2)
    if n_thresholds:
        from reasoning_anatomy.run.sweep import SweepFolder

        assert SweepFolder(run, run.manifest.configuration).status().done == ["c0", "c1"]
