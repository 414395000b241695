"""The commands about categories: ``annotate`` and ``annotations``."""

from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import Positional, arg
from tyro.extras import SubcommandApp

from reasoning_anatomy.cli._app import PluginsOption, RunArgument, app, say, use_plugins


@app.command
def annotate(
    run: RunArgument,
    annotator: Annotated[str, arg(help="KEY or KEY:option=value; see `list`.")] = "spacy",
    name: Annotated[str | None, arg(name="as", help="Name of the labels; the annotator's own if left out.")] = None,
    plugins: PluginsOption = None,
) -> None:
    """Give every reasoning token of a run its functional category."""
    import annotations
    from reasoning_anatomy.progress import Stages
    from reasoning_anatomy.run.folder import open_run

    use_plugins(plugins)
    opened = open_run(run)
    with Stages(show=True) as stages:
        stage = stages.add("annotate", len(opened.measured))
        written = annotations.annotate_run(opened, annotator=annotator, name=name, progress=stage.each)
    say(f"Wrote {written}")


labels_app = SubcommandApp()
app.command(labels_app, name="annotations", help="Labels of people: sheets to fill, votes to count.")


@labels_app.command(name="export")
def export_labels(
    run: RunArgument,
    to: Annotated[Path, arg(help="sheet.csv for a spreadsheet program, tasks.json for Label Studio.")],
    annotator: Annotated[str | None, arg(help="Whose labels to suggest; the first of the run where left out.")] = None,
    replace: Annotated[bool, arg(help="Replace the files that are there.")] = False,
) -> None:
    """Write the units of a run for people to label."""
    from annotations import human
    from reasoning_anatomy.run.folder import open_run

    for written in human.export_labels(open_run(run), to, annotator=annotator, replace=replace):
        say(f"Wrote {written}")


@labels_app.command(name="import")
def import_labels(
    run: RunArgument,
    file: Annotated[Positional[Path], arg(help="The sheet, or the JSON export of Label Studio.", metavar="FILE")],
    name: Annotated[str, arg(name="as", help="Name of these labels.")],
    partial: Annotated[bool, arg(help="Accept units without a category.")] = False,
    replace: Annotated[bool, arg(help="Replace labels of this name.")] = False,
    completed_by: Annotated[int | None, arg(help="Id of the annotator in Label Studio, where there are several.")] = None,
) -> None:
    """Read labels of people, check them, and write them into a run."""
    from annotations import human
    from reasoning_anatomy.run.folder import open_run

    written = human.import_labels(open_run(run), file, name=name, partial=partial, replace=replace, completed_by=completed_by)
    say(f"Wrote {written}")


@labels_app.command
def adjudicate(
    run: RunArgument,
    annotators: Annotated[tuple[str, ...], arg(help="Names of two or more annotators of the run.")],
    name: Annotated[str, arg(name="as", help="Name of the labels that win.")],
    ties: Annotated[Literal["rule_10", "open"], arg(help="The order of rule 10, or no label.")] = "rule_10",
    gold: Annotated[Path | None, arg(help="Also write the units as gold labels: gold.jsonl.")] = None,
    replace: Annotated[bool, arg(help="Replace labels of this name, and the gold file.")] = False,
) -> None:
    """Give every unit the category that most annotators chose."""
    from annotations.adjudication import adjudicate as count
    from reasoning_anatomy.run.folder import open_run

    counted = count(open_run(run), annotators, name=name, ties=ties, gold=gold, replace=replace)
    for tie in counted.ties:
        say(f"Tie: {tie.chain_id}, {tie.start}..{tie.end} {tie.text!r}: {', '.join(tie.categories)}")
    say(f"{counted.n_units} units have a label, {len(counted.ties)} were tied. Wrote {counted.path}")
