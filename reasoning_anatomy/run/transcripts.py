"""How a chain was written under an eviction policy, in a file of the run: pinned by the text of the chain."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Final

from reasoning_anatomy.files import write_atomic
from reasoning_anatomy.run.arrays import refusing_damage
from reasoning_anatomy.run.origin import chain_digest, expect_origin
from reasoning_anatomy.transcripts import EvictionTranscript, read_transcript
from reasoning_anatomy.types import ReasoningChain

_REMEDY: Final = "delete the file and run the same command again, with the transcripts beside the file of chains"


def write_transcript_of(path: Path, transcript: EvictionTranscript, chain: ReasoningChain) -> None:
    """Write the transcript of a chain, unless the file has it."""
    facts = {"chain_id": chain.chain_id, "origin": {"chain": chain_digest(chain)}, "transcript": asdict(transcript)}
    content = (json.dumps(facts, separators=(",", ":")) + "\n").encode()
    if not path.exists() or path.read_bytes() != content:
        write_atomic(path, content)


def read_transcript_of(path: Path, chain: ReasoningChain, *, run_folder: Path) -> EvictionTranscript:
    """Read the transcript of a chain; `RunError` if the file is damaged or is of another text."""
    with refusing_damage(path, remedy=_REMEDY):
        facts = json.loads(path.read_text(encoding="utf-8"))
        expect_origin(path, facts, {"chain": chain_digest(chain)}, run_folder=run_folder)
        return read_transcript(json.dumps(facts["transcript"]))
