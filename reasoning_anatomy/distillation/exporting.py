"""Training sets for other trainers: one file an arm, as ids with labels or as text."""

from pathlib import Path
from typing import Literal

from reasoning_anatomy.files import atomic_path
from reasoning_anatomy.run.students import Arm, Students

Format = Literal["parquet", "jsonl"]

_IDS = ["chain_id", "input_ids", "labels"]
_TEXT = ["chain_id", "prompt", "completion"]


def export(students: Students, out: Path, *, formats: tuple[Format, ...] = ("parquet",), text: bool = False) -> list[Path]:
    """Write the training sets that students have.

    Parameters
    ----------
    students
        Whose sets are written.
    out
        Folder of the files; those of the same arms are replaced.
    formats
        One file each.
    text
        Write ``prompt`` and ``completion`` in place of ``input_ids`` and ``labels``. Whoever tokenises them may get other ids:
        `Students.training` has the share.

    Returns
    -------
    The files.
    """
    arms = dict.fromkeys(student.arm for student in students.manifest.students)
    return [
        _write(students, arm, students.training_file(arm).with_suffix(f".{each}").name, out, text=text)
        for arm in arms
        if students.training_file(arm).exists()
        for each in formats
    ]


def _write(students: Students, arm: Arm, name: str, out: Path, *, text: bool) -> Path:
    rows = students.rows(arm)[_TEXT if text else _IDS]
    with atomic_path(out / name) as temporary:
        if temporary.suffix == ".parquet":
            rows.to_parquet(temporary, index=False)
        else:
            rows.to_json(temporary, orient="records", lines=True, force_ascii=False)
    return out / name
