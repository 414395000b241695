"""The files of a sweep: which tokens a strategy kept of a chain at a threshold, and what the model answered from them."""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from reasoning_anatomy.files import write_atomic
from reasoning_anatomy.run.arrays import read_arrays, refusing_damage, write_arrays
from reasoning_anatomy.run.origin import Origin, expect_origin
from reasoning_anatomy.run.selection import Kept, Selection
from reasoning_anatomy.specs import Reading

REMEDY: Final = "delete the file and run the same sweep again"


@dataclass(frozen=True)
class Answer:
    """One answer of the model, from what was kept of a chain.

    Attributes
    ----------
    sample
        Number of the sample, from 0.
    seed
        Of its random numbers; the same at every threshold.
    text
        The response, not trusted: the stem that it was given, and what it wrote.
    n_tokens
        Number of tokens that it wrote, end of turn included.
    finish_reason
        Why it ended: eos, stop_string, length, loop.
    """

    sample: int
    seed: int
    text: str
    n_tokens: int
    finish_reason: str


@dataclass(frozen=True)
class GoldLikelihood:
    """Likelihood of the gold answer, from what was kept of a chain.

    Attributes
    ----------
    nll
        Mean over the tokens of the gold answer, nats per token.
    n_tokens
        Their number.
    """

    nll: float
    n_tokens: int


def context_digest(reading: Reading, kept: Kept, *, gold: str = "") -> str:
    """Name what the model reads of a chain: strategies and thresholds that keep the same tokens share its answers.

    If everything is kept, both readings are one.
    """
    reading = "closed_up" if kept.is_everything else reading
    return hashlib.sha256(f"{reading} {gold} ".encode() + kept.positions.astype("<i8").tobytes()).hexdigest()[:20]


def write_kept(path: Path, kept: Kept, selection: Selection, *, chain_id: str, origin: Origin) -> None:
    """Write what is kept of a chain."""
    facts = {"chain_id": chain_id, "selection": asdict(selection), "n_reasoning": kept.n_reasoning, "origin": origin}
    write_arrays(path, {"kept": kept.positions}, facts)


def read_kept(path: Path, *, origin: Origin, run_folder: Path) -> Kept:
    """Read what is kept of a chain; `RunError` if the file is damaged or was made from something else."""
    with refusing_damage(path, remedy=REMEDY):
        arrays, facts = read_arrays(path)
        expect_origin(path, facts, origin, run_folder=run_folder)
        return Kept(np.asarray(arrays["kept"], dtype=np.int64), facts["n_reasoning"])


def write_answers(path: Path, answers: Sequence[Answer], *, chain_id: str, origin: Origin) -> None:
    """Write answers from one context."""
    _write(path, {"chain_id": chain_id, "origin": dict(origin), "answers": [asdict(answer) for answer in answers]})


def read_answers(paths: Iterable[Path], *, origin: Origin, run_folder: Path) -> list[Answer]:
    """Read the answers of several files, ordered by sample; `RunError` if one is damaged or was made from something else."""
    found: dict[int, Answer] = {}
    for path in paths:
        with refusing_damage(path, remedy=REMEDY):
            facts = json.loads(path.read_text(encoding="utf-8"))
            expect_origin(path, facts, origin, run_folder=run_folder)
            found |= {row["sample"]: Answer(**row) for row in facts["answers"]}
    return [found[sample] for sample in sorted(found)]


def write_gold(path: Path, likelihood: GoldLikelihood, *, chain_id: str, origin: Origin) -> None:
    """Write the likelihood of the gold answer."""
    _write(path, {"chain_id": chain_id, "origin": dict(origin), "gold": asdict(likelihood)})


def read_gold(path: Path, *, origin: Origin, run_folder: Path) -> GoldLikelihood:
    """Read the likelihood of the gold answer; `RunError` if the file is damaged or was made from something else."""
    with refusing_damage(path, remedy=REMEDY):
        facts = json.loads(path.read_text(encoding="utf-8"))
        expect_origin(path, facts, origin, run_folder=run_folder)
        return GoldLikelihood(**facts["gold"])


def _write(path: Path, facts: Mapping[str, Any]) -> None:
    write_atomic(path, json.dumps(facts, ensure_ascii=False, indent=1) + "\n")
