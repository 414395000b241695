"""Samples that several workers make: blocks of problems, each in a file of its own, put together in order at the end."""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

from reasoning_anatomy.claims import claimed
from reasoning_anatomy.errors import SampleError
from reasoning_anatomy.files import TEMPORARY_PREFIX, write_atomic
from reasoning_anatomy.generation.chain_file import (
    OPTIONS_SUFFIX,
    Row,
    SampledChains,
    TakenError,
    encoding_of_samples,
    options_of,
    release_options,
)
from reasoning_anatomy.generation.completion import Completion, Sampling
from reasoning_anatomy.generation.generate import Sampled, expect_askable, generate, sample_name
from reasoning_anatomy.generation.local import open_local
from reasoning_anatomy.generation.request import Request
from reasoning_anatomy.pipeline.executors.work import Executor, Work, execute
from reasoning_anatomy.plugins import load
from reasoning_anatomy.problems import Problem
from reasoning_anatomy.progress import Stages
from reasoning_anatomy.specs import EncodingOptions, ModelSpec
from reasoning_anatomy.transcript_files import TranscriptFile

_LEASE: Final = ".lease"
_MOST_SAMPLES: Final = 64
_LEAST_BLOCKS: Final = 16


@dataclass(frozen=True, kw_only=True)
class Asked:
    """How problems are asked, so that every worker asks alike.

    Attributes
    ----------
    model
        What every worker loads.
    samples, sampling, instruction, until_correct
        As in `generate`.
    template_variables, ends_with_thinking, loop_tokens
        As in `LocalModel` and its encoder.
    policy
        Spec of an eviction policy; None evicts nothing.
    """

    model: ModelSpec
    samples: int
    sampling: Sampling
    instruction: str
    until_correct: bool
    template_variables: tuple[str, ...]
    ends_with_thinking: bool
    loop_tokens: int
    policy: str | None


def generate_together(
    problems: Sequence[Problem], asked: Asked, *, out: Path, executor: Executor, plugins: Path | None, stages: Stages
) -> Sampled:
    """Let workers sample chains -> what `generate` returns, with the same bytes in the same file.

    Parameters
    ----------
    problems, asked
        What to ask, and how.
    out
        As of `generate`. While workers sample, blocks of it are in ``.<out>.parts`` beside it; what a killed command left there
        is taken over.
    executor, plugins
        Of the workers, and of `Work`.
    stages
        Shows progress.

    Raises
    ------
    RunError
        As `generate`; or the workers could not go on.
    """
    expect_askable(problems, samples=asked.samples, until_correct=asked.until_correct)
    folder = out.with_name(f".{out.name}.parts")
    with claimed(folder / _LEASE) as is_ours:
        if not is_ours:
            raise TakenError(f"{out}: another process is adding to it; wait for it, or name another file")
        _gather(folder, out)
        release_options(out)
        blocks = _blocks(folder, _lacking(problems, out, asked.samples), asked.samples)
        work = Work(sample_blocks, {"blocks": blocks, "asked": asked, "out": out}, plugins)
        execute(work, executor, n_left=partial(_n_left, list(blocks)), stages=stages)  # without blocks, it compares the options
        failed = {name: reason for part in blocks for name, reason in _failed(part).items()}
        _gather(folder, out)
        options = options_of(out)
        sampled = generate(
            problems,
            out=out,
            completer=_Recorded(failed),
            model=options["model"],
            samples=asked.samples,
            sampling=asked.sampling,
            instruction=asked.instruction,
            opened=options["opened"],
            until_correct=asked.until_correct,
            wait=True,
            stages=stages,
        )
        _clear(folder)
    with suppress(OSError):  # a worker of a killed command may still write there
        folder.rmdir()
    return sampled


