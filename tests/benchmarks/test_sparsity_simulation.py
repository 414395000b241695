"""False positives and coverage of attention_sparsity, in smaller samples than those that docs/statistics.md gives."""

from functools import cache

import numpy as np
import pytest

from benchmarks import sparsity_simulation
from benchmarks.sparsity_simulation import WORLDS, rates

pytestmark = pytest.mark.slow

BY_NAME = {world.name: world for world in WORLDS}
DOCUMENTED = {
    # world, questions: given_length, raw, all_questions, chains_as_units, holm, coverage, coverage_of_effect
    ("length does nothing", 8): (0.037, 0.030, 0.064, 0.358, 0.015, 0.963, 0.964),
    ("length matters", 8): (0.037, 0.076, 0.064, 0.358, 0.015, 0.963, 0.962),
    ("length matters", 30): (0.055, 0.341, 0.311, 0.633, 0.025, 0.945, 0.944),
    ("length matters", 100): (0.055, 0.837, 0.771, 0.937, 0.022, 0.945, 0.947),
    ("length matters, 3 chains", 8): (0.046, 0.062, 0.033, 0.064, 0.027, 0.954, 0.966),
    ("length matters, 3 chains", 30): (0.058, 0.191, 0.086, 0.118, 0.026, 0.942, 0.950),
    ("length matters, curved", 30): (0.051, 0.261, 0.311, 0.629, 0.025, 0.948, np.nan),
}
REPLICATIONS = {8: 800, 30: 300, 100: 100}


@cache
def found(world: str, n_questions: int) -> dict[str, float]:
    return rates(BY_NAME[world], n_questions, replications=REPLICATIONS[n_questions], draws=499, seed=1)


@pytest.mark.parametrize(("world", "n_questions"), DOCUMENTED)
def test_rates_are_those_of_the_documentation(world: str, n_questions: int) -> None:
    documented = np.array(DOCUMENTED[world, n_questions])
    shown = np.array(list(found(world, n_questions).values()))
    samples = 1 / (1 / REPLICATIONS[n_questions] + 1 / 4000)
    error = 3.5 * np.sqrt(np.maximum(documented * (1 - documented), 0.004) / samples)
    np.testing.assert_array_equal(np.isnan(shown), np.isnan(documented))
    assert np.nanmax(np.abs(shown - documented) / error) < 1


def test_the_command_prints_a_row_for_each_world(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sparsity_simulation, "QUESTIONS", (6,))
    sparsity_simulation.main(replications=8, draws=99)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "8 replications, in per cent"
    assert lines[1].split() == ["world", "questions", *found("length matters", 8)]
    assert len(lines) == 2 + len(WORLDS)
