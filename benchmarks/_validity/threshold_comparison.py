"""``threshold_comparison``: the world of `benchmarks.threshold_simulation` in which half of the answers are correct."""

from typing import Final

from benchmarks._validity import Rate
from benchmarks.threshold_simulation import WORLDS, rates

_DRAWS: Final = 999
_SAMPLES: Final = (1, 8)
_FEW_DIFFER: Final = "Of so few questions hardly any differ, and hardly any outcome can show a difference: careful, not wrong."
_FEW_VALUES: Final = "A share of so few answers has so few values that coverage jumps from one accuracy to the next."


def simulate(n_questions: int, samples: int, seed: int) -> list[Rate]:
    """Answer questions at two thresholds, between which each of them gains or loses, and the mean does not."""
    (world,) = (world for world in WORLDS if world.name == "accuracy 0.5")
    shown = []
    for n_samples in _SAMPLES:
        found = rates(world, n_questions, n_samples, replications=samples, draws=_DRAWS, seed=seed)
        setting = "one answer" if n_samples == 1 else f"{n_samples} answers"
        note = _FEW_DIFFER if n_questions < 20 else ""
        few_values = _FEW_VALUES if n_questions < 20 and n_samples == 1 else ""
        shown += [
            Rate("difference of accuracy", "false positives", found["test"], samples, setting, note),
            Rate("not worse by the margin, which is lost", "false positives", found["not_worse"], samples, setting, note),
            Rate("slope over thresholds", "false positives", found["slope"], samples, setting, note),
            Rate("difference of accuracy", "coverage", found["coverage"], samples, setting, note),
            Rate("difference where the margin is lost", "coverage", found["coverage_of_loss"], samples, setting, note),
            Rate("accuracy", "coverage", found["accuracy"], samples, setting, few_values),
        ]
    return shown
