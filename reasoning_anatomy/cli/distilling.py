"""The command that teaches students pruned chains: ``distill``."""

import os
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

from tyro.conf import OmitArgPrefixes, arg

from reasoning_anatomy.cli._app import (
    WORKERS,
    PluginsOption,
    RunArgument,
    SamplingOption,
    WorkersOption,
    app,
    say,
    use_plugins,
)
from reasoning_anatomy.cli._places import Folder, named
from reasoning_anatomy.distillation.recipe import Examination, Recipe
from reasoning_anatomy.errors import RunError
from reasoning_anatomy.specs import Equal, Matching, ModelSpec

if TYPE_CHECKING:
    from reasoning_anatomy.distillation.distilling import Distilled


@dataclass(frozen=True)
class _Student(ModelSpec):
    """The model that is taught, and how to hold it."""

    id: Annotated[str, arg(name="student", help="As --model of `run`.")] = ""


@dataclass(frozen=True, kw_only=True)
class _Recipe(Recipe):
    """How students are trained: all alike, and fixed once the folder is begun."""

    def __post_init__(self) -> None:
        """Leave the checks to the command, whose errors are one line."""

    def checked(self) -> Recipe:
        """Refuse what is out of its range."""
        try:
            return Recipe(**asdict(self))
        except ValueError as error:
            raise RunError(str(error)) from None


_RECIPE: Final = _Recipe()
_SHOWN: Final = {
    "keep_ratio": "keep ratio", "n_rows": "chains", "achieved": "share kept", "tokens_kept": "tokens kept",
    "supervised_tokens": "tokens to predict", "changed_by_text": "changed if tokenised again", "peak_mib": "MiB at most",
}  # fmt: skip
_SAMPLING: Final = SamplingOption(**asdict(Examination().sampling))


@app.command
def distill(
    run: RunArgument,
    out: Annotated[Folder, arg(help="Folder of the students; one that was begun is finished, or added to.")],
    strategies: Annotated[
        tuple[str, ...], arg(help="Labels; measured in the run, unless they order tokens beforehand as random_tokens does.")
    ],
    keep_ratios: Annotated[tuple[float, ...], arg(help="Shares of the reasoning tokens that are kept.")] = (0.7, 0.8, 0.9, 1.0),
    seeds: Annotated[int, arg(help="Students of every arm.")] = 3,
    matching: Annotated[
        tuple[Matching, ...], arg(help="chain: each chain as long in all arms; mean: whole steps, the set as long.")
    ] = ("chain",),
    equal: Annotated[tuple[Equal, ...], arg(help="What students are given in equal measure: steps, tokens, or both.")] = (
        "steps",
    ),
    answer_only: Annotated[bool, arg(help="Teach answers without a chain, too.")] = True,
    untrained: Annotated[bool, arg(help="Let the model answer as it is, too.")] = True,
    test: Annotated[
        Path | None, arg(help="File of the problems that are asked. If left out, questions of the run are held back.")
    ] = None,
    instruction: Annotated[str, arg(help="Goes behind every question of that file, as in the questions of the run.")] = "",
    held_out: Annotated[float, arg(help="Share of the questions of the run that are asked and not taught.")] = 0.2,
    per_question: Annotated[int, arg(help="Chains of a question that are taught at most.")] = 1,
    form: Annotated[
        Literal["ids", "text"], arg(help="ids of the run; or text, tokenised again, for a student with another tokenizer.")
    ] = "ids",
    gold_form: Annotated[str, arg(help="Text of which the likelihood is measured, from GOLD on.")] = Examination().gold_form,
    rows: Annotated[int | None, arg(help="Answers that are written at the same time; as many as fit if left out.")] = None,
    dry_run: Annotated[
        bool, arg(help="Say what memory, steps and time trainings will take, from the student's configuration, and stop.")
    ] = False,
    plugins: PluginsOption = None,
    student: Annotated[_Student, OmitArgPrefixes] = _Student(),
    recipe: Annotated[_Recipe, OmitArgPrefixes] = _RECIPE,
    sampling: Annotated[SamplingOption, OmitArgPrefixes] = _SAMPLING,
    executor: Annotated[WorkersOption, OmitArgPrefixes] = WORKERS,
) -> None:
    """Teach students the chains of a run as strategies prune them, and let them answer."""
    use_plugins(plugins)
    from reasoning_anatomy.distillation.distilling import Distilled, foresee, left_out_in_words, n_left
    from reasoning_anatomy.distillation.distilling import distill as distill_run
    from reasoning_anatomy.distillation.plan import DistillationPlan
    from reasoning_anatomy.distillation.questions import Taught
    from reasoning_anatomy.progress import Stages
    from reasoning_anatomy.run.folder import open_run
    from reasoning_anatomy.run.students import open_students

    if not student.id:
        raise RunError("no student is named; name the model that is to be taught: --student ID")
    try:
        plan = DistillationPlan(
            strategies=strategies, keep_ratios=keep_ratios, seeds=seeds, matching=matching, equal=equal,
            answer_only=answer_only, untrained=untrained,
        )  # fmt: skip
        taught = Taught(test=test, instruction=instruction, held_out=held_out, per_question=per_question)
        examination = Examination(sampling=sampling.checked(), gold_form=gold_form)
    except ValueError as error:
        raise RunError(str(error)) from None
    is_launched = "RANK" in os.environ
    if is_launched and executor != WORKERS:
        raise RunError("processes that a launcher started train together; leave out --executor and its options")
    workers = None if is_launched else executor.workers(out, student.device)
    if dry_run or workers is not None:
        foreseen = foresee(
            open_run(run), plan, student=ModelSpec(**asdict(student)), recipe=recipe.checked(), taught=taught, form=form
        )
        for text in left_out_in_words(foreseen.left_out):
            say(text)
        say(foreseen.in_words())
    if dry_run:
        return
    arguments: dict[str, Any] = {
        "run": open_run(run),
        "plan": plan,
        "out": out,
        "student": ModelSpec(**asdict(student)),
        "recipe": recipe.checked(),
        "examination": examination,
        "taught": taught,
        "form": form,
        "n_rows": rows,
    }
    is_main = os.environ.get("RANK", "0") == "0"  # of those that a launcher started, one speaks
    with Stages(show=is_main) as stages:
        if workers is None:
            distilled = distill_run(**arguments, stages=stages)
        else:
            from reasoning_anatomy.distillation.distilling import distill_part
            from reasoning_anatomy.pipeline.executors import Work, execute

            work = Work(distill_part, arguments, plugins)
            execute(work, workers, n_left=partial(n_left, out, plan), stages=stages)
            distilled = Distilled(open_students(out), {})
    if is_main:
        _say_distilled(distilled)


def _say_distilled(distilled: "Distilled") -> None:
    """Say what was left out, how far the students are, and what to do with them."""
    students = distilled.students
    for text in distilled.in_words():
        say(text)
    for table in (students.training(), students.trained()):
        say(table.rename(columns=_SHOWN).to_string(index=False, float_format="{:.4g}".format))
    if distilled.left:
        say(f"Left to other processes: {', '.join(distilled.left)}; the same command makes what no other process is making")
    say(f"{students.n_answered} of {len(students.manifest.students)} students have answered, in {named(students.folder)}")
    say(f"Next: reasoning-anatomy report {named(students.folder)}")
