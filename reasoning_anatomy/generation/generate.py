"""Sample chains on problems, into a file that any later process can finish."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reasoning_anatomy.answers import Judge
from reasoning_anatomy.errors import RunError, SampleError
from reasoning_anatomy.generation.chain_file import SampledChains
from reasoning_anatomy.generation.completion import INSTRUCTION, Sampling, sample_seed
from reasoning_anatomy.generation.request import Completer, Request
from reasoning_anatomy.generation.sampled_chain import judged_again, sampled_chain
from reasoning_anatomy.problems import Problem
from reasoning_anatomy.progress import Stages
from reasoning_anatomy.transcript_files import TranscriptFile


@dataclass(frozen=True)
class Sampled:
    """What is in a file of sampled chains.

    Attributes
    ----------
    path
        The file.
    rows
        All of them, in its order.
    failed
        Why samples could not be made, by chain_id; the same call tries them again.
    n_judged_again
        Rows that were there before, whose problem has another gold answer now.
    """

    path: Path
    rows: tuple[Mapping[str, Any], ...]
    failed: Mapping[str, str]
    n_judged_again: int = 0

    def counts(self) -> dict[str, Counter[str]]:
        """Count the rows by what their source says: finish reason, verdict, why they cannot be measured."""
        sources = [row["source"] for row in self.rows]
        return {
            name: Counter(str(source[name]) for source in sources if name in source)
            for name in ("finish_reason", "verdict", "draws_from_all_tokens", "unusable")
        }


def generate(
    problems: Sequence[Problem],
    *,
    out: str | Path,
    completer: Completer,
    model: Mapping[str, Any],
    samples: int = 1,
    sampling: Sampling | None = None,
    instruction: str = INSTRUCTION,
    opened: str = "",
    until_correct: bool = False,
    wait: bool = False,
    bound: bool = False,
    stages: Stages | None = None,
) -> Sampled:
    """Sample chains.

    Every sample has a seed of its own, so that it does not depend on batch or order. Wrong samples and those that were cut off
    are kept and marked. Samples that are there are judged again if their problem has another gold answer now.

    Parameters
    ----------
    problems
        What to ask.
    out
        JSONL file of chains. Samples that it has already are not made again. What an eviction policy did stands beside it, in
        ``<out>.transcripts.jsonl`` and ``<out>.evictions.parquet``.
    completer
        The model: `LocalModel`, `ServedModel`.
    model
        Which model it is, as JSON can hold it; ``name`` goes into every chain. A file holds samples of one model.
    samples
        Number of samples for each problem.
    sampling
        How tokens are drawn.
    instruction
        Goes behind every question, after a blank line; empty for none.
    opened
        Thinking tag that the model's prompt opens; empty if it opens none.
    until_correct
        Make no further sample of a problem once one is correct; every problem needs a gold answer.
    wait
        Wait for another process that adds to the file.
    bound
        As in `SampledChains`.
    stages
        Shows progress; silent if None.

    Raises
    ------
    RunError
        The file was sampled with other options, or a problem of it has another text now, or another process adds to it.
    """
    sampling, stages = sampling or Sampling(), stages or Stages()
    expect_askable(problems, samples=samples, until_correct=until_correct)
    options = {
        "model": dict(model),
        "sampling": repr(sampling),
        "instruction": instruction,
        "opened": opened,
        "until_correct": until_correct,
    }
    failed: dict[str, str] = {}
    asked = [
        _Asked(problem, number, _request(problem, number, sampling, instruction))
        for problem in problems
        for number in range(samples)
    ]
    stage, transcripts = stages.add("sample", 0), TranscriptFile(Path(out))
    with SampledChains(Path(out), options, wait=wait, bound=bound) as file, Judge() as judge, stage:
        _expect_same_problems(asked, file)
        n_judged_again = _judge_again(problems, file, judge)
        for some in _rounds(asked, samples, file) if until_correct else [asked]:
            missing = {each.request.name: each for each in some if each.request.name not in file.rows}
            stage.extend(len(missing))
            for request, outcome in completer.complete([each.request for each in missing.values()]) if missing else ():
                stage.advance()
                each = missing[request.name]
                if isinstance(outcome, SampleError):
                    failed[request.name] = outcome.reason
                else:
                    row = sampled_chain(
                        each.problem, request, each.number, outcome, opened=opened, model=str(model["name"]), judge=judge
                    )
                    if outcome.transcript is not None:
                        transcripts.add(request.name, outcome.transcript)
                    file.add(row)
        file.sort([each.request.name for each in asked])
        transcripts.write_table(file.rows)
        return Sampled(file.path, tuple(file.rows.values()), failed, n_judged_again)


def expect_askable(problems: Sequence[Problem], *, samples: int, until_correct: bool) -> None:
    """Refuse what cannot be asked."""
    if samples < 1:
        raise RunError(f"samples is {samples}; give 1 or more")
    if until_correct and (lacking := [problem.question_id for problem in problems if problem.gold_answer is None]):
        raise RunError(
            f"problem {lacking[0]!r} has no gold answer, so that no sample can be told correct; leave out until_correct"
        )


def sample_name(problem: Problem, number: int) -> str:
    """Name a sample of a problem; it is its chain_id."""
    return f"{problem.question_id}-s{number}"


@dataclass(frozen=True)
class _Asked:
    problem: Problem
    number: int
    request: Request


def _expect_same_problems(asked: Sequence[_Asked], file: SampledChains) -> None:
    for each in asked:
        row, request = file.rows.get(each.request.name), each.request
        if row is not None and (row["question"], row.get("system_prompt")) != (request.question, request.system_prompt):
            raise RunError(
                f"{file.path}: {request.name} was sampled from another text of the problem {each.problem.question_id!r}; give "
                "the problem another id, or name another file"
            )


def _judge_again(problems: Sequence[Problem], file: SampledChains, judge: Judge) -> int:
    """Judge the rows of the problems that have another gold answer now; say how many there are."""
    gold = {problem.question_id: problem.gold_answer for problem in problems if problem.gold_answer is not None}
    outdated = [
        row for row in file.rows.values() if row["question_id"] in gold and row.get("gold_answer") != gold[row["question_id"]]
    ]
    for row in outdated:
        file.rows[row["chain_id"]] = judged_again(row, gold[row["question_id"]], judge)
    return len(outdated)


def _rounds(asked: Sequence[_Asked], samples: int, file: SampledChains) -> Iterator[list[_Asked]]:
    """One sample of every problem after the other; a problem that has a correct one takes no further part."""
    for number in range(samples):
        solved = {row["question_id"] for row in file.rows.values() if row.get("is_correct")}
        yield [each for each in asked if each.number == number and each.problem.question_id not in solved]


def _request(problem: Problem, number: int, sampling: Sampling, instruction: str) -> Request:
    return Request(
        name=sample_name(problem, number),
        question=f"{problem.question}\n\n{instruction}" if instruction else problem.question,
        seed=sample_seed(sampling.seed, problem.question_id, number),
        sampling=sampling,
        system_prompt=problem.system_prompt,
    )
