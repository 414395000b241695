"""The labels and roles of the tokens of the runs that are merged."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import pandas as pd

from reasoning_anatomy.errors import RunError
from reasoning_anatomy.run.folder import Run
from reasoning_anatomy.run.labels import TOKEN
from reasoning_anatomy.run.layout import TOKEN_ROLES_NAME
from reasoning_anatomy.run.merging.together import Together, contradiction
from reasoning_anatomy.run.table_file import read_parquet

_REMEDY: Final = "label the run again"


def token_tables(together: Together) -> dict[Path, pd.DataFrame]:
    """Labels and roles of the tokens of all runs, by the file of the merged run; `RunError` if two runs differ on a chain."""
    names = dict.fromkeys(name for run in together.runs for name in run.annotators)
    files = {f"annotations/{name}.parquet": f"labels of {name!r}" for name in names} | {TOKEN_ROLES_NAME: "roles of tokens"}
    places = {chain_id: place for place, chain_id in enumerate(together.chains)}
    tables = {}
    for name, what in files.items():
        holders = [run for run in together.runs if (run.folder / name).exists()]
        if holders:
            table = _joined(holders, name, what)
            order = table["chain_id"].map(places).to_numpy().argsort(kind="stable")
            tables[together.layout.folder / name] = table.iloc[order].reset_index(drop=True)
    return tables


def _joined(runs: Sequence[Run], name: str, what: str) -> pd.DataFrame:
    joined = read_parquet(runs[0].folder / name, _REMEDY)
    about = dict(joined.attrs)
    for run in runs[1:]:
        table = read_parquet(run.folder / name, _REMEDY)
        if table.attrs != about or list(table.columns) != list(joined.columns):
            raise RunError(
                f"{run.folder}: the {what} are by {_annotator(table)}, and by {_annotator(joined)} in {runs[0].folder}; label "
                "one of the runs again"
            )
        is_known = table["chain_id"].isin(set(joined["chain_id"]))
        known = dict(list(joined.groupby("chain_id", sort=False))) if is_known.any() else {}
        for chain_id, rows in table[is_known].groupby("chain_id", sort=False):
            if not _by_position(rows).equals(_by_position(known[chain_id])):
                raise contradiction(run, runs[0], f"chain {chain_id!r} has other {what}")
        joined = pd.concat([joined, table[~is_known]], ignore_index=True)
    joined.attrs = about
    return joined


def _by_position(rows: pd.DataFrame) -> pd.DataFrame:
    return rows.sort_values(TOKEN, kind="stable").reset_index(drop=True)


def _annotator(table: pd.DataFrame) -> str:
    return str(table.attrs.get("annotator", f"a rule with the columns {', '.join(table.columns)}"))
