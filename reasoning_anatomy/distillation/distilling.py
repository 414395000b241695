"""Teach students pruned chains, and let them answer: training sets, trainings and answers that are not there yet are made."""

import copy
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from transformers import PreTrainedConfig, PreTrainedTokenizerBase

from reasoning_anatomy.claims import claimed
from reasoning_anatomy.distillation.examining import examine
from reasoning_anatomy.distillation.forecast import StepCost, count_step, measure_step
from reasoning_anatomy.distillation.orders import Orders
from reasoning_anatomy.distillation.plan import DistillationPlan
from reasoning_anatomy.distillation.questions import Questions, Taught, questions_of
from reasoning_anatomy.distillation.recipe import Examination, Recipe
from reasoning_anatomy.distillation.together import Together
from reasoning_anatomy.distillation.training import Rows, expect_trainable, n_supervised, train
from reasoning_anatomy.distillation.training_sets import Form, Row, read_rows, taught_chains, training_set, write_rows
from reasoning_anatomy.errors import MissingError
from reasoning_anatomy.evaluation.sweeping import model_of
from reasoning_anatomy.files import write_atomic
from reasoning_anatomy.models.encoding import ChainEncoder
from reasoning_anatomy.models.loading import LoadedModel, context_length, load_config, load_model, load_tokenizer
from reasoning_anatomy.pipeline.identity import identity
from reasoning_anatomy.progress import Stages, duration
from reasoning_anatomy.run.folder import Run
from reasoning_anatomy.run.layout import STUDENTS_NAME
from reasoning_anatomy.run.students import (
    FULL,
    UNTRAINED,
    Arm,
    Student,
    Students,
    StudentsManifest,
    begin_students,
    open_students,
)
from reasoning_anatomy.specs import EncodingOptions, ModelSpec

_OPERATIONS: Final = 1e14
"""A second, at which a forecast states time: a round number to be scaled by what a device reaches."""


@dataclass(frozen=True)
class Distilled:
    """How far the students are.

    Attributes
    ----------
    students
        The folder.
    left_out
        Chains of the run that are not taught, by reason.
    left
        Students that other processes are working on.
    failed
        Answers that could not be made, by student and question_id.
    """

    students: Students
    left_out: Mapping[str, int]
    left: tuple[str, ...] = ()
    failed: Mapping[tuple[str, str], str] = field(default_factory=dict)

    def in_words(self) -> list[str]:
        """Say what was left out, and what failed, by reason."""
        return [*left_out_in_words(self.left_out), *self.failed_in_words()]

    def failed_in_words(self) -> list[str]:
        """Say which answers could not be made, by reason."""
        return [f"Failed: {n} answers: {reason}" for reason, n in Counter(self.failed.values()).items()]


def left_out_in_words(left_out: Mapping[str, int]) -> list[str]:
    """Say which chains of a run are not taught, by reason."""
    return [f"Not taught: {count} chains ({reason.replace('_', ' ')})" for reason, count in left_out.items()]


@dataclass(frozen=True)
class Foreseen:
    """What trainings will take, counted from the configuration of the student.

    Attributes
    ----------
    cost
        Of a pass of the longest rows, in bytes and operations.
    n_students, n_steps, n_tokens
        That are trained, their steps, and the tokens of all rows that they read.
    longest_row
        Tokens of the longest row.
    left_out
        Chains of the run that are not taught, by reason.
    """

    cost: StepCost
    n_students: int
    n_steps: int
    n_tokens: float
    longest_row: int
    left_out: Mapping[str, int]

    def in_words(self) -> str:
        """Memory, steps and time."""
        operations = self.n_tokens * self.cost.per_token
        return (
            f"Memory of a training, its longest row of {self.longest_row:,} tokens: {self.cost.in_words()}\n"
            f"To train: {self.n_students} students, {self.n_steps:,} steps, {self.n_tokens:,.0f} tokens; {operations:.3g} "
            f"operations, {duration(operations / _OPERATIONS)} at {_OPERATIONS:.0e} a second"
        )


