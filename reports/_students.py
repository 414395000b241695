"""The page of students: what was taught, what came of it, and what they write beside what they were taught."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import pandas as pd

from reasoning_anatomy.files import write_atomic
from reasoning_anatomy.plugins import available
from reasoning_anatomy.run.layout import REPORT_NAME
from reasoning_anatomy.run.students import ANSWER_ONLY, FULL, UNTRAINED, Student, Students
from reports._figures import all_figures
from reports._page import frame, rendered
from reports._sections import Section, analysis_view, figure_view, summary_views
from reports._style import NOT_GIVEN, whole
from reports._summary import Missing, count_of, findings, missing_analysis
from reports._tables import table_view
from reports._viewer import visible

EXAMPLES: Final = 4
"""Chains and answers that the page shows of every arm."""

_PLACES: Final = {FULL: 0, ANSWER_ONLY: 2, UNTRAINED: 3}
"""Controls among the arms: whole chains first, strategies next."""

_LONGEST: Final = 5000
"""Characters of a text that the page shows."""


@dataclass(frozen=True)
class Text:
    """A question with what is taught or written about it, and what came of that."""

    question: str
    text: str
    note: str = ""


@dataclass(frozen=True)
class ArmView:
    """What one student was taught, and what it writes."""

    label: str
    taught: list[Text]
    written: list[Text]


def write_students_report(
    students: Students, path: Path | None = None, *, skipped: Mapping[str, str] = MappingProxyType({})
) -> Path:
    """Write the report of students: one self-contained HTML file. The same folder gives the same bytes.

    Parameters
    ----------
    students
        Their folder.
    path
        Target; ``report.html`` in the folder if None.
    skipped
        Why analyses could not be run, by name.

    Returns
    -------
    The file.
    """
    target = path or students.folder / REPORT_NAME
    manifest, sections = students.manifest, _sections(students)
    context = {
        **frame(),
        "title": f"What students of {manifest.student.id} were taught",
        "ran": _in_two_lines(students),
        "findings": findings(sections),
        "missing": list(_missing(students, sections, skipped)),
        "sections": [section for section in sections if section.has_something],
        "sets": table_view(students.training()),
        "trained": table_view(students.trained()),
        "form": "ids" if manifest.form == "ids" else "text that was tokenised again",
        "arms": list(_arms(students)),
        "provenance": _provenance(students),
        "strategies": manifest.strategies,
        "parts": ["report"],
    }
    write_atomic(target, rendered("students.html.j2", context))
    return target


def _sections(students: Students) -> list[Section]:
    """Make a part of the page of every analysis of students, with its figures; those without a result say how to make it."""
    sections = []
    for name, info in available("analysis").items():
        if info.opens == "students":
            own = {key: figure for key, figure in all_figures().items() if figure.analysis == name}
            views = [figure_view(students, key, figure) for key, figure in own.items()]
            summaries = [view for figure in own.values() for view in summary_views(students, figure)]
            heading = info.title or name.replace("_", " ")
            sections.append(Section(name, heading, views, analysis_view(students, name), summaries))
    return sections


def _missing(students: Students, sections: list[Section], skipped: Mapping[str, str]) -> Iterator[Missing]:
    for section in sections:
        if section.analysis is not None and section.analysis.missing:
            yield missing_analysis(students, section.title, section.key, section.analysis.missing, skipped)
        else:
            yield from (Missing(view.title, view.missing) for view in section.figures if view.missing)
    n_all = len(students.manifest.students)
    if n_left := n_all - students.n_answered:
        yield Missing(f"{n_left} of {count_of(n_all, 'student')}", "have not answered all questions yet")


def _in_two_lines(students: Students) -> tuple[str, str]:
    """Say what was taught to whom."""
    manifest, model = students.manifest, students.manifest.student
    arms = {student.arm for student in manifest.students}
    held = f", held in {model.quantization} while trained" if model.quantization else ""
    first = f"{model.architecture}, {count_of(model.n_layers, 'layer')}{held}; {manifest.recipe}"
    counts = (
        f"{count_of(len(manifest.chains), 'chain')} of the run {manifest.run} taught",
        f"{count_of(len(manifest.students), 'student')} of {count_of(len(arms), 'arm')}",
        f"{count_of(len(students.problems()), 'question')} asked",
    )
    return first, "; ".join(counts)


def _arms(students: Students) -> Iterator[ArmView]:
    """Show the first student of every arm and reading: its first chains, and its answers to the first questions."""
    first: dict[Any, Student] = {}
    for student in students.manifest.students:
        first.setdefault((student.arm, student.equal), student)
    answers, problems = students.answers(), students.problems()
    for student in sorted(first.values(), key=lambda each: _PLACES.get(each.arm.strategy, 1)):
        yield ArmView(student.label, list(_taught(students, student)), list(_written(answers, student, problems)))


def _taught(students: Students, student: Student) -> Iterator[Text]:
    if student.arm.strategy == UNTRAINED or not students.training_file(student.arm).exists():
        return
    for row in students.rows(student.arm).head(EXAMPLES).to_dict("records"):
        yield Text(_shown(row["question"]), _shown(row["completion"]))


def _written(answers: pd.DataFrame, student: Student, problems: Mapping[str, Mapping[str, str]]) -> Iterator[Text]:
    of_student = answers[answers["student"] == student.label].set_index("question_id")
    for question_id, problem in list(problems.items())[:EXAMPLES]:
        if question_id in of_student.index:
            row = of_student.loc[question_id]
            note = f"{row['verdict']} (gold answer: {visible(problem['gold_answer'])}); {whole(row['n_tokens'])} tokens"
            yield Text(
                _shown(problem["question"]), _shown(str(row["response"])), note + (", cut off" if row["is_cut_off"] else "")
            )


def _shown(text: str) -> str:
    rest = len(text) - _LONGEST
    return visible(text if rest <= 0 else f"{text[:_LONGEST]} … {rest:,} more characters")


def _provenance(students: Students) -> list[tuple[str, str]]:
    manifest, model = students.manifest, students.manifest.student
    return [
        ("model before it is taught", model.id + (f", revision {model.revision}" if model.revision else "")),
        ("weights held as", f"{model.dtype}, {model.quantization or 'not quantized'}, on {model.device}"),
        ("digest of the weights", model.weights),
        ("run", manifest.run),
        ("recipe", manifest.recipe),
        ("answers", manifest.examination),
        ("taught", manifest.form),
        ("digest of the questions", manifest.questions or NOT_GIVEN),
    ]
