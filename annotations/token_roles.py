"""Six yes-or-no roles of every token, beside its category, for the open questions of the field.

Each role is decided on the characters of the text, before any token is looked at; a token has a role if it shows one of
its characters. ``docs/token-roles.md`` defines the roles and says which question each is for.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from annotations._roles.cues import reflection_cues
from annotations._roles.repetition import repetitions
from annotations._roles.symbols import numbers, operators
from annotations._roles.tokens import marked_tokens
from annotations._text.alignment import check_spans
from reasoning_anatomy.answers.restating import answer_values, restatements
from reasoning_anatomy.options import expect_at_least
from reasoning_anatomy.run.folder import Run
from reasoning_anatomy.steps import step_of_token
from reasoning_anatomy.types import CharacterSpan, ReasoningChain

ROLES: Final = ("numeric", "operator", "step_initial", "reflection_cue", "restates_answer", "repeats_earlier")

_WORD: Final = re.compile(r"\w+|[^\w\s]+")


@dataclass(frozen=True, kw_only=True)
class TokenRoles:
    """Decides the roles.

    Attributes
    ----------
    repeated_words
        Length of a repetition: the number of words in a row that occurred before.
    """

    repeated_words: int = 8

    def __post_init__(self) -> None:
        expect_at_least(self, repeated_words=1)

    def roles(self, chain: ReasoningChain, spans: Sequence[tuple[int, int]] | npt.NDArray[np.integer]) -> pd.DataFrame:
        """Roles of every token of a chain's reasoning.

        Parameters
        ----------
        chain
            The chain. Its answer decides what restates it; its gold answer, if nothing can be read in its own.
        spans
            (n, 2) half-open character spans of the tokens.

        Returns
        -------
        Boolean columns ``role_<role>``, one row per token; ``role_restates_answer`` is missing throughout if no answer can be
        read.

        Raises
        ------
        AnnotationError
            A span does not fit the text.
        """
        text = chain.reasoning
        checked = check_spans(spans, len(text))
        values = answer_values(chain.answer) or answer_values(chain.gold_answer or "")
        marked: dict[str, list[CharacterSpan] | None] = {
            "numeric": numbers(text),
            "operator": operators(text),
            "step_initial": step_starts(text),
            "reflection_cue": reflection_cues(text),
            "restates_answer": restatements(text, values) if values else None,
            "repeats_earlier": repetitions(text, n_words=self.repeated_words),
        }
        missing = pd.array([None] * len(checked), dtype="boolean")
        return pd.DataFrame(
            {
                f"role_{role}": missing if shown is None else pd.array(marked_tokens(text, checked, shown), dtype="boolean")
                for role, shown in marked.items()
            }
        )


def step_starts(text: str) -> list[CharacterSpan]:
    """Half-open spans of the first word, or run of symbols, of every step."""
    words = np.array([match.span() for match in _WORD.finditer(text)], dtype=np.int64).reshape(-1, 2)
    steps = step_of_token(text, words)
    return [(int(start), int(end)) for start, end in words[np.diff(steps, prepend=-1) > 0]]


def write_token_roles(run: Run, *, options: TokenRoles | None = None) -> Path:
    """Write the roles of every measured chain of a run into ``RUN/token_roles.parquet``, replacing what was there."""
    decide = (options or TokenRoles()).roles
    return run.write_token_roles(
        {chain_id: decide(run.chains[chain_id], run.encoded(chain_id).spans) for chain_id in run.measured}
    )
