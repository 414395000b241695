"""Words that findings use and readers may not know, each explained where it is first used."""

import re
from collections.abc import Iterator
from typing import Final

from reasoning_anatomy.categories import CATEGORIES, CLASSES, class_of
from reasoning_anatomy.plugins import available
from reasoning_anatomy.run.folder import Run
from reports._style import category_name

_OBJECTIVES: Final = {
    "answer": "of the answer",
    "joint": "of the answer and the reasoning that is left",
    "influence": "of the tokens behind it that stay",
}
_OF_CLASS: Final = {
    name: ", ".join(category_name(category) for category in CATEGORIES if class_of(category) == name) for name in CLASSES
}
_MEANINGS: Final = {
    "Spearman's rho|rank correlation|has rho": "\N{MINUS SIGN}1 to 1; positive = tokens with a higher score are deleted "
    "later, so that the score points at the tokens that matter",
    "Kendall's tau": "a rank correlation, \N{MINUS SIGN}1 to 1; positive = what is ranked higher is deleted later",
    "position held constant": "what is left once the place of a token in the chain is taken into account",
    "length held constant": "what is left once the number of tokens of a chain is taken into account",
    "relative deletion step": "when a token goes, from 0 (first of its chain) to 1 (last)",
    "time that a token is left": "share of the chain that is deleted before the token goes, 0 to 1",
    "symbolic computation": f"tokens of {_OF_CLASS[CLASSES[0]]}",
    "linguistic scaffolding": f"tokens of {_OF_CLASS[CLASSES[1]]}",
    "nll": "how much the answer surprises the model, in nats per token; lower = better supported, 0.69 nats halve the "
    "probability of a token",
    "keep ratio": "share of the reasoning tokens that is left",
    "threshold": "what a strategy is told to delete, 0 = nothing; what it kept stands beside it",
    "closed_up": "the model reads what is kept as a text without gaps, in a new pass",
    "evicted(?=, restatements)": "what is not kept is removed from the cache of the whole chain; positions stay as they were",
    "live": "the model writes the whole text anew while a policy evicts tokens from its cache; at threshold 0, too, it is "
    "a new text and not the given chain",
    "restatements kept|restatements stripped|Without restatements": "whether places of the "
    "reasoning that state the answer already stay in it",
    "interval": "where the mean over all such questions lies; questions, not tokens, are the unit",
    "corrected for their number": "p-values are larger because so many were tested",
}


class Glossary:
    """Explains every word once: at the first text that has it.

    Parameters
    ----------
    run
        Whose strategies, scorers and policies are explained by the first line of their documentation.
    """

    def __init__(self, run: Run) -> None:
        self._left = {**dict(_plugins(run)), **_MEANINGS}

    def first_used_in(self, text: str) -> list[tuple[str, str]]:
        """Words of a text that no text before it had, and what they mean."""
        found = []
        for pattern, meaning in list(self._left.items()):
            if match := re.search(rf"(?<![\w:])(?:{pattern})(?!\w)", text):
                found.append((match[0].removeprefix("has "), meaning))
                del self._left[pattern]
        return found


def _plugins(run: Run) -> Iterator[tuple[str, str]]:
    """Patterns of the names of what measured the run, and what each does."""
    configuration = run.manifest.configuration
    named = {"strategy": dict(configuration.strategies), "scorer": dict(configuration.scorers), "policy": {}}
    for condition in configuration.conditions.values():
        named["policy" if condition.is_live else "strategy"].setdefault(condition.strategy, condition.plugins[0])
    for kind, plugins in named.items():
        known = available(kind)
        for label, plugin in plugins.items():
            key = label.partition(":")[0]
            if key == label and key in known:
                yield re.escape(label), _meaning(known[key].summary, plugin)


def _meaning(summary: str, plugin: str) -> str:
    said = summary[:1].lower() + summary[1:].removesuffix(".")
    objective = re.search(r"objective='(\w+)'", plugin)
    of_what = _OBJECTIVES.get(objective[1], "") if objective else ""
    return said.replace("the likelihood", f"the likelihood {of_what}") if of_what else said
