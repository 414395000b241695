"""Tasks for Label Studio, their labelling interface, and the labels that it exports.

Label Studio counts in UTF-16 code units, as browsers do: a character beyond the basic plane, such as an emoji, counts twice
(HumanSignal/label-studio issue 1347). Offsets are converted in both directions.
"""

import json
from collections.abc import Iterator, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any, Final

from annotations._sheets.csv_sheet import LabelTask
from annotations._sheets.rows import LabelledRow, Problems
from reasoning_anatomy.categories import CATEGORIES
from reasoning_anatomy.chains import shown
from reasoning_anatomy.errors import AnnotationError
from reasoning_anatomy.files import write_atomic

FROM_NAME: Final = "category"
TO_NAME: Final = "text"
_COLOURS: Final = ("#0072b2", "#56b4e9", "#cc79a7", "#e69f00", "#009e73", "#999999")
_LABELS: Final = "\n".join(
    f'    <Label value="{category}" background="{colour}" hotkey="{number}"/>'
    for number, (category, colour) in enumerate(zip(CATEGORIES, _COLOURS, strict=True), 1)
)
INTERFACE: Final = f"""<View>
  <Header value="$question"/>
  <Labels name="{FROM_NAME}" toName="{TO_NAME}">
{_LABELS}
  </Labels>
  <Text name="{TO_NAME}" value="$text" granularity="symbol"/>
</View>
"""


def write_tasks(path: Path, chains: Sequence[LabelTask], *, suggested_by: str | None) -> list[Path]:
    """Write one task per chain, with the suggestions as predictions, and the interface beside them."""
    tasks = []
    for chain, units, suggested in chains:
        data = {"chain_id": chain.chain_id, "question": chain.question, "text": chain.reasoning}
        results = _results(chain.reasoning, units, suggested)
        predictions = [{"model_version": suggested_by, "result": results}] if suggested_by else []
        tasks.append({"data": data, "predictions": predictions})
    write_atomic(path, json.dumps(tasks, ensure_ascii=False, indent=1) + "\n")
    interface = path.with_suffix(".xml")
    write_atomic(interface, INTERFACE)
    return [path, interface]


def read_tasks(path: Path, problems: Problems, *, completed_by: int | None) -> Iterator[LabelledRow]:
    """Read Label Studio's JSON export: the labels of one annotator."""
    for number, task in enumerate(_tasks(path)):
        where = f"task {task['id'] if isinstance(task, dict) and 'id' in task else number + 1}"
        try:
            chain_id, text = str(task["data"]["chain_id"]), task["data"]["text"]
            annotations = [
                annotation
                for annotation in task["annotations"]
                if not annotation.get("was_cancelled") and completed_by in (None, _person(annotation))
            ]
            if len(annotations) > 1:
                people = ", ".join(str(_person(annotation)) for annotation in annotations)
                problems.add(where, f"has {len(annotations)} annotations, by {people}; name one: --completed-by ID")
                continue
            offsets = _Offsets(text)
            for annotation in annotations:
                yield from _rows(where, chain_id, text, annotation["result"], offsets, problems)
        except (KeyError, TypeError, AttributeError) as error:
            problems.add(where, f"is not a Label Studio task ({error!r}); export as JSON, not JSON-MIN")


class _Offsets:
    """Offsets into a text: in characters, as everywhere here, and in UTF-16 code units, as in Label Studio."""

    def __init__(self, text: str) -> None:
        self._code_units = [0, *accumulate(1 + (ord(character) > 0xFFFF) for character in text)]
        self._characters = {offset: character for character, offset in enumerate(self._code_units)}

    def in_code_units(self, character: int) -> int:
        """Offset in code units of a character."""
        return self._code_units[character]

    def in_characters(self, offset: Any) -> int:
        """Character at an offset in code units; -1 if no character begins there."""
        return self._characters.get(offset, -1) if type(offset) is int else -1


def _results(text: str, units: Sequence[tuple[int, int]], suggested: Sequence[str | None]) -> list[dict[str, Any]]:
    offsets = _Offsets(text)
    return [
        {
            "id": f"unit-{index}",
            "from_name": FROM_NAME,
            "to_name": TO_NAME,
            "type": "labels",
            "value": {
                "start": offsets.in_code_units(start),
                "end": offsets.in_code_units(end),
                "text": text[start:end],
                "labels": [category],
            },
        }
        for index, ((start, end), category) in enumerate(zip(units, suggested, strict=True))
        if category is not None
    ]


def _rows(
    where: str, chain_id: str, text: str, results: Sequence[Any], offsets: _Offsets, problems: Problems
) -> Iterator[LabelledRow]:
    for index, result in enumerate(results):
        place = f"{where}, region {result.get('id', index)}"
        if result["type"] != "labels" or result["from_name"] != FROM_NAME:
            made_with = shown(result.get("from_name", "no control"))
            problems.add(place, f"is {shown(result['type'])} of {made_with}; remove it, and use the exported interface")
            continue
        value = result["value"]
        if len(value["labels"]) != 1:
            problems.add(place, f"has the labels {shown(value['labels'])}, expected one; remove the others")
            continue
        start, end = offsets.in_characters(value["start"]), offsets.in_characters(value["end"])
        yield LabelledRow(place, chain_id, start, end, value.get("text", text[start:end]), str(value["labels"][0]))


def _person(annotation: dict[str, Any]) -> Any:
    """Id of the person who made an annotation; some exports give the whole person."""
    person = annotation.get("completed_by")
    return person.get("id") if isinstance(person, dict) else person


def _tasks(path: Path) -> list[Any]:
    try:
        tasks = json.loads(path.read_bytes().decode("utf-8-sig"))
    except OSError as error:
        raise AnnotationError(f"{path}: {error.strerror}; give an export of Label Studio") from error
    except (ValueError, RecursionError) as error:
        raise AnnotationError(f"{path}: is not JSON ({error}); export as JSON from Label Studio") from error
    if not isinstance(tasks, list):
        raise AnnotationError(
            f"{path}: holds {type(tasks).__name__}, expected a list of tasks; export as JSON from Label Studio"
        )
    return tasks
