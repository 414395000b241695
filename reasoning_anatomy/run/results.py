"""Results of analyses, as files of a run."""

import json
from pathlib import Path

import pandas as pd

from reasoning_anatomy.files import write_atomic
from reasoning_anatomy.types import AnalysisResult


def write_result(folder: Path, result: AnalysisResult, *, data: str) -> None:
    """Write ``table.csv``, one CSV per detail table, and ``result.json`` last, so that a result is complete if it exists."""
    write_atomic(folder / "table.csv", result.table.to_csv(index=False))
    for name, detail in result.details.items():
        write_atomic(folder / f"{name}.csv", detail.to_csv(index=False))
    facts = {
        "name": result.name,
        "finding": result.finding,
        "config": result.config,
        "details": list(result.details),
        "exclusions": dict(result.exclusions),
        "warnings": list(result.warnings),
        "provenance": dict(result.provenance),
        "data": data,
    }
    write_atomic(folder / "result.json", json.dumps(facts, indent=2) + "\n")


def data_of_result(folder: Path) -> str:
    """Digest of the tables that a result was computed from; empty if there is no result that can be read."""
    try:
        return str(json.loads((folder / "result.json").read_text(encoding="utf-8"))["data"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def read_result(folder: Path) -> AnalysisResult:
    """Read a result; OSError, ValueError or KeyError if it does not exist or is damaged."""
    facts = json.loads((folder / "result.json").read_text(encoding="utf-8"))
    return AnalysisResult(
        name=facts["name"],
        table=_read_table(folder / "table.csv"),
        details={detail: _read_table(folder / f"{detail}.csv") for detail in facts["details"]},
        exclusions=facts["exclusions"],
        warnings=tuple(facts["warnings"]),
        config=facts["config"],
        provenance=facts["provenance"],
        finding=facts["finding"],
    )


def _read_table(path: Path) -> pd.DataFrame:
    """Read a CSV that `write_result` wrote: ids stay text, and only empty cells are missing values."""
    return pd.read_csv(
        path, dtype={"chain_id": "str", "question_id": "str", "term": "str"}, keep_default_na=False, na_values=[""]
    )
