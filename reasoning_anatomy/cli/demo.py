"""The command ``demo``."""

from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

from tyro.conf import arg

from reasoning_anatomy.cli._app import analyse_and_write, app, named_scorers, say
from reasoning_anatomy.cli._places import Folder

if TYPE_CHECKING:
    import pandas as pd

    from reasoning_anatomy.run import Run
    from reasoning_anatomy.types import AnalysisResult

_SCORER: Final = "answer_attention"
_WORK: Final = {
    "load": "loading the model",
    "score": "scoring tokens",
    "prune": "exact pruning",
    "annotate": "categories",
    "analyse": "statistics",
    "report": "the report",
}


@app.command
def demo(
    out: Annotated[Folder, arg(help="Folder of the run.")] = Path("runs/demo"),
    chains: Annotated[int, arg(help="How many of the shipped example chains to measure, shortest first.")] = 5,
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
        run = measure(examples[:chains], out=out, model=model, scorers=named_scorers((_SCORER, "all")), stages=stages)
        stage = stages.add("annotate", len(run.measured))
        annotations.annotate_run(run, progress=stage.each)
        with stages.add("analyse", 1) as stage:
            results = {name: analyse_and_write(run, name) for name in needed_analyses(run)}
            stage.advance()
        with stages.add("report", 1) as stage:
            report = write_report(run)
            stage.advance()
    _say_findings(results)
    _say_minutes(run, stages.seconds)
    say(f"All rows, and what a reader must know before believing them: {run.folder / 'analyses'}")
    say(f"Open the report: {report}")


def _say_findings(results: "Mapping[str, AnalysisResult]") -> None:
    say("")
    findings = [line for result in results.values() for line in result.finding.splitlines()]
    for number, finding in enumerate(findings, start=1):
        say(f"{number}. {finding}")
    say("")
    correlations, categories = results["rank_correlation"].table, results["deletion_by_category"].table
    for what, rows in (
        ("rank correlation of score and deletion_step", _rows_of_scorers(correlations)),
        ("mean relative deletion_step", _rows_of_classes(categories)),
    ):
        for row in rows.to_dict("records"):
            say(_line(what, {str(name): value for name, value in row.items()}))
    say("")


def _rows_of_scorers(table: "pd.DataFrame") -> "pd.DataFrame":
    """Both correlations of the answer's attention, and the strongest of all signals with position held constant."""
    terms = table["term"].isin(["spearman", "spearman_given_position"])
    signals = table[(table["term"] == "spearman_given_position") & (table["kind"] == "independent signal")]
    strongest = signals["estimate"].abs().idxmax()
    return table[(terms & (table["scorer"] == _SCORER)) | (table.index == strongest)]


def _rows_of_classes(table: "pd.DataFrame") -> "pd.DataFrame":
    """How much later symbolic computation goes than linguistic scaffolding, as it is and with position held constant."""
    difference = "symbolic_computation - linguistic_scaffolding"
    of_classes = (table["scheme"] == "classes") & (table["strategy"] == "greedy")
    return table[of_classes & table["term"].isin([difference, f"{difference} given position"])]


def _line(what: str, row: Mapping[str, Any]) -> str:
    term = " ".join([*([row["scorer"]] if "scorer" in row else []), str(row["term"]).replace("_", " ")])
    numbers = f"{row['estimate']:+.2f}  ({row['ci_low']:+.2f} to {row['ci_high']:+.2f})  p adjusted {row['p_adjusted']:.2g}"
    return f"  {term:<72} {numbers}  {what}"


def _say_minutes(run: "Run", seconds: Mapping[str, float]) -> None:
    """Say what the time went to."""
    from reasoning_anatomy.progress import duration

    paths = [path for chain_id in run.measured if (path := run.path(chain_id, "greedy")) is not None]
    n_tokens, n_deletions = sum(path.token_forwards for path in paths), sum(len(path.deleted) for path in paths)
    shares = ", ".join(f"{work} {duration(seconds[stage])}" for stage, work in _WORK.items() if stage in seconds)
    say(
        f"Where the time went: {shares} (stages overlap). Pruning is exact: {n_deletions:,} deletions, each the best of all "
        f"candidates, took {n_tokens:,} tokens through the model."
    )
