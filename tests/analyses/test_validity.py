"""p-values and intervals hold in small simulations of every analysis; ``benchmarks.validity`` draws large ones."""

import numpy as np
import pytest

from benchmarks import validity
from benchmarks._validity import Rate, simulated_analyses, simulation_of
from benchmarks._validity.rank_correlation import RELATED_SLOPES, TRUTH, drawn
from reasoning_anatomy.plugins import available

pytestmark = pytest.mark.slow

SAMPLES = {8: 100, 30: 30}


@pytest.mark.parametrize("analysis", simulated_analyses())
def test_false_positives_are_3_to_7_per_cent_and_coverage_93_to_97(analysis: str) -> None:
    for n_questions, samples in SAMPLES.items():
        for rate in simulation_of(analysis)(n_questions, samples, 1):
            if rate.note or rate.kind == "power":
                continue
            low, high = validity.WANTED[rate.kind]
            chance = 3.3 * np.sqrt(0.07 * 0.93 / rate.samples)
            assert low - chance <= rate.share <= high + chance, (n_questions, rate)


def test_the_truth_that_intervals_of_rank_correlation_must_hold_is_that_of_many_questions() -> None:
    values = drawn(1000, 1, slopes=RELATED_SLOPES, seed=3)[0]
    np.testing.assert_allclose((values.mean(axis=0) - TRUTH) / (values.std(axis=0) / len(values) ** 0.5), 0, atol=4)


def test_every_analysis_is_simulated() -> None:
    assert simulated_analyses() == sorted(available("analysis"))


def test_a_rate_outside_what_is_wanted_leads_to_its_reason() -> None:
    rates = {
        8: [Rate("rho", "false positives", 0.012, 1000, note="Careful with few."), Rate("rho", "coverage", 0.9, 1000)],
        30: [Rate("rho", "false positives", 0.05, 1000), Rate("rho", "coverage", 0.95, 1000)],
    }
    lines = validity.section("some", rates).splitlines()
    assert "| rho |  | false positives | 1.2 (1) | 5.0 |" in lines
    assert "| rho |  | coverage | 90.0 (2) | 95.0 |" in lines
    assert lines[-2:] == ["1. Careful with few.", "2. By chance, or the analysis is wrong here: no reason is known."]


def test_an_analysis_without_a_simulation_is_refused() -> None:
    with pytest.raises(SystemExit, match="no simulation of nothing; there are"):
        validity.main(validity.Options(analyses=("nothing",)))
