"""Rows that are not chains, and chains that cannot be measured: named, counted by reason, kept in a file."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from reasoning_anatomy.errors import RunError
from reasoning_anatomy.files import write_atomic

_NAMED: Final = 20


@dataclass(frozen=True)
class Unusable:
    """One row or chain that is left out.

    Attributes
    ----------
    file
        Name of its file; None if it did not come from one.
    row
        Its line, item or row in that file, from 1.
    chain_id
        Its id, if it is known.
    reason
        What is wrong, the same for all that have this fault.
    message
        Place, value and remedy.
    question_id, is_correct
        Of the sample that it is, as far as they are known: it counts in the pass rate of its question.
    """

    file: str | None
    row: int | None
    chain_id: str | None
    reason: str
    message: str
    question_id: str | None = None
    is_correct: bool | None = None


def listed(unusable: Sequence[Unusable]) -> str:
    """Name the first twenty, one a line, and count the others."""
    lines = [each.message for each in unusable[:_NAMED]]
    if len(unusable) > _NAMED:
        lines.append(f"and {len(unusable) - _NAMED} more")
    return "".join(f"\n  {line}" for line in lines)


def counted(unusable: Sequence[Unusable]) -> dict[str, int]:
    """How many there are, by reason, the most frequent first."""
    return dict(Counter(each.reason for each in unusable).most_common())


def write_unusable(path: Path, unusable: Sequence[Unusable]) -> None:
    """Write one JSON object a line, or remove the file if there is nothing to write."""
    if unusable:
        write_atomic(path, "".join(json.dumps(asdict(each)) + "\n" for each in unusable))
    else:
        path.unlink(missing_ok=True)


def read_unusable(path: Path) -> list[Unusable]:
    """Read what `write_unusable` wrote; nothing if there is no such file."""
    try:
        return [Unusable(**json.loads(line)) for line in path.read_text(encoding="utf-8").splitlines()]
    except FileNotFoundError:
        return []
    except (OSError, ValueError, TypeError) as error:
        raise RunError(f"{path}: cannot be read ({error}); delete the file and run the same command again") from error
