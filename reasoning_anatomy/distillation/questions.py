"""Which chains of a run are taught, and which questions are asked of those who were taught them."""

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from reasoning_anatomy.distillation.orders import Orders
from reasoning_anatomy.errors import MissingError
from reasoning_anatomy.models.encoding import ChainEncoder
from reasoning_anatomy.options import expect_ratio
from reasoning_anatomy.problems import Problem, read_problems
from reasoning_anatomy.run.folder import Run
from reasoning_anatomy.types import ReasoningChain


@dataclass(frozen=True, kw_only=True)
class Taught:
    """Which questions are taught, and which are asked.

    Attributes
    ----------
    test
        File of the problems that students answer; None holds some questions of the run back instead.
    instruction
        Goes behind every question of that file, after a blank line, as it does in the questions of the run.
    held_out
        Share of the questions of the run that are asked and not taught, if there is no such file.
    per_question
        Chains of a question that are taught at most, from the first.
    """

    test: Path | None = None
    instruction: str = ""
    held_out: float = 0.2
    per_question: int = 1

    def __post_init__(self) -> None:
        expect_ratio(self, "held_out")


@dataclass(frozen=True)
class Questions:
    """What is taught and asked.

    Attributes
    ----------
    chain_ids
        Of the chains that are taught, in the order of the run.
    problems
        What is asked, each with its gold answer.
    left_out
        Chains of the run that are neither, by reason.
    """

    chain_ids: tuple[str, ...]
    problems: tuple[Problem, ...]
    left_out: Mapping[str, int]

    @property
    def digest(self) -> str:
        """Of what is asked, with its answers."""
        return hashlib.sha256(json.dumps([problem.model_dump() for problem in self.problems]).encode()).hexdigest()


def questions_of(
    orders: Orders, taught: Taught, strategies: Sequence[str], encoder: ChainEncoder, *, longest_row: int
) -> Questions:
    """Choose what is taught and what is asked. No question is both.

    A chain is taught if it is known to be correct, has a path of every strategy that the run measured, and fits whole into a
    row; so all arms are taught the same chains.

    Raises
    ------
    MissingError
        There is nothing to teach, or nothing to ask; the message says why.
    """
    run = orders.run
    problems = _held_out(run, taught) if taught.test is None else _from_file(taught)
    asked = {problem.question for problem in problems}
    left_out: Counter[str] = Counter()
    chosen: Counter[str] = Counter()
    chain_ids = []
    for chain_id, chain in run.chains.items():
        reason = None
        if chain.question in asked:
            reason = "asked"
        elif not chain.is_correct:
            reason = "not_known_to_be_correct" if chain.is_correct is None else "wrong"
        elif any(orders.is_missing(chain_id, label) for label in strategies):
            reason = "strategy_not_measured"
        elif len(encoder.encode(chain).ids) > longest_row:
            reason = "row_too_long"
        elif chosen[chain.question_id] >= taught.per_question:
            reason = "another_chain_of_the_question"
        if reason is None:
            chosen[chain.question_id] += 1
            chain_ids.append(chain_id)
        else:
            left_out[reason] += 1
    if not chain_ids:
        reasons = ", ".join(f"{count} {reason}" for reason, count in left_out.items())
        raise MissingError(
            f"{run.folder}: has no chain to teach ({reasons}); chains need gold answers and paths of all strategies"
        )
    return Questions(tuple(chain_ids), tuple(problems), dict(left_out))


def _held_out(run: Run, taught: Taught) -> list[Problem]:
    """Take questions whose digest is low: whatever is added to the run later, a question stays on its side."""
    first: dict[str, ReasoningChain] = {}
    for chain in run.chains.values():
        if chain.gold_answer is not None:
            first.setdefault(chain.question_id, chain)
    held = [question_id for question_id in first if _share(question_id) < taught.held_out]
    if not held:
        raise MissingError(
            f"{run.folder}: none of {len(first)} questions with a gold answer is held back to be asked; name a file of "
            "problems: --test PROBLEMS, or raise --held-out"
        )
    return [
        Problem(
            question_id=question_id,
            question=first[question_id].question,
            gold_answer=first[question_id].gold_answer,
            system_prompt=first[question_id].system_prompt,
        )
        for question_id in held
    ]


def _from_file(taught: Taught) -> list[Problem]:
    problems = read_problems(str(taught.test))
    if lacking := [problem.question_id for problem in problems if problem.gold_answer is None]:
        raise MissingError(f"{taught.test}: problem {lacking[0]!r} has no gold answer, so that no answer to it can be judged")
    if not taught.instruction:
        return problems
    return [problem.model_copy(update={"question": f"{problem.question}\n\n{taught.instruction}"}) for problem in problems]


def _share(question_id: str) -> float:
    """Map an id to 0..1, evenly."""
    return int.from_bytes(hashlib.blake2b(question_id.encode(), digest_size=8).digest()) / 2**64
