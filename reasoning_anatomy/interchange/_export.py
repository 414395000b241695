"""From a run to a file that other programs read."""

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
    """Write the chains of a run that a strategy has pruned, one JSON object a line.

    Parameters
    ----------
    run
        With a pruning strategy measured.
    format
        Key of a format.
    out
        The file; ``RUN/exports/<format>.jsonl`` if None. An existing file is replaced.
    strategy
        Label of the strategy; None takes the first of the run.
    annotator
        Whose categories to write, if the format has them; None takes the only one of the run.

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
    paths = {chain_id: path for chain_id in run.measured if (path := run.path(chain_id, label)) is not None}
    if not paths:
        raise RunError(f"{run.folder}: has no chain with a path of {label!r} to export; finish the run first")
    records = [
        plugin.write(PrunedChain(run.encoded(chain_id), label, path, categories.get(chain_id)))
        for chain_id, path in paths.items()
    ]
    file = run.folder / "exports" / f"{plugins.key_of(plugin)}.jsonl" if out is None else Path(out)
    write_atomic(file, "".join(json.dumps(record, ensure_ascii=False, allow_nan=False) + "\n" for record in records))
    return file


def _categories(run: Run, wanted: str | None) -> dict[str, tuple[str, ...]]:
    """Return the categories of every token by chain_id."""
    if wanted is None and len(run.annotators) > 1:
        raise RunError(
            f"{run.folder}: has the labels of {', '.join(run.annotators)}; name one: --annotator {run.annotators[0]}"
        )
    name = run.annotator_named(wanted)
    tokens = run.tokens(columns=["chain_id", f"category_{name}"])
    incomplete = tokens.loc[tokens[f"category_{name}"].isna(), "chain_id"]
    if len(incomplete):
        raise RunError(
            f"{run.folder}: chain {incomplete.iloc[0]!r} has tokens without a category of {name!r}; make them again with: "
            f"reasoning-anatomy annotate {run.folder} --annotator {name}"
        )
    return {str(chain_id): tuple(rows) for chain_id, rows in tokens.groupby("chain_id", sort=False)[f"category_{name}"]}
