"""From files to chains: the format is told, each row is converted or named with the reason why it cannot be."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from reasoning_anatomy import plugins
from reasoning_anatomy.chains import STANDARD_INPUT, decode, explained, read_bytes, shown, write_chains
from reasoning_anatomy.conversion._mapping import Mapped
from reasoning_anatomy.conversion._samples import Converter, Row, Sample
from reasoning_anatomy.errors import ChainFileError, UnusableError
from reasoning_anatomy.questions import question_id_of
from reasoning_anatomy.row_files import read_rows
from reasoning_anatomy.thinking import take_apart
from reasoning_anatomy.types import ReasoningChain
from reasoning_anatomy.unusable import Unusable, counted, write_unusable

_FIELDS: Final = frozenset(ReasoningChain.model_fields) - {"question_id", "source"}
_SUFFIXES: Final = (".json", ".jsonl", ".ndjson", ".csv", ".tsv", ".parquet")


@dataclass(frozen=True)
class Conversion:
    """What became of files.

    Attributes
    ----------
    chains
        In the order of the rows.
    unusable
        Rows that are not chains, with their reasons.
    formats
        Key of the format, by file.
    did
        What was done, one line for each row.
    """

    chains: tuple[ReasoningChain, ...]
    unusable: tuple[Unusable, ...]
    formats: Mapping[str, str]
    did: tuple[str, ...]


def convert_files(
    files: Sequence[str | Path], *, format: str | None = None, mapping: Mapping[str, str] | None = None
) -> Conversion:
    """Make chains of the rows of files.

    Parameters
    ----------
    files
        JSON, JSON lines, CSV or Parquet, also gzipped; ``-`` is standard input. A folder stands for all such files in it.
    format
        Spec of a converter; None tells the format of each file by the keys of its rows.
    mapping
        Which key holds a field of a chain, in place of a format; see ``docs/chains.md``.

    Raises
    ------
    ReasoningAnatomyError
        A file cannot be read, its format cannot be told, or there is no such format or field. A row that cannot be used is no
        error: it is in ``unusable``.
    """
    if format is not None and mapping:
        raise ChainFileError("a format and a mapping are given; a file has one or the other")
    named: Converter | None = Mapped.of(mapping) if mapping else plugins.load("converter", format) if format else None
    work = _Work()
    places = [(file, name) for path in files for file, name in _files(Path(path), named)]
    twice = len({name for _, name in places}) < len(places)
    for file, name in places:
        work.convert(file, _path_as_name(file) if twice else name, named)
    return Conversion(tuple(work.chains.values()), tuple(work.unusable), work.formats, tuple(work.did))


def write_conversion(conversion: Conversion, out: Path) -> Path:
    """Write the chains, and the rows that are not chains into a file beside it; return the path of the latter.

    Raises
    ------
    ChainFileError
        There is no chain to write; what is wrong with the rows is written all the same.
    """
    beside = out.with_name(f"{out.stem}.unusable.jsonl")
    write_unusable(beside, conversion.unusable)
    if not conversion.chains:
        reasons = "".join(f"\n  {count}  {reason}" for reason, count in counted(conversion.unusable).items())
        raise ChainFileError(f"no row became a chain; {beside} names each:{reasons}")
    write_chains(out, conversion.chains)
    return beside


class _Work:
    """Chains and unusable rows of all files so far."""

    def __init__(self) -> None:
        self.chains: dict[str, ReasoningChain] = {}
        self.unusable: list[Unusable] = []
        self.formats: dict[str, str] = {}
        self.did: list[str] = []

    def convert(self, file: Path, name: str, named: Converter | None) -> None:
        rows = list(read_rows(file))
        converter = named or plugins.load("converter", _format_of(file, rows))
        key = "mapping" if isinstance(converter, Mapped) else plugins.label(converter)
        self.formats[str(file)] = key
        beside = _beside(file, converter)
        for number, record in rows:
            try:
                row = _row(record, beside)
                samples = list(converter.convert(row))
            except UnusableError as error:
                self._leave_out(file, number, "", error)
                continue
            for sample in samples:
                part = f"-{sample.part}" if sample.part else ""
                try:
                    chain = _chain(sample, row, f"{name}-{number}{part}", {"file": file.name, "row": number, "format": key})
                    self._expect_new(chain)
                except UnusableError as error:
                    self._leave_out(file, number, sample.part, error)
                else:
                    self.chains[chain.chain_id] = chain
                    self.did.append(f"{file}, row {number}: {_in_words(sample, chain)}")

    def _expect_new(self, chain: ReasoningChain) -> None:
        if chain.chain_id in self.chains:
            raise UnusableError("its chain_id is that of an earlier chain")

    def _leave_out(self, file: Path, number: int, part: str, error: UnusableError) -> None:
        message = f"{file}, row {number}{f' ({part})' if part else ''}: {error}"
        self.unusable.append(Unusable(file.name, number, None, str(error), message))
        self.did.append(f"{message}: left out")


def _row(record: Any, beside: Mapping[str, Any]) -> Row:
    if isinstance(record, ChainFileError):
        raise UnusableError(record.reason)
    if not isinstance(record, dict):
        raise UnusableError("is not an object with keys")
    return Row(record, beside)


def _chain(sample: Sample, row: Row, chain_id: str, place: Mapping[str, Any]) -> ReasoningChain:
    if sample.fault:
        raise UnusableError(sample.fault)
    reasoning, answer = take_apart(sample.answer, reasoning=sample.reasoning)
    question = sample.question.strip()
    own = _FIELDS | ({"question_id"} if sample.question_id else set())
    texts = (sample.question, sample.reasoning, sample.system_prompt)
    further = {name: value for name, value in row.small().items() if name not in own and value not in texts}
    try:
        return ReasoningChain.model_validate(
            {
                "chain_id": sample.chain_id or chain_id,
                "question_id": sample.question_id or question_id_of(question),
                "question": question,
                "reasoning": reasoning,
                "answer": answer,
                "gold_answer": sample.gold_answer,
                "is_correct": sample.is_correct,
                "system_prompt": sample.system_prompt,
                "step_starts": _starts_within(reasoning, sample),
                "source": {"converted_from": place, **further, **sample.source},
            }
        )
    except ValidationError as error:
        raise UnusableError(explained(error)[1]) from None


def _starts_within(reasoning: str, sample: Sample) -> Any:
    """Count where steps begin in the reasoning without the white space around it; what is no list of numbers stays as it is."""
    starts = sample.step_starts
    if starts is None:
        return None
    if sample.reasoning is None or sample.reasoning.strip() != reasoning:
        raise UnusableError("'step_starts' counts the characters of a reasoning that is cut: take it apart, then count")
    if not isinstance(starts, list) or not all(type(start) is int for start in starts):
        return starts
    before = sample.reasoning.index(reasoning)
    return [start - before for start in starts if not 0 <= start < before]


def _in_words(sample: Sample, chain: ReasoningChain) -> str:
    facts = {
        "reasoning": chain.reasoning,
        "answer": chain.answer,
        "gold_answer": chain.gold_answer,
        "is_correct": chain.is_correct,
    }
    shown_facts = ", ".join(f"{name} {shown(value)}" for name, value in facts.items() if value is not None)
    return "; ".join([f"chain {chain.chain_id}, {chain.question_id}: {shown_facts}", *sample.did])


def _format_of(file: Path, rows: Sequence[tuple[int, Any]]) -> str:
    """Return the key of the format of the first row that is in one."""
    first: set[str] = set()
    for number, record in rows:
        if not isinstance(record, dict):
            continue
        fitting = _formats_of(record)
        if len(fitting) == 1:
            return fitting[0]
        if fitting:
            raise ChainFileError(f"{file}, row {number}: can be {' or '.join(fitting)}; say which: --format {fitting[0]}")
        first = first or set(record)
    keys = ", ".join(map(str, sorted(first)[:12])) or "none"
    raise ChainFileError(
        f"{file}: is in no format that is known here (its keys: {keys}); say which of them hold what: --map question=KEY "
        f"reasoning=KEY answer=KEY, or name one of {', '.join(plugins.available('converter'))}: --format FORMAT"
    )


def _formats_of(record: Mapping[str, Any]) -> list[str]:
    """Return the keys of the formats that fit a row best: whose set of keys is the largest."""
    present = {key.casefold() for key in record}
    sizes = {
        name: max((len(keys) for keys in plugins.load_class("converter", name).keys if present.issuperset(keys)), default=0)
        for name in plugins.available("converter")
    }
    return [name for name, size in sizes.items() if size and size == max(sizes.values())]


def _files(path: Path, named: Converter | None) -> Iterator[tuple[Path, str]]:
    """Yield the file, or the files of a folder, each with the name that its chains get."""
    if not path.is_dir():
        yield path, "stdin" if str(path) == STANDARD_INPUT else _path_as_name(Path(path.name))
        return
    converters = [named] if named else [plugins.load("converter", key) for key in plugins.available("converter")]
    wanted = {getattr(converter, "only_file_in_folders", "") for converter in converters}
    inside = sorted(each for each in path.rglob("*") if each.is_file())
    found = [each for each in inside if each.name in wanted] or [each for each in inside if set(each.suffixes) & set(_SUFFIXES)]
    if not found:
        raise ChainFileError(f"{path}: the folder holds no file of {', '.join(_SUFFIXES)}; name the file")
    yield from ((each, _path_as_name(each.relative_to(path))) for each in found)


def _path_as_name(path: Path) -> str:
    while path.suffix in (".gz", *_SUFFIXES):
        path = path.with_suffix("")
    return "-".join(part for part in path.parts if part not in ("/", "..", "."))


def _beside(file: Path, converter: Converter) -> dict[str, Any]:
    """Read the JSON files beside a file that its converter asks for, if they are there."""
    paths = [file.with_name(name) for name in getattr(converter, "reads_beside", ())]
    return {path.name: decode(path, 1, read_bytes(path).decode(errors="replace")) for path in paths if path.is_file()}
