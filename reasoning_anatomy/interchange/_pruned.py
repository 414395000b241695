"""One chain with its deletion order, as every format reads and writes it, and its place in the file."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal, Protocol

from reasoning_anatomy.errors import ChainFileError, EncodingError
from reasoning_anatomy.plugins import Plugin
from reasoning_anatomy.types import EncodedChain, PruningPath

if TYPE_CHECKING:
    from reasoning_anatomy.models.encoding import ChainEncoder

UNKNOWN_ID: Final = -1
"""Stands for every id of a chain whose file has no ids."""


@dataclass(frozen=True, eq=False)
class PrunedChain:
    """What a record says about one chain.

    Attributes
    ----------
    encoded
        Text, ids and spans; the ids are `UNKNOWN_ID` if they are not known.
    label
        Of the strategy.
    path
        The deletion order; curves are NaN if they are not given.
    categories
        (n,) one per token, or None.
    """

    encoded: EncodedChain
    label: str
    path: PruningPath
    categories: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Place:
    """Where a record is: a line of a file, or an item of a file that is one list."""

    file: Path
    unit: Literal["line", "item"]
    number: int

    def __str__(self) -> str:
        return f"{self.file}, {self.unit} {self.number}"

    def error(self, message: str) -> ChainFileError:
        """Make the error that says what is wrong here."""
        return ChainFileError(f"{self}: {message}")

    @contextmanager
    def encoding(self) -> Iterator[None]:
        """Name this place in errors of the encoder."""
        try:
            yield
        except EncodingError as error:
            raise EncodingError(f"{self}: {error}") from error


class Format(Plugin, Protocol):
    """What a plugin of the kind ``format`` is: a frozen dataclass with these methods.

    Its key is the name of a field that every record of this format has, and no record of another. An import recognises the
    format by it.

    Attributes
    ----------
    has_categories
        Whether every token of a record must have a category.
    """

    has_categories: ClassVar[bool]

    def read(self, record: Mapping[str, Any], *, place: Place, encoder: "ChainEncoder | None") -> PrunedChain:
        """Read one record.

        Parameters
        ----------
        record
            An item of the file.
        place
            Where it is; errors name it.
        encoder
            With the pruner's tokenizer, which must give the tokens of the record. None if no model was named: then the
            record must say everything that is needed.

        Raises
        ------
        ChainFileError
            The record is wrong, or was cut by another tokenizer.
        EncodingError
            The text cannot be encoded.
        """

    def write(self, pruned: PrunedChain) -> dict[str, Any]:
        """Make the record of one chain; `RunError` if the format cannot hold it."""
