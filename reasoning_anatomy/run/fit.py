"""The file of what a scorer finds in the chains of a run before it scores one of them."""

from pathlib import Path
from typing import Final

import numpy as np

from reasoning_anatomy.run.arrays import read_arrays, refusing_damage, write_arrays
from reasoning_anatomy.run.origin import Origin, expect_origin
from reasoning_anatomy.types import Fit

_REMEDY: Final = "restore it, or measure all chains in a new run folder: the scores of this run were made with it"


def write_fit(path: Path, fit: Fit, *, origin: Origin) -> None:
    """Write a fit atomically."""
    arrays = {"by_question": np.stack(list(fit.by_question.values()))}
    about = {"questions": list(fit.by_question), "n_chains": fit.n_chains, "left_out": dict(fit.left_out)}
    write_arrays(path, arrays, {"origin": origin, "fit": about})


def read_fit(path: Path, *, origin: Origin, run_folder: Path) -> Fit:
    """Read a fit to the last bit; `RunError` if it is damaged or was made from something else."""
    with refusing_damage(path, remedy=_REMEDY):
        arrays, facts = read_arrays(path)
        expect_origin(path, facts, origin, run_folder=run_folder)
        about = facts["fit"]
        by_question = dict(zip(about["questions"], arrays["by_question"], strict=True))
        return Fit(by_question, int(about["n_chains"]), dict(about["left_out"]))
