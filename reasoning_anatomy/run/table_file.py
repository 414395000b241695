"""A table of a run on the disk: which columns it has, and those of them that are wanted, of the chains that are wanted."""

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Self

import pandas as pd
import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.compute as pc  # type: ignore[import-untyped]
import pyarrow.dataset as ds  # type: ignore[import-untyped]
import pyarrow.parquet as pq  # type: ignore[import-untyped]

from reasoning_anatomy.errors import RunError

_INDEX: Final = "__index_level_"
"""How columns begin that hold the index of a table that was written by hand."""


@dataclass(frozen=True)
class TableFile:
    """A Parquet file with rows of chains.

    Attributes
    ----------
    path
        Of the file.
    remedy
        What to do if it is damaged.
    names
        What the file calls each of its columns that are to be seen.
    """

    path: Path
    remedy: str
    names: Mapping[str, str]

    @classmethod
    def of(cls, path: Path, remedy: str) -> Self:
        """Read which columns there are; `RunError` if the file is damaged."""
        try:
            names = pq.read_schema(path).names
            return cls(path, remedy, {name: name for name in names if not name.startswith(_INDEX)})
        except (OSError, ValueError) as error:
            raise _damaged(path, error, remedy) from error

    def without(self, hidden: Container[str]) -> Self:
        """Hide columns."""
        return replace(self, names={name: inside for name, inside in self.names.items() if name not in hidden})

    def named(self, suffix: str) -> Self:
        """Add an ending to the names of all columns."""
        return replace(self, names={name + suffix: inside for name, inside in self.names.items()})

    def read(self, wanted: Sequence[str], chain_ids: Sequence[str] | None = None, *, also: Sequence[str] = ()) -> pd.DataFrame:
        """Read those of the wanted columns that are here, and others by the name that the file has for them.

        Nothing else of the file is read, and of its groups of rows only those in which a wanted chain can be.
        """
        names = {self.names[name]: name for name in wanted if name in self.names}
        columns = list(dict.fromkeys([*also, *names]))
        return read_parquet(self.path, self.remedy, columns, chain_ids).rename(columns=names)


def read_parquet(
    path: Path, remedy: str, columns: Sequence[str] | None = None, chain_ids: Sequence[str] | None = None
) -> pd.DataFrame:
    """Read a table, or some columns and chains of it; `RunError` if the file is damaged."""
    try:
        if chain_ids is not None:
            return _of_chains(path, columns, chain_ids)
        return pd.read_parquet(path, columns=None if columns is None else list(columns))
    except (OSError, ValueError) as error:
        raise _damaged(path, error, remedy) from error


def _of_chains(path: Path, columns: Sequence[str] | None, chain_ids: Sequence[str]) -> pd.DataFrame:
    """Read some chains, one group of rows after the other, so that no more than a group is held beside them."""
    data, chain_id = ds.dataset(path, format="parquet"), pc.field("chain_id")
    is_wanted = chain_id.isin(pa.array(chain_ids, pa.string()))
    can_be_there = (chain_id >= min(chain_ids)) & (chain_id <= max(chain_ids)) if chain_ids else is_wanted
    names = data.schema.names if columns is None else list(columns)
    parts = [
        group.to_table(columns=names, filter=is_wanted)
        for file in data.get_fragments()
        for group in file.split_by_row_group(can_be_there)
    ]
    table: pd.DataFrame = pa.concat_tables([data.schema.empty_table().select(names), *parts]).to_pandas()
    return table


def _damaged(path: Path, error: Exception, remedy: str) -> RunError:
    return RunError(f"{path}: cannot be read ({error}); {remedy}")
