"""Worked problems that a model of 135 million parameters can learn: sums of small numbers, told as stories.

A program is the teacher: the reasoning is right, says each thing once, and states what a student could leave out.
``python -m reasoning_anatomy.distillation.arithmetic FOLDER`` writes ``chains.jsonl`` to teach and ``test.jsonl`` to ask.
"""

import json
import random
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final

import tyro
from tyro.conf import Positional, arg

from reasoning_anatomy.files import write_atomic

_NAMES: Final = ("Ann", "Ben", "Dan", "Jack", "Kim", "Mary", "Paul", "Tom")
_THINGS: Final = ("apples", "books", "coins", "pens", "shells", "stamps", "cards", "stones")
_GAINS: Final = ("gets", "finds", "buys", "wins")
_LOSSES: Final = ("gives away", "loses", "sells")
_LARGEST: Final = 20
_SYSTEM_PROMPT: Final = "Count."
"""What is asked of every story. Short: rows are read often, and without one the template of SmolLM2 writes a longer one."""


@dataclass(frozen=True)
class Story:
    """Someone has some things, and then gets or loses more of them.

    Attributes
    ----------
    name, thing
        Who has what.
    changes
        Verb and number of every change; a loss is negative.
    start
        How many there are at first.
    """

    name: str
    thing: str
    start: int
    changes: tuple[tuple[str, int], ...]

    @property
    def question(self) -> str:
        """What is asked."""
        *first, last = [f"{verb} {abs(number)}" for verb, number in self.changes]
        told = f"{', '.join(first)} and {last}" if first else last
        return f"{self.name} has {self.start} {self.thing}, {told}."

    @property
    def reasoning(self) -> str:
        """Work it out, one change after the other."""
        steps, total = [], self.start
        for verb, number in self.changes:
            sign = "+" if number > 0 else "-"
            steps.append(f"{verb.capitalize()} {abs(number)}: {total}{sign}{abs(number)}={total + number}.")
            total += number
        return " ".join(steps)

    @property
    def gold_answer(self) -> str:
        """How many there are in the end."""
        return str(self.start + sum(number for _, number in self.changes))


def stories(n: int, *, seed: int, n_changes: int = 3) -> list[Story]:
    """Draw stories, no two of which have the same question; the first ones do not depend on how many are drawn."""
    rng = random.Random(seed)
    drawn: dict[str, Story] = {}
    while len(drawn) < n:
        total = start = rng.randint(2, _LARGEST)
        changes = []
        for _ in range(n_changes):
            is_gain = total < 3 or (total < _LARGEST - 3 and rng.random() < 0.5)
            number = rng.randint(1, min(9, _LARGEST - total if is_gain else total - 1))
            changes.append((rng.choice(_GAINS if is_gain else _LOSSES), number if is_gain else -number))
            total += changes[-1][1]
        story = Story(rng.choice(_NAMES), rng.choice(_THINGS), start, tuple(changes))
        drawn.setdefault(story.question, story)
    return list(drawn.values())


def chain_of(story: Story, number: int) -> dict[str, Any]:
    """Make a row of a file of chains."""
    return {
        "chain_id": f"story-{number:04}",
        "question_id": f"story-{number:04}",
        "question": story.question,
        "system_prompt": _SYSTEM_PROMPT,
        "reasoning": story.reasoning,
        "answer": f"The answer is {story.gold_answer}.",
        "gold_answer": story.gold_answer,
        "is_correct": True,
        "source": {"teacher": "program"},
    }


def problem_of(story: Story, number: int) -> dict[str, Any]:
    """Make a row of a file of problems."""
    return {
        "question_id": f"test-{number:04}",
        "question": story.question,
        "system_prompt": _SYSTEM_PROMPT,
        "gold_answer": story.gold_answer,
    }


def main(
    folder: Annotated[Positional[Path], arg(help="Gets chains.jsonl and test.jsonl.", metavar="FOLDER")],
    chains: Annotated[int, arg(help="To teach.")] = 300,
    test: Annotated[int, arg(help="Problems to ask, none of which is taught.")] = 200,
    changes: Annotated[int, arg(help="Sums of every story.")] = 2,
    seed: Annotated[int, arg(help="Of the stories.")] = 0,
) -> None:
    """Write worked problems that a small model can learn."""
    drawn = stories(chains + test, seed=seed, n_changes=changes)
    taught = [chain_of(story, number) for number, story in enumerate(drawn[:chains])]
    asked = [problem_of(story, number) for number, story in enumerate(drawn[chains:])]
    for name, rows in (("chains.jsonl", taught), ("test.jsonl", asked)):
        write_atomic(folder / name, "".join(json.dumps(row) + "\n" for row in rows))


if __name__ == "__main__":
    tyro.cli(main)
