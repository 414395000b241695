"""From per-chain files to the tidy tables of a run."""

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.parquet as pq  # type: ignore[import-untyped]

from reasoning_anatomy.errors import RunError
from reasoning_anatomy.files import atomic_path
from reasoning_anatomy.run.folder import Run
from reasoning_anatomy.run.layout import PATHS_NAME, TOKENS_NAME
from reasoning_anatomy.run.segmenters import Cutter
from reasoning_anatomy.run.status import Inventory, Reasons, plugins_of
from reasoning_anatomy.types import PruningPath, ReasoningChain

_CHAINS_PER_ROW_GROUP: Final = 64
_EMPTY_PATH: Final = PruningPath("", 0, np.empty(0, dtype=np.int64), np.empty(0), 0, np.zeros(1), np.zeros(1), np.zeros(1))

TableOfChain = Callable[[Run, str], pd.DataFrame]

_LISTING: Final = b"reasoning_anatomy.files"


def write_tables(run: Run, inventory: Inventory | None = None) -> Reasons:
    """Write ``tokens.parquet`` and ``paths.parquet`` from the files of the measured chains; no attention is read.

    The same files give the same bytes.

    Returns
    -------
    Why a chain has no steps by a segmenter: the reason by label and chain_id.

    Raises
    ------
    RunError
        Nothing has been measured, or a file is damaged; existing tables are kept then.
    PluginError
        A segmenter crashes, or does not partition the tokens; existing tables are kept then.
    """
    inventory, cutter = inventory or run.inventory(), Cutter.of(run.folder, run.manifest.configuration)
    measured = inventory.measured(run.manifest.configuration)
    if not measured:
        why = _most_common_failure(run, inventory)
        raise RunError(f"{run.folder}: no chain was measured, so there is nothing to tabulate{why}")
    listing = _listing(run, inventory)
    for name, table_of_chain in ((TOKENS_NAME, partial(token_table, cutter=cutter)), (PATHS_NAME, path_table)):
        _write_table(run, run.folder / name, measured, table_of_chain, listing)
    return cutter.refused


def _most_common_failure(run: Run, inventory: Inventory) -> str:
    failed = inventory.status(run.manifest.configuration).failed
    reasons = Counter(failure for of_chain in failed.values() for failure in of_chain.items())
    if not reasons:
        return ""
    (plugin, reason), n_chains = reasons.most_common(1)[0]
    return f"; {plugin} failed on {n_chains} of {len(run.chains)} chains: {reason} (all reasons are in failed/)"


def tables_are_current(run: Run, inventory: Inventory, *, made_after: Sequence[Path] = ()) -> bool:
    """Whether both tables exist and were made from the files that exist now.

    Tables record which artefacts they were made from; they must also be newer than the files of ``made_after``.
    """
    paths = [run.folder / name for name in (TOKENS_NAME, PATHS_NAME)]
    if not all(path.exists() for path in paths):
        return False
    newest = max((path.stat().st_mtime_ns for path in made_after if path.exists()), default=0)
    if any(path.stat().st_mtime_ns <= newest for path in paths):
        return False
    try:
        return all(pq.read_schema(path).metadata.get(_LISTING) == _listing(run, inventory) for path in paths)
    except (OSError, ValueError, AttributeError):
        return False  # a damaged table is made again


def token_table(run: Run, chain_id: str, *, cutter: Cutter) -> pd.DataFrame:
    """One row per reasoning token of a chain; columns as in `Run.tokens`, with the steps of ``cutter``."""
    configuration, encoded, chain = run.manifest.configuration, run.encoded(chain_id), run.chains[chain_id]
    columns: dict[str, Any] = {
        "chain_id": chain.chain_id,
        "question_id": chain.question_id,
        "position": np.arange(encoded.n_reasoning),
        "token_id": encoded.reasoning_ids,
        "text": [chain.reasoning[start:end] for start, end in encoded.spans],
        "start": encoded.spans[:, 0],
        "end": encoded.spans[:, 1],
    }
    for label, steps in cutter.cut(encoded).items():
        columns[f"step_{label}"] = pd.array([pd.NA] * encoded.n_reasoning if steps is None else steps, dtype="Int64")
    missing = np.full(encoded.n_reasoning, np.nan)
    for label in configuration.scorers:
        scores = run.token_scores(chain_id, label, with_profile=False)
        columns[f"score_{label}"] = missing if scores is None else scores.score
    for label in configuration.strategies:
        path = run.path(chain_id, label)
        columns[f"deletion_step_{label}"] = pd.Series(missing if path is None else path.deletion_step).astype("Int64")
    return pd.DataFrame(columns)


def path_table(run: Run, chain_id: str) -> pd.DataFrame:
    """One row per deletion of a chain and one for the unpruned chain; columns as in `Run.paths`."""
    chain = run.chains[chain_id]
    paths = {label: run.path(chain_id, label) for label in run.manifest.configuration.strategies}
    frames = [_rows_of_path(chain, label, path) for label, path in paths.items() if path is not None]
    return pd.concat(frames, ignore_index=True) if frames else _rows_of_path(chain, "", _EMPTY_PATH).iloc[:0]


def _rows_of_path(chain: ReasoningChain, label: str, path: PruningPath) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "chain_id": chain.chain_id,
            "question_id": chain.question_id,
            "strategy": label,
            "deletion_step": np.arange(len(path.deleted) + 1),
            "position": pd.array([None, *path.deleted.tolist()], dtype="Int64"),
            "margin": np.concatenate([[np.nan], path.margin]),
            "nll_answer": path.nll_answer,
            "nll_joint": path.nll_joint,
            "nll_reasoning": path.nll_reasoning,
        }
    )


def _write_table(run: Run, path: Path, chain_ids: Sequence[str], table_of_chain: TableOfChain, listing: bytes) -> None:
    with atomic_path(path) as temporary:
        writer: pq.ParquetWriter | None = None
        for first in range(0, len(chain_ids), _CHAINS_PER_ROW_GROUP):
            frames = [table_of_chain(run, chain_id) for chain_id in chain_ids[first : first + _CHAINS_PER_ROW_GROUP]]
            table = pa.Table.from_pandas(pd.concat(frames, ignore_index=True), preserve_index=False)
            table = table.cast(_typed(table.schema)).replace_schema_metadata({**table.schema.metadata, _LISTING: listing})
            writer = writer or pq.ParquetWriter(temporary, table.schema)
            writer.write_table(table)
        if writer is not None:
            writer.close()


def _typed(schema: pa.Schema) -> pa.Schema:
    """Give text columns their type, which pandas 2 leaves open in a table without rows; later chains have text in them."""
    return pa.schema([field.with_type(pa.string()) if pa.types.is_null(field.type) else field for field in schema])


def _listing(run: Run, inventory: Inventory) -> bytes:
    """Digest of which artefacts of which chains exist, and of the rules that cut the steps."""
    configuration = run.manifest.configuration
    artefacts = [
        [chain_id, *(plugin for plugin in plugins_of(configuration) if inventory.has(chain_id, *plugin))]
        for chain_id in inventory.measured(configuration)
    ]
    facts = [dict(configuration.segmenters), plugins_of(configuration), artefacts]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest().encode()