def foresee(
    run: Run,
    plan: DistillationPlan,
    *,
    student: ModelSpec,
    recipe: Recipe | None = None,
    taught: Taught | None = None,
    form: Form = "ids",
    encoding: EncodingOptions | None = None,
) -> Foreseen:
    """Count what trainings will take, from the configuration and the tokenizer of the student: no weights, nothing written.

    Parameters and errors are those of `distill`.
    """
    recipe, config = recipe or Recipe(), load_config(student)
    orders = Orders(run)
    _expect_possible(orders, plan, student, recipe)
    encoder = _encoder(run, load_tokenizer(student), encoding, context_length(config))
    questions = questions_of(orders, taught or Taught(), plan.strategies, encoder, longest_row=recipe.longest_row)
    orders.assume([label for label in plan.strategies if not orders.is_measured(label)], questions.chain_ids)
    chains = taught_chains(run, encoder, questions.chain_ids, form=form)
    sets = {
        arm: [
            {"input_ids": row.input_ids.tolist(), "labels": row.labels.tolist()}
            for row in training_set(orders, chains, arm, encoder, form=form)
        ]
        for arm in plan.arms
    }
    trained = [each for each in plan.students if each.arm.strategy != UNTRAINED]
    n_steps = {each: _n_steps(sets, each, recipe) for each in trained}
    longest = max(len(row["input_ids"]) for rows in sets.values() for row in rows)
    n_tokens = sum(_n_tokens(sets[each.arm], n_steps[each] * recipe.batch_size) for each in trained)
    n_predicted = max(n_supervised(row) for rows in sets.values() for row in rows if len(row["input_ids"]) == longest)
    cost = count_step(config, student, recipe, longest, n_predicted)
    return Foreseen(cost, len(trained), sum(n_steps.values()), n_tokens, longest, questions.left_out)


def distill(
    run: Run,
    plan: DistillationPlan,
    *,
    out: Path,
    student: ModelSpec,
    recipe: Recipe | None = None,
    examination: Examination | None = None,
    taught: Taught | None = None,
    form: Form = "ids",
    encoding: EncodingOptions | None = None,
    n_rows: int | None = None,
    stages: Stages | None = None,
) -> Distilled:
    """Teach and examine students; what is in the folder already is not made again.

    Parameters
    ----------
    run
        With chains that are known to be correct, and strategies measured, but for those that order tokens beforehand.
    plan
        Which students.
    out
        Their folder.
    student
        The model that is taught.
    recipe, examination
        How.
    taught
        Which questions are taught, and which are asked.
    form
        ``ids`` as the run has them; or ``text``, tokenised again by the student's tokenizer, for a student that has another.
    encoding
        What stands around a chain; that of the run if None.
    n_rows
        Answers that are written at the same time; as many as fit if None.
    stages
        Shows progress; silent if None.

    Raises
    ------
    MissingError
        A strategy has not been measured, or no chain is known to be correct.
    RunError
        The folder holds students that were made otherwise.
    ModelError
        The student cannot be loaded or trained.
    """
    recipe, examination, stages = recipe or Recipe(), examination or Examination(), stages or Stages()
    orders = Orders(run)
    _expect_possible(orders, plan, student, recipe)
    together = Together(student.device, batch_size=recipe.batch_size)
    student = replace(student, device=together.device)
    work = _prepared(
        orders, plan, out=out, student=student, recipe=recipe, examination=examination, taught=taught or Taught(), form=form,
        encoding=encoding, together=together, stages=stages,
    )  # fmt: skip
    _train(work, recipe, together, stages)
    together.part()
    left, failed = _let_answer(work, recipe, examination, n_rows, stages)
    return Distilled(work.students, work.questions.left_out, left, failed)


@dataclass(frozen=True, eq=False)
class _Work:
    """What trainings and answers need: the folder, what is taught and asked, and the student but for its weights.

    Attributes
    ----------
    n_steps
        Of every student that is to be trained.
    """

    students: Students
    plan: DistillationPlan
    questions: Questions
    sets: Mapping[Arm, Rows]
    n_steps: Mapping[Student, int]
    spec: ModelSpec
    tokenizer: PreTrainedTokenizerBase
    config: PreTrainedConfig
    encoder: ChainEncoder


