"""A cache of answers, one file each, by the content of what was asked."""

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pydantic import TypeAdapter, ValidationError

from annotations._llm.answer import LabelledUnit
from reasoning_anatomy.errors import AnnotationError
from reasoning_anatomy.files import write_atomic

OFF: Final = "off"
_FORMAT: Final = 1
_LABELS: Final = TypeAdapter(list[LabelledUnit])


@dataclass(frozen=True)
class Cache:
    """A folder of answers; with None, nothing is kept."""

    folder: Path | None

    @classmethod
    def at(cls, place: str | None) -> "Cache":
        """Open the folder of this name; the user's own if it is None, and no folder if it is ``"off"``."""
        if place == OFF:
            return cls(None)
        if place is not None:
            return cls(Path(place).expanduser())
        base = os.environ.get("XDG_CACHE_HOME")
        return cls((Path(base) if base else Path.home() / ".cache") / "reasoning-anatomy" / "llm")

    def read(self, asked: Mapping[str, Any]) -> dict[int, LabelledUnit]:
        """Labels by unit; empty if this was never asked.

        Raises
        ------
        AnnotationError
            The file is damaged.
        """
        path = self._path(asked)
        if path is None or not path.exists():
            return {}
        try:
            return {label.unit: label for label in _LABELS.validate_json(path.read_bytes())}
        except (OSError, ValidationError) as error:
            raise AnnotationError(f"{path}: holds a damaged answer ({type(error).__name__}); delete the file") from error

    def write(self, asked: Mapping[str, Any], labels: Mapping[int, LabelledUnit]) -> None:
        """Keep the labels that answer what was asked."""
        path = self._path(asked)
        if path is not None:
            write_atomic(path, _LABELS.dump_json(list(labels.values())))

    def _path(self, asked: Mapping[str, Any]) -> Path | None:
        if self.folder is None:
            return None
        text = json.dumps({"format": _FORMAT, **asked}, sort_keys=True)
        digest = hashlib.sha256(text.encode()).hexdigest()
        return self.folder / digest[:2] / f"{digest}.json"
