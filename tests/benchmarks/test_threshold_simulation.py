"""False positives and coverage of threshold_comparison, in smaller samples than those that docs/statistics.md gives."""

from functools import cache

import numpy as np
import pytest

from benchmarks import threshold_simulation
from benchmarks.threshold_simulation import WORLDS, rates

pytestmark = pytest.mark.slow

BY_NAME = {world.name: world for world in WORLDS}
DOCUMENTED = {
    # world, questions, samples: test, mid_p, pooled, coverage, coverage_of_loss, not_worse, accuracy, slope, page
    ("accuracy 0.5", 30, 1): (0.007, 0.021, np.nan, 0.959, 0.960, 0.048, 0.957, 0.041, 0.067),
    ("accuracy 0.5", 30, 8): (0.041, np.nan, 0.179, 0.959, 0.949, 0.055, 0.950, 0.047, 0.108),
    ("accuracy 0.5", 300, 1): (0.038, 0.050, np.nan, 0.950, 0.951, 0.048, 0.939, 0.049, 0.066),
    ("accuracy 0.5", 300, 8): (0.052, np.nan, 0.223, 0.948, 0.946, 0.055, 0.950, 0.049, 0.104),
    ("accuracy 0.95", 30, 8): (0.003, np.nan, 0.144, 0.997, 0.968, 0.000, 0.976, 0.004, 0.110),
    ("a few lose all", 30, 8): (0.042, np.nan, 0.055, 0.958, 0.938, 0.077, 0.958, 0.049, 0.059),
}
REPLICATIONS = {30: 1000, 300: 250}


@cache
def found(world: str, n_questions: int, n_samples: int) -> dict[str, float]:
    return rates(BY_NAME[world], n_questions, n_samples, replications=REPLICATIONS[n_questions], draws=499, seed=1)


@pytest.mark.parametrize(("world", "n_questions", "n_samples"), DOCUMENTED)
def test_rates_are_those_of_the_documentation(world: str, n_questions: int, n_samples: int) -> None:
    documented = np.array(DOCUMENTED[world, n_questions, n_samples])
    shown = np.array(list(found(world, n_questions, n_samples).values()))
    samples = 1 / (1 / REPLICATIONS[n_questions] + 1 / 4000)
    error = 3.5 * np.sqrt(np.maximum(documented * (1 - documented), 0.004) / samples)
    np.testing.assert_array_equal(np.isnan(shown), np.isnan(documented))
    assert np.nanmax(np.abs(shown - documented) / error) < 1


@pytest.mark.parametrize("n_samples", [1, 8])
@pytest.mark.parametrize("n_questions", [30, 300])
def test_rates_are_near_what_they_are_called(n_questions: int, n_samples: int) -> None:
    shown = found("accuracy 0.5", n_questions, n_samples)
    chance = 3 * np.sqrt(0.05 * 0.95 / REPLICATIONS[n_questions])
    for name in ("test", "not_worse", "slope"):
        assert shown[name] < 0.07 + chance
    for name in ("coverage", "coverage_of_loss", "accuracy"):
        assert shown[name] > 0.93 - chance


def test_the_command_prints_a_row_for_each_world(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threshold_simulation, "QUESTIONS", (12,))
    threshold_simulation.main(replications=8, draws=99)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "8 replications, in per cent"
    assert lines[1].split() == ["world", "questions", "samples", *found("accuracy 0.5", 30, 1)]
    assert len(lines) == 2 + 2 * len(WORLDS)