def _prepared(
    orders: Orders,
    plan: DistillationPlan,
    *,
    out: Path,
    student: ModelSpec,
    recipe: Recipe,
    examination: Examination,
    taught: Taught,
    form: Form,
    encoding: EncodingOptions | None,
    together: Together,
    stages: Stages,
) -> _Work:
    """Begin the folder with its training sets, and say what the trainings that are left take. The model is not kept."""
    tokenizer, config = load_tokenizer(student), load_config(student)  # read once: those of a GGUF file take seconds
    loaded = load_model(student, tokenizer=tokenizer, config=copy.deepcopy(config))
    encoder = _encoder(orders.run, tokenizer, encoding, loaded.context_length)
    questions = questions_of(orders, taught, plan.strategies, encoder, longest_row=recipe.longest_row)
    with together.main_first():
        students = begin_students(
            out,
            StudentsManifest(
                run=orders.run.folder.resolve().name,
                student=identity(loaded, encoder),
                recipe=repr(recipe),
                examination=repr(examination),
                form=form,
                chains=tuple(questions.chain_ids),
                questions=questions.digest,
                strategies={label: orders.described(label) for label in plan.strategies},
                students=tuple(plan.students),
            ),
        )
        write_atomic(students.test_file, "".join(problem.model_dump_json() + "\n" for problem in questions.problems))
        with claimed(students.claims / "sets.lease", wait=True):
            sets = _training_sets(students, orders, plan, loaded, encoder, questions.chain_ids, form, stages)
    waiting = [each for each in plan.students if together.agreed(_is_to_be_trained(students, each))]
    n_steps = {each: _n_steps(sets, each, recipe) for each in waiting}
    if n_steps:
        cost = measure_step(loaded, student, sets[Arm(strategy=FULL, keep_ratio=1.0)], recipe)
        tokens = sum(_n_tokens(sets[each.arm], steps * recipe.batch_size) for each, steps in n_steps.items())
        stages.say(f"Memory of a training: {cost.in_words()}")
        stages.say(
            f"To train: {len(n_steps)} students, {sum(n_steps.values()):,} steps, {tokens:,.0f} tokens; about "
            f"{duration(tokens * cost.per_token / together.n)} at the speed of the longest batch"
        )
    return _Work(students, plan, questions, sets, n_steps, student, tokenizer, config, encoder)


def _train(work: _Work, recipe: Recipe, together: Together, stages: Stages) -> None:
    """Train the students that no other process is training."""
    training = stages.add("train", sum(work.n_steps.values()))
    for each, steps in work.n_steps.items():
        with _claimed(work.students, each, together) as is_ours:
            if is_ours and together.agreed(_is_to_be_trained(work.students, each)):
                with training:
                    train(
                        work.spec, work.sets[each.arm], recipe, n_steps=steps, seed=each.seed,
                        folder=work.students.student_folder(each), together=together, tokenizer=work.tokenizer,
                        config=copy.deepcopy(work.config), stage=training,
                    )  # fmt: skip


def _let_answer(
    work: _Work, recipe: Recipe, examination: Examination, n_rows: int | None, stages: Stages
) -> tuple[tuple[str, ...], dict[tuple[str, str], str]]:
    """Let students answer what they have not. -> those left to other processes, and why answers could not be made."""
    students, problems = work.students, work.questions.problems
    left: list[str] = []
    failed: dict[tuple[str, str], str] = {}
    for each in work.plan.students:
        with _claimed(students, each) as is_ours:
            if not is_ours or _is_to_be_trained(students, each):
                left.append(each.label)
            elif len(students.answer_rows(each)) < len(problems) or not students.likelihoods_file(each).exists():
                is_whole = recipe.method == "full" and each.arm.strategy != UNTRAINED  # comes with a configuration of its own
                loaded = load_model(
                    _spec_of(students, each, work.spec),
                    tokenizer=work.tokenizer,
                    config=None if is_whole else copy.deepcopy(work.config),
                )
                found = examine(
                    students, each, loaded, problems, examination, encoder=work.encoder, n_rows=n_rows, stages=stages
                )
                failed |= {(each.label, question_id): reason for question_id, reason in found.items()}
    return tuple(left), failed


def distill_part(run: Run, plan: DistillationPlan, *, stages: Stages, **options: Any) -> None:
    """Do as `distill` does, in a worker, which says what failed; what is not taught, `foresee` knows beforehand."""
    for text in distill(run, plan, stages=stages, **options).failed_in_words():
        stages.say(text)


