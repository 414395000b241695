"""Per-chain files to the tidy tables of a run."""

from collections.abc import Callable
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd
import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.parquet as pq  # type: ignore[import-untyped]

from reasoning_anatomy.errors import RunError
from reasoning_anatomy.files import atomic_path
from reasoning_anatomy.run.folder import PATHS_NAME, TOKENS_NAME, Run
from reasoning_anatomy.run.measurement import Measurement
from reasoning_anatomy.steps import step_of_token
from reasoning_anatomy.types import PruningPath, ReasoningChain

_CHAINS_PER_ROW_GROUP: Final = 64
_EMPTY_PATH: Final = PruningPath("", 0, np.empty(0, dtype=np.int64), np.empty(0), 0, np.zeros(1), np.zeros(1), np.zeros(1))

TableOfChain = Callable[[ReasoningChain, Measurement], pd.DataFrame]


def write_tables(run: Run) -> None:
    """Write ``tokens.parquet`` and ``paths.parquet`` from the files of the measured chains.

    The same chain files give the same bytes.
    """
    for name, table_of_chain in ((TOKENS_NAME, token_table), (PATHS_NAME, path_table)):
        _write_table(run, run.folder / name, table_of_chain)


def token_table(chain: ReasoningChain, measurement: Measurement) -> pd.DataFrame:
    """One row per reasoning token; columns as in `Run.tokens`."""
    encoded = measurement.encoded
    columns = {
        "chain_id": chain.chain_id,
        "question_id": chain.question_id,
        "position": np.arange(encoded.n_reasoning),
        "token_id": encoded.reasoning_ids,
        "text": [chain.reasoning[start:end] for start, end in encoded.spans],
        "start": encoded.spans[:, 0],
        "end": encoded.spans[:, 1],
        "step": step_of_token(chain.reasoning, encoded.spans),
    }
    columns |= {f"score_{label}": score for label, score in measurement.scores.items()}
    columns |= {
        f"deletion_step_{label}": pd.Series(path.deletion_step).astype("Int64") for label, path in measurement.paths.items()
    }
    return pd.DataFrame(columns)


def path_table(chain: ReasoningChain, measurement: Measurement) -> pd.DataFrame:
    """One row per deletion and one for the unpruned chain; columns as in `Run.paths`."""
    frames = [_rows_of_path(chain, label, path) for label, path in measurement.paths.items()]
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


def _write_table(run: Run, path: Path, table_of_chain: TableOfChain) -> None:
    measured = run.measured
    if not measured:
        raise RunError(f"{run.folder}: no chain was measured, so there is nothing to tabulate; see 'failed' in run.json")
    with atomic_path(path) as temporary:
        writer: pq.ParquetWriter | None = None
        for first in range(0, len(measured), _CHAINS_PER_ROW_GROUP):
            group = measured[first : first + _CHAINS_PER_ROW_GROUP]
            frames = [table_of_chain(run.chains[chain_id], run.measurement(chain_id)) for chain_id in group]
            table = pa.Table.from_pandas(pd.concat(frames, ignore_index=True), preserve_index=False)
            writer = writer or pq.ParquetWriter(temporary, table.schema)
            writer.write_table(table)
        if writer is not None:
            writer.close()
