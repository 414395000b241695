"""The folder of students: what each was taught, how it was trained, and what it answers. It grows as a run does."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final, Literal

import pandas as pd
from pydantic import BaseModel, ConfigDict, ValidationError

from reasoning_anatomy.errors import RunError
from reasoning_anatomy.files import write_atomic
from reasoning_anatomy.run.layout import file_stem
from reasoning_anatomy.run.manifest import ModelIdentity
from reasoning_anatomy.run.results import data_of_result, read_result, write_result
from reasoning_anatomy.specs import CUTS_OFF, Equal, Matching
from reasoning_anatomy.types import AnalysisResult

STUDENTS_NAME: Final = "students.json"
FORMAT: Final = 1

FULL: Final = "full"
ANSWER_ONLY: Final = "answer_only"
UNTRAINED: Final = "untrained"
"""Names, in place of a strategy's, of students taught the whole chain, the answer without a chain, and nothing."""
CONTROLS: Final = (FULL, ANSWER_ONLY, UNTRAINED)

ANSWER_COLUMNS: Final = (
    "student", "strategy", "keep_ratio", "achieved", "matching", "equal", "seed", "question_id", "verdict", "is_correct",
    "n_tokens", "finish_reason", "is_cut_off", "nll_gold", "response",
)  # fmt: skip


class Arm(BaseModel):
    """What one training set holds: the chains of all sets, each as a strategy prunes it.

    Attributes
    ----------
    strategy
        Label of a strategy, or one of `CONTROLS`.
    keep_ratio
        Share of the reasoning tokens that is asked for: 1 of the whole chain, 0 of the answer alone.
    matching
        How lengths are made alike.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    strategy: str
    keep_ratio: float
    matching: Matching = "chain"

    @property
    def label(self) -> str:
        """By which errors, files and tables know it."""
        if self.strategy in CONTROLS:
            return self.strategy
        return f"{self.strategy} at {self.keep_ratio:g}" + (" by the mean" if self.matching == "mean" else "")


class Student(BaseModel):
    """One trained model.

    Attributes
    ----------
    arm
        What it was taught.
    equal
        What it was given as much of as all others.
    seed
        Of the order of the rows and of the first weights of an adapter.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    arm: Arm
    equal: Equal = "steps"
    seed: int = 0

    @property
    def label(self) -> str:
        """By which errors, files and tables know it."""
        if self.arm.strategy == UNTRAINED:
            return UNTRAINED
        as_many = ", as many tokens" if self.equal == "tokens" else ""
        return f"{self.arm.label}{as_many}, seed {self.seed}"


