"""False positives and coverage of threshold_comparison, in smaller samples than those that docs/statistics.md gives."""

from functools import cache

import numpy as np
import pytest

from benchmarks import threshold_simulation
from benchmarks.threshold_simulation import DIFFERING, WORLDS, rates, rates_of_pairs

pytestmark = pytest.mark.slow

BY_NAME = {world.name: world for world in WORLDS}
REPLICATIONS = {30: 1500, 300: 300}
BEST = [(accuracy, n_questions, n_samples) for accuracy in (0.5, 0.8) for n_questions in (30, 300) for n_samples in (1, 8)]


@cache
def found(world: str, n_questions: int, n_samples: int) -> dict[str, float]:
    return rates(BY_NAME[world], n_questions, n_samples, replications=REPLICATIONS[n_questions], draws=499, seed=1)


@pytest.mark.parametrize(("accuracy", "n_questions", "n_samples"), BEST)
def test_false_positives_are_3_to_7_per_cent_and_coverage_93_to_97(accuracy: float, n_questions: int, n_samples: int) -> None:
    shown = found(f"accuracy {accuracy}", n_questions, n_samples)
    chance = 3 * np.sqrt(0.05 * 0.95 / REPLICATIONS[n_questions])
    for name in ("test", "not_worse", "slope"):
        assert 0.03 - chance < shown[name] < 0.07 + chance, name
    for name in ("coverage", "coverage_of_loss", "accuracy"):
        assert 0.93 - chance < shown[name] < 0.97 + chance, name


DOCUMENTED = {
    # world, questions, samples: differ, test, exact, pooled, coverage, coverage_of_loss, not_worse, accuracy, slope, page
    ("accuracy 0.5", 30, 1): (0.193, 0.041, 0.007, np.nan, 0.959, 0.960, 0.048, 0.957, 0.041, 0.067),
    ("accuracy 0.5", 30, 8): (0.552, 0.041, np.nan, 0.179, 0.959, 0.949, 0.055, 0.951, 0.047, 0.108),
    ("accuracy 0.8", 300, 1): (0.165, 0.053, 0.040, np.nan, 0.947, 0.942, 0.050, 0.945, 0.052, 0.060),
    ("accuracy 0.8", 300, 8): (0.483, 0.053, np.nan, 0.202, 0.947, 0.955, 0.050, 0.949, 0.053, 0.111),
    ("accuracy 0.95", 30, 1): (0.050, 0.008, 0.001, np.nan, 0.992, 0.987, 0.021, 0.940, 0.001, 0.057),
    ("accuracy 0.95", 30, 8): (0.159, 0.003, np.nan, 0.144, 0.997, 0.968, 0.000, 0.970, 0.004, 0.110),
    ("a few lose all", 30, 8): (0.449, 0.042, np.nan, 0.055, 0.958, 0.938, 0.077, 0.958, 0.049, 0.059),
}


@pytest.mark.parametrize(("world", "n_questions", "n_samples"), DOCUMENTED)
def test_rates_are_those_of_the_documentation(world: str, n_questions: int, n_samples: int) -> None:
    documented = np.array(DOCUMENTED[world, n_questions, n_samples])
    shown = np.array(list(found(world, n_questions, n_samples).values()))
    samples = 1 / (1 / REPLICATIONS[n_questions] + 1 / 4000)
    error = 3.5 * np.sqrt(np.maximum(documented * (1 - documented), 0.004) / samples)
    np.testing.assert_array_equal(np.isnan(shown), np.isnan(documented))
    assert np.nanmax(np.abs(shown - documented) / error) < 1


PAIRS = {  # questions, share that differ: test, exact, coverage, coverage_of_loss, not_worse
    (30, 0.05): (0.007, 0.000, 0.993, np.nan, np.nan),
    (30, 0.1): (0.031, 0.002, 0.969, np.nan, np.nan),
    (30, 0.2): (0.048, 0.013, 0.952, 0.961, 0.040),
    (300, 0.03): (0.044, 0.020, 0.956, np.nan, np.nan),
    (300, 0.2): (0.049, 0.037, 0.951, 0.950, 0.049),
}


@pytest.mark.parametrize(("n_questions", "differing"), PAIRS)
def test_rates_of_single_answers_are_those_of_the_documentation(n_questions: int, differing: float) -> None:
    shown = list(rates_of_pairs(n_questions, differing).values())
    np.testing.assert_allclose(shown, PAIRS[n_questions, differing], atol=5.1e-4)


def test_single_answers_drawn_at_random_have_the_rates_of_all_outcomes() -> None:
    drawn, summed = found("accuracy 0.8", 30, 1), rates_of_pairs(30, found("accuracy 0.8", 30, 1)["differ"])
    for name in ("test", "exact", "coverage"):
        assert drawn[name] == pytest.approx(summed[name], abs=3 * np.sqrt(0.05 * 0.95 / REPLICATIONS[30]))


def test_the_command_prints_a_row_for_each_world_and_for_each_share_that_differs(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(threshold_simulation, "QUESTIONS", (12,))
    threshold_simulation.main(replications=8, draws=99)
    first, second = capsys.readouterr().out.split("\n\n")
    lines = first.splitlines()
    assert lines[0] == "8 replications, in per cent"
    assert lines[1].split() == ["world", "questions", "samples", *found("accuracy 0.5", 30, 1)]
    assert len(lines) == 4 + 2 * len(WORLDS)
    assert lines[-2].startswith("Where false positives are below 3")
    lines = second.splitlines()
    assert lines[1].split() == ["questions", "differ", *rates_of_pairs(12, 0.2)]
    assert len(lines) == 2 + len(DIFFERING)
