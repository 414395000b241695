"""Labels and roles of tokens, as files of a run."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import pandas as pd

from reasoning_anatomy.errors import RunError
from reasoning_anatomy.files import TEMPORARY_PREFIX, atomic_path
from reasoning_anatomy.types import Annotation

TOKEN: Final = ["chain_id", "position"]
_ANNOTATOR_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


def expect_annotator_name(name: str) -> None:
    """Raise `RunError` if a name cannot be that of a file and a column."""
    if not _ANNOTATOR_NAME.fullmatch(name):
        raise RunError(
            f"annotator name {name!r}: cannot name a file and a column; use up to 100 letters, digits, '-', '_' and '.', and "
            "begin with a letter or digit"
        )


def annotators_in(folder: Path) -> list[str]:
    """Names of the annotators whose labels are in a folder."""
    names = [path.stem for path in folder.glob("*.parquet")]
    return sorted(name for name in names if not name.startswith(TEMPORARY_PREFIX))


def write_labels(path: Path, annotations: Mapping[str, Annotation]) -> None:
    """Write the labels of one annotator, by chain_id; all must have the same provenance."""
    table = pd.concat([_label_frame(*item) for item in annotations.items()], ignore_index=True)
    table.attrs["annotator"] = next(labels.annotator for labels in annotations.values())
    write_token_table(path, table)


def write_roles(path: Path, roles: Mapping[str, pd.DataFrame]) -> None:
    """Write the roles of every token, a table of boolean columns ``role_<role>`` by chain_id."""
    frames = [table.assign(chain_id=chain_id, position=range(len(table))) for chain_id, table in roles.items()]
    table = pd.concat(frames, ignore_index=True).astype({"chain_id": "str"})
    write_token_table(path, table[[*TOKEN, *table.columns.drop(TOKEN)]])


def write_token_table(path: Path, table: pd.DataFrame) -> None:
    """Write a table with a row per token, as labels and roles are kept; the same rows give the same bytes."""
    with atomic_path(path) as temporary:
        table.to_parquet(temporary, index=False)


def _label_frame(chain_id: str, labels: Annotation) -> pd.DataFrame:
    """One row per token; columns that only some annotators have are there if this one has them."""
    columns = {
        "chain_id": pd.Series(chain_id, index=range(len(labels.category)), dtype="str"),
        "position": range(len(labels.category)),
        "category": pd.Series(labels.category, dtype="str"),
        "confidence": pd.Series(labels.confidence, index=range(len(labels.category)), dtype="float64"),
    }
    if labels.justification is not None:
        columns["justification"] = pd.Series(labels.justification, dtype="str")
    if labels.votes is not None:
        columns["votes"] = pd.Series(labels.votes, dtype="int64")
    return pd.DataFrame(columns)
