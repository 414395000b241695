"""The files of texts that a model wrote anew on the questions of a run, while an eviction policy emptied its cache."""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from reasoning_anatomy.files import write_atomic
from reasoning_anatomy.run.arrays import refusing_damage
from reasoning_anatomy.run.evaluations import REMEDY, Answer
from reasoning_anatomy.run.origin import Origin, expect_origin
from reasoning_anatomy.transcripts import EvictionTranscript, read_transcript


@dataclass(frozen=True)
class WrittenText:
    """One text, thinking and answer.

    Attributes
    ----------
    answer
        The text, and how it ended.
    transcript
        What was evicted meanwhile. Its ``token_ends`` count the characters of the text, behind which are the token that ended
        the turn and a stop string.
    thinking_opened
        Whether the prompt had opened the thinking.
    """

    answer: Answer
    transcript: EvictionTranscript
    thinking_opened: bool


def write_text(path: Path, text: WrittenText, *, chain_id: str, origin: Origin) -> None:
    """Write one text."""
    facts = {"chain_id": chain_id, "origin": dict(origin), **asdict(text)}
    write_atomic(path, json.dumps(facts, ensure_ascii=False, separators=(",", ":")) + "\n")


def read_texts(paths: Iterable[Path], *, origin: Origin, run_folder: Path) -> list[WrittenText]:
    """Read texts, in the order of the files; `RunError` if one is damaged or was made from something else."""
    found = []
    for path in paths:
        with refusing_damage(path, remedy=REMEDY):
            facts = json.loads(path.read_text(encoding="utf-8"))
            expect_origin(path, facts, origin, run_folder=run_folder)
            transcript = read_transcript(json.dumps(facts["transcript"]))
            found.append(WrittenText(Answer(**facts["answer"]), transcript, facts["thinking_opened"]))
    return found
