"""The command ``demo``."""

from importlib.resources import files
from pathlib import Path
from typing import Annotated, Final

from tyro.conf import arg

from reasoning_anatomy.cli._app import analyse_and_write, app, named_scorers, print_result, say

_DEMO_SCORERS: Final = ("answer_attention", "all")


@app.command
def demo(
    out: Annotated[Path, arg(help="Folder of the run.")] = Path("runs/demo"),
    chains: Annotated[int, arg(help="How many of the shipped example chains to measure, shortest first.")] = 8,
    model: Annotated[str, arg(help="As for `run`.")] = "smollm2-135m",
) -> None:
    """Measure the shipped example chains with a small model and write a report: the whole job in a few minutes."""
    from reasoning_anatomy.chains import read_chains
    from reasoning_anatomy.errors import ChainFileError

    examples = read_chains(Path(str(files("reasoning_anatomy") / "data" / "example_chains.jsonl")))
    if not 1 <= chains <= len(examples):
        raise ChainFileError(f"--chains {chains}: expected 1..{len(examples)}, the number of example chains")
    import annotations  # what is heavy comes after the check
    from reasoning_anatomy.pipeline.measuring import measure
    from reasoning_anatomy.progress import Stages
    from reports import needed_analyses, write_report

    with Stages(show=True) as stages:
        run = measure(examples[:chains], out=out, model=model, scorers=named_scorers(_DEMO_SCORERS), stages=stages)
        stage = stages.add("annotate", len(run.measured))
        annotations.annotate_run(run, progress=stage.each)
        with stages.add("analyse", 1) as stage:
            results = [analyse_and_write(run, name) for name in needed_analyses()]
            stage.advance()
        with stages.add("report", 1) as stage:
            report = write_report(run)
            stage.advance()
    for result in results:
        print_result(result)
    say(" · ".join(f"{name} {seconds:.1f} s" for name, seconds in stages.seconds.items()))
    say(f"Open the report: {report}")