def n_left(out: Path, plan: DistillationPlan) -> int:
    """Count the students of a plan that are not trained or have not answered."""
    if not (out / STUDENTS_NAME).exists():
        return len(plan.students)
    done = {state.student for state in open_students(out).states() if state.is_done}
    return sum(student not in done for student in plan.students)


def _expect_possible(orders: Orders, plan: DistillationPlan, student: ModelSpec, recipe: Recipe) -> None:
    """Refuse what cannot be trained, and strategies of which no order is known."""
    expect_trainable(student, recipe)
    if missing := [label for label in plan.strategies if not orders.is_known(label)]:
        run, known = orders.run, ", ".join(orders.run.manifest.configuration.strategies) or "none"
        raise MissingError(
            f"{run.folder}: has no strategy {missing[0]!r} (it has {known}); add it: "
            f"reasoning-anatomy run CHAINS.jsonl --out {run.folder} --strategies {' '.join(missing)}"
        )


def _encoder(
    run: Run, tokenizer: PreTrainedTokenizerBase, encoding: EncodingOptions | None, longest: int | None
) -> ChainEncoder:
    return ChainEncoder(tokenizer, encoding or run.manifest.configuration.encoding_options, context_length=longest)


def _is_to_be_trained(students: Students, student: Student) -> bool:
    return student.arm.strategy != UNTRAINED and not students.trained_file(student).exists()


def _training_sets(
    students: Students,
    orders: Orders,
    plan: DistillationPlan,
    loaded: LoadedModel,
    encoder: ChainEncoder,
    chain_ids: Sequence[str],
    form: Form,
    stages: Stages,
) -> dict[Arm, list[dict[str, list[int]]]]:
    """Write the training sets that are missing, and read all."""
    missing = [arm for arm in plan.arms if not students.training_file(arm).exists()]
    if missing:
        if found := [label for label in plan.strategies if not orders.is_measured(label)]:
            orders.find(found, chain_ids, loaded=_of_run(orders.run, loaded, encoder), stages=stages)
        taught = taught_chains(orders.run, encoder, chain_ids, form=form)
        with stages.add("sets", len(missing)) as stage:
            for arm in missing:
                rows: list[Row] = list(training_set(orders, taught, arm, encoder, form=form))
                write_rows(rows, students.training_file(arm))
                stage.advance()
    return {arm: read_rows(students.training_file(arm)) for arm in plan.arms}


def _of_run(run: Run, student: LoadedModel, encoder: ChainEncoder) -> LoadedModel:
    """Load the model that a run was measured with, if the student is another one."""
    model = run.manifest.configuration.model
    is_student = model is not None and model.pinned() == identity(student, encoder).pinned()
    return student if is_student else load_model(model_of(run.folder))


def _n_steps(sets: Mapping[Arm, Sequence[Mapping[str, list[int]]]], student: Student, recipe: Recipe) -> int:
    """Count the steps of a student: as many as all have, or as many as give it as many tokens as whole chains give."""
    full = sets[Arm(strategy=FULL, keep_ratio=1.0)]
    n_steps = recipe.epochs * -(-len(full) // recipe.batch_size)
    if student.equal == "steps":
        return n_steps
    ratio = sum(map(n_supervised, full)) / sum(map(n_supervised, sets[student.arm]))
    return max(1, round(n_steps * ratio))


def _n_tokens(rows: Sequence[Mapping[str, list[int]]], n: int) -> float:
    return n * float(np.mean([len(row["input_ids"]) for row in rows]))


def _spec_of(students: Students, student: Student, base: ModelSpec) -> ModelSpec:
    """Say what to load for a student's answers; an adapter is merged into weights that are not quantised."""
    if student.arm.strategy == UNTRAINED:
        return base
    return ModelSpec(str(students.student_folder(student)), base.dtype, base.device, None, None, base.trust_remote_code)


@contextmanager
def _claimed(students: Students, student: Student, together: Together | None = None) -> Iterator[bool]:
    """Hold a student, so that processes that share a folder share the work; those that train together hold it as one."""
    with ExitStack() as claim:
        is_ours = (together is None or together.is_main) and claim.enter_context(claimed(students.claim(student)))
        yield is_ours if together is None else together.agreed(is_ours)
