"""What the names of a run's strategies say: which are draws of one, which are baselines, which is the reverse of which."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from analyses._plugins import parsed
from reasoning_anatomy.errors import MissingError
from reasoning_anatomy.run.folder import Run

BASELINES: Final = ("random_tokens", "random_block", "random_steps", "category_matched", "truncation")
"""Keys of the strategies that know nothing of single tokens: what any other has to beat."""

Role = Literal["strategy", "worst first", "baseline"]

_SEED: Final = re.compile(r"(?<=[:,])seed=\d+,?")
_REVERSED: Final = "most_important_first"
_COSTS: Final = frozenset({"keep_ratio", "curve_points", "token_budget", "store_gib", "checkpoint_every"})
"""Options that say how far a path goes and what it costs, and not what goes next."""


@dataclass(frozen=True)
class Compared:
    """One strategy of the comparison.

    Attributes
    ----------
    name
        Its label; of draws that differ in their seed only, the label without it.
    labels
        Of its paths in the run: one, or one for each seed.
    role
        ``baseline`` (`BASELINES`), ``worst first`` (deletes the most important token first) or ``strategy``.
    follows_the_answer
        Whether it chooses deletions by the likelihood of the answer.
    """

    name: str
    labels: tuple[str, ...]
    role: Role
    follows_the_answer: bool = False


@dataclass(frozen=True)
class Reversal:
    """Two strategies of the comparison, by name, that are the same but for which end of the order goes first."""

    best_first: str
    worst_first: str


def compared_in(run: Run, wanted: Sequence[str]) -> list[Compared]:
    """Find what is compared in a run, or what of it is wanted; paths that differ in their seed only are one strategy.

    Raises
    ------
    MissingError
        The run has no strategy of that label, or fewer than two.
    """
    known = run.manifest.configuration.strategies
    labels = [run.strategy_named(label) for label in dict.fromkeys(wanted)] or list(known)
    draws: dict[tuple[str, frozenset[tuple[str, str]]], list[str]] = {}
    for label in labels:
        name, options = parsed(known[label])
        draws.setdefault((name, frozenset(options.items() - {("seed", options.get("seed", ""))})), []).append(label)
    found = [
        Compared(
            _common_name(of_one),
            tuple(of_one),
            _role(of_one[0], dict(options)),
            follows_the_answer=dict(options).get("objective") == "'answer'",
        )
        for (_, options), of_one in draws.items()
    ]
    if len(found) < 2:
        have = f"one strategy, {found[0].name}" if found else "no strategy"
        raise MissingError(
            f"{run.folder}: has {have}, and nothing to compare it with; add another: reasoning-anatomy run CHAINS.jsonl --out "
            f"{run.folder} --strategies random_tokens random_block"
        )
    return found


def reversals(strategies: Sequence[Compared], provenance: Mapping[str, str]) -> list[Reversal]:
    """Pair every strategy that deletes the worst first with its counterpart; ``provenance`` is their ``repr`` by label."""

    def identity(strategy: Compared) -> tuple[str, frozenset[tuple[str, str]]]:
        name, options = parsed(provenance[strategy.labels[0]])
        return name, frozenset((key, value) for key, value in options.items() if key not in {_REVERSED, *_COSTS})

    best = {identity(strategy): strategy.name for strategy in strategies if strategy.role == "strategy"}
    worst = {identity(strategy): strategy.name for strategy in strategies if strategy.role == "worst first"}
    return [Reversal(best[same], worst[same]) for same in best if same in worst]


def _common_name(labels: Sequence[str]) -> str:
    return labels[0] if len(labels) == 1 else _SEED.sub("", labels[0]).rstrip(":,")


def _role(label: str, options: Mapping[str, str]) -> Role:
    if label.partition(":")[0] in BASELINES:
        return "baseline"
    return "worst first" if options.get(_REVERSED) == "True" else "strategy"