class StudentsManifest(BaseModel):
    """``students.json``: what was taught to which model. Students are added; nothing else ever changes.

    Attributes
    ----------
    run
        Name of the run whose chains are taught.
    student
        The model before it is taught.
    recipe
        ``repr`` of how it is trained.
    examination
        ``repr`` of how it answers.
    form
        ``ids``, or ``text`` that was tokenised again.
    chains
        chain_id of all that are taught, in order.
    questions
        Digest of the questions that students answer.
    strategies
        ``repr`` of the strategies, by label.
    students
        All that were asked for.
    format
        Of this file.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    run: str
    student: ModelIdentity
    recipe: str
    examination: str
    form: Literal["ids", "text"]
    chains: tuple[str, ...]
    questions: str
    strategies: Mapping[str, str]
    students: tuple[Student, ...]
    format: int = FORMAT


@dataclass(frozen=True)
class Students:
    """A folder of students, opened for reading and for adding analyses.

    Attributes
    ----------
    folder
        Where it is.
    """

    folder: Path

    @cached_property
    def manifest(self) -> StudentsManifest:
        """What was taught to which model."""
        return read_students_manifest(self.folder)

    def training_file(self, arm: Arm) -> Path:
        """File of a training set."""
        return self.folder / "training" / f"{file_stem(arm.label)}.parquet"

    def student_folder(self, student: Student) -> Path:
        """Folder of the weights of a student."""
        return self.folder / "students" / file_stem(student.label)

    def trained_file(self, student: Student) -> Path:
        """File that says how the training of a student went; it is there once the student is."""
        return self.student_folder(student) / "trained.json"

    def answers_file(self, student: Student) -> Path:
        """File of the answers of a student, a file of chains."""
        return self.folder / "answers" / f"{file_stem(student.label)}.jsonl"

    def likelihoods_file(self, student: Student) -> Path:
        """File of the likelihoods of the gold answers behind what a student reasons, by question_id."""
        return self.folder / "answers" / f"{file_stem(student.label)}.gold.json"

    @property
    def test_file(self) -> Path:
        """File of the problems that students answer."""
        return self.folder / "test.jsonl"

    def training(self) -> pd.DataFrame:
        """Training sets, one row per arm.

        Returns
        -------
        ``strategy, keep_ratio, matching, n_rows, achieved`` (share of all reasoning tokens that is kept), ``tokens_kept`` (mean
        of a chain), ``supervised_tokens`` (of one pass over the set), ``changed_by_text`` (share of the rows whose reasoning
        would have other ids if it were decoded and tokenised again).
        """
        rows = [self._training_row(arm) for arm in dict.fromkeys(student.arm for student in self.manifest.students)]
        return pd.DataFrame([row for row in rows if row])

    def trained(self) -> pd.DataFrame:
        """How each student was trained, one row per student: ``student, steps, supervised_tokens, loss, seconds, peak_mib``."""
        rows = [
            {"student": student.label, **read_json(self.trained_file(student))}
            for student in self.manifest.students
            if self.trained_file(student).exists()
        ]
        return pd.DataFrame(rows)

    def answers(self) -> pd.DataFrame:
        """Answers of all students that have answered, one row per student and question, with the columns `ANSWER_COLUMNS`.

        An answer whose verdict is undecided is not correct; ``nll_gold`` is in nats per token, NaN if it was not measured.
        """
        achieved = {
            arm: float(row["achieved"])
            for arm in dict.fromkeys(student.arm for student in self.manifest.students)
            if (row := self._training_row(arm))
        }
        parts = [self._answers_of(student, achieved) for student in self.manifest.students]
        return pd.DataFrame([row for part in parts for row in part], columns=list(ANSWER_COLUMNS))

    @property
    def n_answered(self) -> int:
        """Students that have answered all questions."""
        n_questions = len(self.test_file.read_text(encoding="utf-8").splitlines())
        return sum(len(self._answer_rows(student)) == n_questions for student in self.manifest.students)

    def write_analysis(self, result: AnalysisResult) -> Path:
        """Write ``analyses/<name>/table.csv``, one CSV per detail table and ``result.json``; return the folder."""
        folder = self.folder / "analyses" / result.name
        write_result(folder, result, data=self.data_digest())
        return folder

    def analysis(self, name: str) -> AnalysisResult:
        """Read the result of one analysis; `RunError` says how to make it if it is not there."""
        folder = self.folder / "analyses" / name
        try:
            return read_result(folder)
        except (OSError, ValueError, KeyError) as error:
            raise RunError(
                f"{folder}: cannot be read ({error}); make it with: python -m analyses.{name} {self.folder}"
            ) from error

    def is_current(self, analysis: str) -> bool:
        """Whether the result of an analysis is here and was computed from the answers that are here now."""
        return data_of_result(self.folder / "analyses" / analysis) == self.data_digest()

    def data_digest(self) -> str:
        """Digest of the answers that analyses read."""
        digest = hashlib.sha256()
        for student in self.manifest.students:
            for path in (self.answers_file(student), self.likelihoods_file(student)):
                if path.exists():
                    digest.update(path.name.encode() + hashlib.sha256(path.read_bytes()).digest())
        return digest.hexdigest()

    def _training_row(self, arm: Arm) -> dict[str, Any]:
        path = self.training_file(arm)
        if not path.exists():
            return {}
        rows = pd.read_parquet(path)
        return {
            **arm.model_dump(),
            "n_rows": len(rows),
            "achieved": float(rows["n_kept"].sum() / rows["n_reasoning"].sum()),
            "tokens_kept": float(rows["n_kept"].mean()),
            "supervised_tokens": int(rows["n_supervised"].sum()),
            "changed_by_text": float(rows["is_changed_by_text"].mean()),
        }

    def _answer_rows(self, student: Student) -> Sequence[Mapping[str, Any]]:
        path = self.answers_file(student)
        if not path.exists():
            return []
        whole = path.read_text(encoding="utf-8").rpartition("\n")[0]  # a process may be writing the last line
        return [json.loads(line) for line in whole.splitlines() if line]

    def _answers_of(self, student: Student, achieved: Mapping[Arm, float]) -> list[dict[str, Any]]:
        arm, path = student.arm, self.likelihoods_file(student)
        nll = read_json(path) if path.exists() else {}
        return [
            {
                "student": student.label,
                **arm.model_dump(),
                "achieved": achieved.get(arm, float("nan")),
                "equal": student.equal,
                "seed": student.seed,
                "question_id": row["question_id"],
                "verdict": row["source"]["verdict"],
                "is_correct": row["source"]["verdict"] == "correct",
                "n_tokens": row["source"]["n_tokens"],
                "finish_reason": row["source"]["finish_reason"],
                "is_cut_off": row["source"]["finish_reason"] in CUTS_OFF,
                "nll_gold": nll.get(row["question_id"], float("nan")),
                "response": "\n".join(part for part in (row["reasoning"], row["answer"]) if part),
            }
            for row in self._answer_rows(student)
        ]


def open_students(folder: str | Path) -> Students:
    """Open a folder of students.

    Raises
    ------
    RunError
        It holds none; the message says how to make them.
    """
    students = Students(Path(folder))
    _ = students.manifest
    return students


def read_students_manifest(folder: Path) -> StudentsManifest:
    """Read ``students.json``; `RunError` if it is absent or damaged."""
    path = folder / STUDENTS_NAME
    if not path.exists():
        raise RunError(
            f"{folder}: holds no students; make them with: reasoning-anatomy distill RUN --student ID --out {folder}"
        )
    try:
        return StudentsManifest.model_validate_json(path.read_text(encoding="utf-8"))
    except (OSError, ValidationError) as error:
        raise RunError(f"{path}: cannot be read ({error}); restore it, or name another folder") from error


def begin_students(folder: Path, manifest: StudentsManifest) -> Students:
    """Begin a folder of students, or add students to it.

    Raises
    ------
    RunError
        The folder holds students of another model, taught in another way or examined otherwise; the message names what differs.
    """
    if (folder / STUDENTS_NAME).exists():
        before = read_students_manifest(folder)
        manifest = _grown(folder, before, manifest)
    elif folder.exists() and any(folder.iterdir()):
        raise RunError(f"{folder}: holds other files and no students; give an empty or a new folder")
    write_atomic(folder / STUDENTS_NAME, manifest.model_dump_json(indent=1))
    return Students(folder)


def _grown(folder: Path, before: StudentsManifest, now: StudentsManifest) -> StudentsManifest:
    pinned = [
        ("the run", before.run, now.run),
        *((f"the student's {name}", value, now.student.pinned()[name]) for name, value in before.student.pinned().items()),
        ("the recipe", before.recipe, now.recipe),
        ("how students answer", before.examination, now.examination),
        ("the form of the training sets", before.form, now.form),
        ("the chains that are taught", before.chains, now.chains),
        ("the questions", before.questions, now.questions),
        *(
            (f"the strategy {label!r}", known, now.strategies[label])
            for label, known in before.strategies.items()
            if label in now.strategies
        ),
    ]
    for what, known, wanted in pinned:
        if known != wanted:
            raise RunError(
                f"{folder}: was begun with another value of {what} ({_shown(known)}, now {_shown(wanted)}); use the same, or "
                "name another folder"
            )
    return before.model_copy(
        update={
            "strategies": {**before.strategies, **now.strategies},
            "students": tuple(dict.fromkeys([*before.students, *now.students])),
        }
    )


def _shown(value: object) -> str:
    text = f"{len(value)} of them" if isinstance(value, tuple) else repr(value)
    return text if len(text) <= 300 else f"{text[:300]}…"


def read_json(path: Path) -> dict[str, Any]:
    """Read a file that one of these folders holds; `RunError` if it is damaged."""
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:
        raise RunError(f"{path}: cannot be read ({error}); remove it and run the same command again") from error
