"""A run to a file that other programs read."""

import json
from pathlib import Path

from reasoning_anatomy import plugins
from reasoning_anatomy.errors import RunError
from reasoning_anatomy.files import write_atomic
from reasoning_anatomy.interchange._pruned import Format, PrunedChain
from reasoning_anatomy.run.folder import Run


def export_run(
    run: Run, *, format: str, out: str | Path | None = None, strategy: str | None = None, annotator: str | None = None
) -> Path:
    """Write the measured chains of a run with their paths, one JSON object a line.

    Parameters
    ----------
    run
        With a pruning strategy measured.
    format
        Key of a format.
    out
        The file; ``RUN/exports/<format>.jsonl`` where None. What is there is replaced.
    strategy
        Label of the strategy; None takes the first of the run.
    annotator
        Whose categories, where the format has them; None takes the only one of the run.

    Returns
    -------
    The file.

    Raises
    ------
    RunError
        The run does not hold what the format needs; nothing is written then.
    """
    plugin: Format = plugins.load("format", format)
    label = run.strategy_named(strategy)
    categories = _categories(run, annotator) if plugin.has_categories else {}
    records = [plugin.write(_pruned(run, chain_id, label, categories.get(chain_id))) for chain_id in run.measured]
    if not records:
        raise RunError(f"{run.folder}: has no measured chain to export; finish the run first")
    path = run.folder / "exports" / f"{plugins.key_of(plugin)}.jsonl" if out is None else Path(out)
    write_atomic(path, "".join(json.dumps(record, ensure_ascii=False, allow_nan=False) + "\n" for record in records))
    return path


def _categories(run: Run, wanted: str | None) -> dict[str, tuple[str, ...]]:
    """Return the categories of every token by chain_id."""
    if wanted is None and len(run.annotators) > 1:
        raise RunError(
            f"{run.folder}: has the labels of {', '.join(run.annotators)}; name one: --annotator {run.annotators[0]}"
        )
    name = run.annotator_named(wanted)
    tokens = run.tokens()
    incomplete = tokens.loc[tokens[f"category_{name}"].isna(), "chain_id"]
    if len(incomplete):
        raise RunError(
            f"{run.folder}: chain {incomplete.iloc[0]!r} has tokens without a category of {name!r}; make them again with: "
            f"reasoning-anatomy annotate {run.folder} --annotator {name}"
        )
    return {str(chain_id): tuple(rows) for chain_id, rows in tokens.groupby("chain_id", sort=False)[f"category_{name}"]}


def _pruned(run: Run, chain_id: str, label: str, categories: tuple[str, ...] | None) -> PrunedChain:
    path = run.path(chain_id, label)
    if path is None:
        raise RunError(f"{run.folder}: chain {chain_id!r} has no path of {label!r}; run that strategy on all chains")
    return PrunedChain(run.encoded(chain_id), label, path, categories)