def sample_blocks(blocks: Mapping[Path, Sequence[Problem]], *, asked: Asked, out: Path, stages: Stages) -> None:
    """Sample what no other worker has taken; then wait for what others have, and finish what is left of it.

    Parameters
    ----------
    blocks
        Problems by the file of their samples.
    asked, out
        As in `generate_together`.
    stages
        Shows progress.
    """
    encoding = EncodingOptions(template_variables=asked.template_variables, date=encoding_of_samples(out).date)
    completer, about, opened = open_local(
        asked.model,
        encoding,
        loop_tokens=asked.loop_tokens,
        ends_with_thinking=asked.ends_with_thinking,
        policy=None if asked.policy is None else load("policy", asked.policy),
        stages=stages,
    )
    ask = partial(
        generate,
        completer=completer,
        model=about,
        samples=asked.samples,
        sampling=asked.sampling,
        instruction=asked.instruction,
        opened=opened,
        until_correct=asked.until_correct,
        bound=True,
        stages=stages,
    )
    ask([], out=out, wait=True)  # refuses other options than those of the file
    known = _rows(out)
    for wait in (False, True):
        for part, problems in blocks.items():
            if not _done(part).exists():
                with suppress(*([] if wait else [TakenError])):
                    _begin(part, known, problems, options_of(out), wait=wait)
                    sampled = ask(problems, out=part, wait=wait)
                    write_atomic(_done(part), json.dumps(dict(sampled.failed)))


@dataclass(frozen=True)
class _Recorded:
    """Gives the reasons why workers could not make samples."""

    failed: Mapping[str, str]

    def complete(self, requests: Iterable[Request]) -> Iterator[tuple[Request, Completion | SampleError]]:
        for request in requests:
            yield request, SampleError(request.name, self.failed.get(request.name, "was left by workers; sample again"))


def _lacking(problems: Sequence[Problem], out: Path, samples: int) -> list[Problem]:
    """Problems of which the file lacks samples."""
    known = {row["chain_id"] for row in _rows(out)}
    return [each for each in problems if any(sample_name(each, number) not in known for number in range(samples))]


def _rows(out: Path) -> Sequence[Row]:
    if not (out.exists() and out.stat().st_size):
        return ()
    with SampledChains(out, options_of(out), wait=True) as file:
        return tuple(file.rows.values())


def _blocks(folder: Path, problems: Sequence[Problem], samples: int) -> dict[Path, list[Problem]]:
    size = max(1, min(_MOST_SAMPLES // samples, len(problems) // _LEAST_BLOCKS))
    blocks = [list(problems[start : start + size]) for start in range(0, len(problems), size)]
    return {folder / _part_name(block, samples): block for block in blocks}


def _part_name(problems: Sequence[Problem], samples: int) -> str:
    """Name a file by what is to be in it, so that it is the same to workers of a command that was killed."""
    parts = [samples, *(each.question_id for each in problems)]
    return f"{hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]}.jsonl"


def _begin(part: Path, known: Sequence[Row], problems: Sequence[Problem], options: Mapping[str, Any], *, wait: bool) -> None:
    """Take into a part what the file has of its problems."""
    question_ids = {each.question_id for each in problems}
    with SampledChains(part, options, wait=wait) as file:
        for row in known:
            if row["question_id"] in question_ids and row["chain_id"] not in file.rows:
                file.add(row)


def _n_left(parts: Sequence[Path]) -> int:
    return sum(not _done(part).exists() for part in parts)


def _done(part: Path) -> Path:
    return part.with_name(f"{part.name}.done.json")


def _failed(part: Path) -> dict[str, str]:
    done = _done(part)
    failed: dict[str, str] = json.loads(done.read_text(encoding="utf-8")) if done.exists() else {}
    return failed


def _gather(folder: Path, out: Path) -> None:
    """Move the samples of parts into the file, but for parts that a worker of a killed command still writes."""
    parts = sorted(path.with_name(path.name.removesuffix(OPTIONS_SUFFIX)) for path in folder.glob(f"*{OPTIONS_SUFFIX}"))
    if not parts:
        return
    options = options_of(parts[0])
    with SampledChains(out, options, wait=True) as file, ExitStack() as claims:
        found: list[SampledChains] = []
        for part in parts:
            with suppress(TakenError):
                found.append(claims.enter_context(SampledChains(part, options)))
        transcripts = TranscriptFile(out)
        for each in found:
            file.put(each.rows.values())
            for chain_id, transcript in TranscriptFile(each.path).read().items():
                transcripts.add(chain_id, transcript)
        file.sort([])
        for path in [path for each in found for path in folder.glob(f"{each.path.name}*")]:
            path.unlink()


def _clear(folder: Path) -> None:
    """Remove claims of killed workers, and what they were writing, if none works on."""
    with ExitStack() as claims:
        leases = [path for path in folder.glob(f".*{_LEASE}") if path.name != _LEASE]
        if all([claims.enter_context(claimed(lease)) for lease in leases]):
            for path in folder.glob(f"{TEMPORARY_PREFIX}*"):
                path.unlink(missing_ok=True)
