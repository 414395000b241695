"""What a scorer finds in the chains of a run before it scores one of them, and its file."""

from pathlib import Path
from typing import Final

import numpy as np

from reasoning_anatomy.run.arrays import read_arrays, refusing_damage, write_arrays
from reasoning_anatomy.types import Fit

_REMEDY: Final = "restore it, or measure all chains in a new run folder: scores that are there were made with it"


def write_fit(path: Path, fit: Fit, *, fingerprint: str) -> None:
    """Write a fit atomically; `read_fit` refuses the file under another fingerprint, that of the configuration."""
    arrays = {"by_question": np.stack(list(fit.by_question.values()))}
    facts = {"questions": list(fit.by_question), "n_chains": fit.n_chains, "left_out": dict(fit.left_out)}
    write_arrays(path, arrays, facts, fingerprint=fingerprint)


def read_fit(path: Path, *, fingerprint: str) -> Fit:
    """Read a fit to the last bit; `RunError` where it is damaged or of another configuration."""
    with refusing_damage(path, remedy=_REMEDY):
        arrays, facts = read_arrays(path, fingerprint=fingerprint)
        by_question = dict(zip(facts["questions"], arrays["by_question"], strict=True))
        return Fit(by_question, int(facts["n_chains"]), dict(facts["left_out"]))
