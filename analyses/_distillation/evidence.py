"""The answers of students as arrays: one row for each arm, question and training."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
import pandas as pd
from scipy.stats import f

from analyses._statistics.seeds import SeedVariation, seed_variation
from reasoning_anatomy.errors import AnalysisError
from reasoning_anatomy.run.students import UNTRAINED, Arm, Student, Students
from reasoning_anatomy.types import FloatArray

ARM: Final = ["strategy", "keep_ratio", "matching", "equal"]
"""Columns that say which students a row is about."""

UNFINISHED: Final = 0.9
"""A student that has answered a smaller share of what the others have is left out: it is still at work."""

OUTCOMES: Final = ("correct", "cut_off", "tokens", "nll_gold", "undecided")


@dataclass(frozen=True, eq=False)
class Evidence:
    """What students answered, and what was left out.

    Attributes
    ----------
    arms
        One row per arm: `ARM`, ``arm`` (its name), ``achieved``, ``tokens_taught``, ``is_trained``.
    question_ids, seeds
        Which all of these students have.
    outcomes
        (arms, questions, seeds) each, by the names `OUTCOMES`; what was never trained has the same values for all seeds.
    exclusions
        Students and questions by reason.
    """

    arms: pd.DataFrame
    question_ids: tuple[str, ...]
    seeds: tuple[int, ...]
    outcomes: Mapping[str, FloatArray]
    exclusions: Mapping[str, int]

    @cached_property
    def variation(self) -> SeedVariation | None:
        """How far trainings of an arm differ in accuracy, pooled over all that were trained; None with one of each."""
        return seed_variation(self.outcomes["correct"][self.arms["is_trained"].to_numpy(dtype=bool)])


def unlike_arms(evidence: Evidence, *, level: float) -> list[str]:
    """Name the arms whose trainings differ more than those of all others together, by F with Bonferroni over the arms."""
    places = np.flatnonzero(evidence.arms["is_trained"].to_numpy(dtype=bool))
    correct = evidence.outcomes["correct"]
    found = []
    for place in places:
        own, others = seed_variation(correct[[place]]), seed_variation(correct[places[places != place]])
        if own is not None and others is not None and others.between > 0:
            p_value = f.sf(own.between / others.between, own.freedom, others.freedom)
            if p_value * len(places) <= level:
                found.append(str(evidence.arms["arm"][place]))
    return found


def gather(students: Students) -> Evidence:
    """Read the answers of the students.

    Raises
    ------
    AnalysisError
        No student has answered, or those that have share no question or no seed.
    """
    answers = students.answers()
    if answers.empty:
        raise AnalysisError(f"{students.folder}: no student has answered yet; let `reasoning-anatomy distill` finish it")
    counts = answers.groupby("student")["question_id"].nunique()
    unfinished = set(counts.index[counts < UNFINISHED * counts.max()])
    known = [student for student in students.manifest.students if student.label in counts and student.label not in unfinished]
    by_arm: dict[tuple[Arm, str], list[Student]] = {}
    for student in known:
        by_arm.setdefault((student.arm, student.equal), []).append(student)
    seeds = _common_seeds(students, by_arm)
    chosen = {key: [each for each in of_arm if _counts(each, seeds)] for key, of_arm in by_arm.items()}
    used = [student.label for of_arm in chosen.values() for student in of_arm]
    questions = _common_questions(students, answers[answers["student"].isin(used)], len(used))
    excluded = {
        "students_without_answers": len(students.manifest.students) - len(counts),
        "students_still_answering": len(unfinished),
        "students_of_a_seed_that_some_arm_lacks": len(known) - len(used),
        "questions_that_some_student_lacks": answers["question_id"].nunique() - len(questions),
    }
    return Evidence(
        _arms(students, list(chosen)),
        questions,
        seeds,
        _outcomes(answers, list(chosen.values()), questions, seeds),
        {reason: count for reason, count in excluded.items() if count},
    )


def arm_name(arm: Arm, equal: str) -> str:
    """Name of an arm, by which it stands in tables and sentences."""
    return arm.label + (", as many tokens" if equal == "tokens" else "")


def _counts(student: Student, seeds: Sequence[int]) -> bool:
    return student.arm.strategy == UNTRAINED or student.seed in seeds


def _common_seeds(students: Students, by_arm: Mapping[tuple[Arm, str], Sequence[Student]]) -> tuple[int, ...]:
    of_arms = [{each.seed for each in of_arm} for (arm, _), of_arm in by_arm.items() if arm.strategy != UNTRAINED]
    if not of_arms:
        raise AnalysisError(f"{students.folder}: no trained student has answered all questions; let `distill` finish them")
    if common := set.intersection(*of_arms):
        return tuple(sorted(common))
    raise AnalysisError(f"{students.folder}: the arms have no seed in common; let `reasoning-anatomy distill` finish them")


def _common_questions(students: Students, answers: pd.DataFrame, n_students: int) -> tuple[str, ...]:
    n_answered = answers.groupby("question_id", sort=False)["student"].nunique()
    if common := sorted(n_answered.index[n_answered == n_students]):
        return tuple(common)
    raise AnalysisError(f"{students.folder}: no question has an answer of every student; let `distill` finish them")


def _arms(students: Students, arms: Sequence[tuple[Arm, str]]) -> pd.DataFrame:
    table = students.training()
    taught = {} if table.empty else table.set_index(ARM[:3])[["achieved", "tokens_kept"]].to_dict("index")
    rows = []
    for arm, equal in arms:
        known = taught.get((arm.strategy, arm.keep_ratio, arm.matching), {})
        rows.append(
            {
                **arm.model_dump(),
                "equal": equal,
                "arm": arm_name(arm, equal),
                "achieved": known.get("achieved", np.nan),
                "tokens_taught": known.get("tokens_kept", np.nan),
                "is_trained": arm.strategy != UNTRAINED,
            }
        )
    return pd.DataFrame(rows)


def _outcomes(
    answers: pd.DataFrame, arms: Sequence[Sequence[Student]], questions: Sequence[str], seeds: Sequence[int]
) -> dict[str, FloatArray]:
    """Average several answers of a student to a question, and spread them out."""
    columns = pd.DataFrame(
        {
            "student": answers["student"],
            "question_id": answers["question_id"],
            "correct": answers["is_correct"].astype(float),
            "cut_off": answers["is_cut_off"].astype(float),
            "tokens": answers["n_tokens"].astype(float),
            "nll_gold": answers["nll_gold"].astype(float),
            "undecided": (answers["verdict"] == "undecided").astype(float),
        }
    )
    means = columns.groupby(["student", "question_id"])[list(OUTCOMES)].mean()
    found = {name: np.empty((len(arms), len(questions), len(seeds))) for name in OUTCOMES}
    for row, of_arm in enumerate(arms):
        by_seed = {student.seed: student for student in of_arm}
        for column, seed in enumerate(seeds):
            student = by_seed[seed] if seed in by_seed else of_arm[0]  # what is never trained has no seed
            values = means.loc[student.label].reindex(list(questions))
            for name in OUTCOMES:
                found[name][row, :, column] = values[name]
    return found
