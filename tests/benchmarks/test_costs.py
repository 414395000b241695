"""The made-up runs of the benchmark of costs, and what it says of analyses that cannot be run on them."""

from pathlib import Path

import pytest

from benchmarks.folds_of_heads import JUDGES, found
from benchmarks.statistics import cost_of, in_a_process, plant
from reasoning_anatomy.plugins import load
from reasoning_anatomy.run import open_run

pytestmark = pytest.mark.slow


def test_a_run_with_heads_has_the_shape_that_was_asked_for(tmp_path: Path) -> None:
    plant(tmp_path / "run", 6, 2, 30, (3, 4))
    run = open_run(tmp_path / "run")
    assert len({chain.question_id for chain in run.chains.values()}) == 3
    scores = run.token_scores("c0", "answer_attention")
    assert scores is not None
    assert scores.profile is not None
    assert scores.profile.received.shape == (3, 4, 30)
    cost = cost_of("best_head:draws=99", tmp_path / "run")
    assert cost.seconds > 0
    assert cost.peak_mib > 1
    assert not cost.skipped


def test_what_a_run_does_not_allow_is_skipped_with_the_reason(tmp_path: Path) -> None:
    plant(tmp_path / "run", 6, 2, 30, (1, 1))
    cost = in_a_process(cost_of, "threshold_comparison", tmp_path / "run")
    assert cost.skipped.startswith("RUN: has no answers at thresholds; make them with: reasoning-anatomy sweep RUN")


def test_the_run_without_heads_has_the_answers_of_a_sweep(tmp_path: Path) -> None:
    plant(tmp_path / "run", 24, 2, 30, None)
    run = open_run(tmp_path / "run")
    assert not any("accuracy" in said for said in load("analysis", "restatement_audit:draws=99").analyse(run).warnings)
    assert not cost_of("threshold_comparison:draws=99", run.folder).skipped
    assert not cost_of("annotator_agreement:draws=99", run.folder).skipped


def test_judging_without_one_question_finds_heads_that_are_not_there_and_halves_do_not() -> None:
    shares = {name: found(way, 30, 200, seed=1) for name, way in JUDGES.items()}
    assert shares["on the same questions"] > 0.3
    assert shares["one question left out"] > 0.2
    assert shares["random halves"] <= 0.05 + 3 * (0.05 * 0.95 / 200) ** 0.5
