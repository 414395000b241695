"""The folder of students: what each was taught, how it was trained, and what it answers. It grows as a run does."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final, Literal

import pandas as pd
from pydantic import BaseModel, ConfigDict, ValidationError

from reasoning_anatomy.claims import claimed, expect_held
from reasoning_anatomy.errors import RunError
from reasoning_anatomy.files import atomic_path, write_atomic
from reasoning_anatomy.run.layout import LOCK_NAME, STUDENTS_NAME, file_stem
from reasoning_anatomy.run.manifest import ModelIdentity
from reasoning_anatomy.run.results import data_of_result, read_result, write_result
from reasoning_anatomy.specs import CUTS_OFF, Equal, Matching
from reasoning_anatomy.types import AnalysisResult

FORMAT: Final = 1

FULL: Final = "full"
ANSWER_ONLY: Final = "answer_only"
UNTRAINED: Final = "untrained"
"""Names, in place of a strategy's, of students taught the whole chain, the answer without a chain, and nothing."""
CONTROLS: Final = (FULL, ANSWER_ONLY, UNTRAINED)

EXPORT_FORMATS: Final = ("parquet", "jsonl")
"""Of training sets for other trainers."""

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
    def claims(self) -> Path:
        """Folder of the claims of processes that teach."""
        return self.folder / ".claims"

    def claim(self, student: Student) -> Path:
        """File that stands for a claim to a student."""
        return self.claims / f"{self.student_folder(student).name}.lease"

    @property
    def test_file(self) -> Path:
        """File of the problems that students answer."""
        return self.folder / "test.jsonl"

    def rows(self, arm: Arm) -> pd.DataFrame:
        """Rows of a training set, one per chain.

        Returns
        -------
        ``chain_id, question, prompt, completion`` (the row as text), ``input_ids, labels`` (-100 in the prompt),
        ``n_reasoning`` (tokens of the whole chain), ``n_kept, n_supervised, is_changed_by_text``.
        """
        return pd.read_parquet(self.training_file(arm))

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

    def export(self, format: str, out: Path | None = None, *, text: bool = False) -> dict[Arm, Path]:
        """Write the training sets that are here for other trainers, one file an arm.

        Parameters
        ----------
        format
            ``parquet`` or ``jsonl``.
        out
            Folder of the files, which replace those of the same name; ``exports`` in this folder if None.
        text
            Write ``prompt`` and ``completion`` in place of ``input_ids`` and ``labels``. Whoever tokenises them may get other
            ids: `training` has the share.

        Returns
        -------
        The files, by arm.

        Raises
        ------
        RunError
            There is no such format.
        """
        if format not in EXPORT_FORMATS:
            raise RunError(f"{self.folder}: training sets are not exported as {format!r}; give {' or '.join(EXPORT_FORMATS)}")
        columns = ["chain_id", *(("prompt", "completion") if text else ("input_ids", "labels"))]
        files = {}
        for arm in dict.fromkeys(student.arm for student in self.manifest.students):
            if self.training_file(arm).exists():
                files[arm] = (out or self.folder / "exports") / f"{file_stem(arm.label)}.{format}"
                with atomic_path(files[arm]) as temporary:
                    _write_rows(self.rows(arm)[columns], temporary)
        return files

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

    def answer_rows(self, student: Student) -> list[dict[str, Any]]:
        """Answers of a student as they were written, each a row of a file of chains."""
        path = self.answers_file(student)
        return read_lines(path) if path.exists() else []

    def problems(self) -> dict[str, dict[str, Any]]:
        """Read what students are asked, by question_id; nothing before it is written."""
        rows = read_lines(self.test_file) if self.test_file.exists() else []
        return {row["question_id"]: row for row in rows}

    @property
    def n_questions(self) -> int:
        """Questions that students answer; 0 before they are written."""
        return len(self.problems())

    @property
    def n_answered(self) -> int:
        """Students that have answered all questions."""
        return sum(0 < state.n_questions == state.n_answers for state in self.states())

    def states(self) -> "list[StudentState]":
        """How far each student is, from the files that exist now."""
        n_questions = self.n_questions
        n_answers = {student: len(self.answer_rows(student)) for student in self.manifest.students}
        return [
            StudentState(
                student,
                is_trained=student.arm.strategy == UNTRAINED or self.trained_file(student).exists(),
                n_answers=n,
                n_questions=n_questions,
                is_done=self.likelihoods_file(student).exists() and n == n_questions,
            )
            for student, n in n_answers.items()
        ]

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
        if not self.training_file(arm).exists():
            return {}
        rows = self.rows(arm)
        return {
            **arm.model_dump(),
            "n_rows": len(rows),
            "achieved": float(rows["n_kept"].sum() / rows["n_reasoning"].sum()),
            "tokens_kept": float(rows["n_kept"].mean()),
            "supervised_tokens": int(rows["n_supervised"].sum()),
            "changed_by_text": float(rows["is_changed_by_text"].mean()),
        }

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
            for row in self.answer_rows(student)
        ]


@dataclass(frozen=True)
class StudentState:
    """How far a student is.

    Attributes
    ----------
    student
        Which.
    is_trained
        Whether it has been taught, or is not to be.
    n_answers, n_questions
        Questions that it has answered, and all.
    is_done
        Whether it has answered all, and the likelihoods of the gold answers are measured.
    """

    student: Student
    is_trained: bool
    n_answers: int
    n_questions: int
    is_done: bool

    @property
    def in_words(self) -> str:
        """What is done of it."""
        answers = f"{self.n_answers} of {self.n_questions} answers" if self.is_trained else "in training"
        return f"{self.student.label} ({answers})"


def _write_rows(rows: pd.DataFrame, path: Path) -> None:
    if path.suffix == ".parquet":
        rows.to_parquet(path, index=False)
    else:
        rows.to_json(path, orient="records", lines=True, force_ascii=False)


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
    with claimed(folder / LOCK_NAME, wait=True):
        if (folder / STUDENTS_NAME).exists():
            manifest = _grown(folder, read_students_manifest(folder), manifest)
        elif any(not path.name.startswith(".") for path in folder.iterdir()):
            raise RunError(f"{folder}: holds other files and no students; give an empty or a new folder")
        expect_held(folder / LOCK_NAME)
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


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Read a JSONL file whose last line another process may be writing."""
    whole = path.read_bytes().rpartition(b"\n")[0]  # bytes, since text has other line breaks than these
    return [json.loads(line) for line in whole.split(b"\n") if line]
