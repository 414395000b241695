"""Gold labels from the votes of several annotators."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

from annotations._text.unit_labels import UnitLabels, from_tokens, to_tokens, units_of
from annotations.human import expect_free, token_categories
from reasoning_anatomy.categories import CATEGORIES
from reasoning_anatomy.errors import AnnotationError
from reasoning_anatomy.files import write_atomic
from reasoning_anatomy.run.folder import Run
from reasoning_anatomy.types import ReasoningChain

Ties = Literal["rule_10", "open"]


class Tie(NamedTuple):
    """A unit for which no category has the most votes."""

    chain_id: str
    start: int
    end: int
    text: str
    categories: tuple[str, ...]


@dataclass(frozen=True)
class Adjudication:
    """Outcome of the votes.

    Attributes
    ----------
    path
        File of the labels in the run.
    n_units
        Number of units with a category.
    ties
        Units whose votes were tied, in the order of the text.
    """

    path: Path
    n_units: int
    ties: tuple[Tie, ...]


def adjudicate(
    run: Run,
    annotators: Sequence[str],
    *,
    name: str,
    ties: Ties = "rule_10",
    gold: str | Path | None = None,
    replace: bool = False,
) -> Adjudication:
    """Give every unit the category that most annotators chose.

    Parameters
    ----------
    run
        The run that the annotators have labelled. Those who have labelled a unit vote on it.
    annotators
        Names of two or more annotators.
    name
        Name of the labels that are written.
    ties
        ``"rule_10"`` takes the category that is earlier in rule 10; ``"open"`` leaves the unit without a label.
    gold
        File to write the labelled units to, in the form that ``python -m annotations.agreement`` reads.
    replace
        Replace labels of this name, and the file of gold labels.

    Returns
    -------
    The labels are in ``RUN/annotations/<name>.parquet``; its column ``votes`` says how many annotators chose the category.

    Raises
    ------
    AnnotationError
        Fewer than two annotators are named, or the name is taken.
    RunError
        One of the annotators has not labelled the run.
    """
    annotators = tuple(dict.fromkeys(annotators))
    _expect(run, annotators, name, replace=replace)
    if gold is not None:
        expect_free([Path(gold)], replace=replace)
    by_annotator = [token_categories(run, annotator) for annotator in annotators]
    votes = {
        chain_id: _votes(run, chain_id, [labels[chain_id] for labels in by_annotator if chain_id in labels])
        for chain_id in run.measured
        if any(chain_id in labels for labels in by_annotator)
    }
    labels = {chain_id: _elected(counts, ties) for chain_id, counts in votes.items()}
    annotator = f"Adjudicated(annotators={tuple(annotators)!r}, ties={ties!r})"
    path = run.write_annotations(
        name,
        {
            chain_id: to_tokens(run.chains[chain_id].reasoning, run.encoded(chain_id).spans, elected, annotator=annotator)
            for chain_id, elected in labels.items()
        },
    )
    if gold is not None:
        records = [_gold_record(run.chains[chain_id], elected) for chain_id, elected in labels.items()]
        write_atomic(Path(gold), "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records))
    n_units = sum(category is not None for elected in labels.values() for category in elected.category)
    return Adjudication(path, n_units, tuple(_ties(run, votes)))


def _expect(run: Run, annotators: Sequence[str], name: str, *, replace: bool) -> None:
    known = run.annotators
    if len(annotators) < 2:
        raise AnnotationError(
            f"{', '.join(annotators) or 'no annotator'}: a vote needs two or more; the run has {', '.join(known) or 'none'}"
        )
    for annotator in annotators:
        run.annotator_named(annotator)
    if name in annotators:
        raise AnnotationError(f"{run.folder}: {name!r} is one of the voters, whose labels are kept; choose another name")
    if name in known and not replace:
        raise AnnotationError(
            f"{run.folder}: already has labels named {name!r}; choose another name, or replace them with --replace"
        )


def _votes(run: Run, chain_id: str, labels: Sequence[Sequence[str | None]]) -> list[Counter[str]]:
    """Count the votes for each category, for every unit of a chain."""
    units = units_of(run.chains[chain_id].reasoning)
    spans = run.encoded(chain_id).spans
    ballots = [from_tokens(units, spans, category) for category in labels]
    return [Counter(category for category in chosen if category is not None) for chosen in zip(*ballots, strict=True)]


def _leading(counts: Counter[str]) -> list[str]:
    """Categories with the most votes, in the order of rule 10; empty without a vote."""
    most = max(counts.values(), default=0)
    return [category for category in CATEGORIES if most and counts[category] == most]


def _elected(votes: Sequence[Counter[str]], ties: Ties) -> UnitLabels:
    leading = [_leading(counts) for counts in votes]
    category = [first[0] if len(first) == 1 or (first and ties == "rule_10") else None for first in leading]
    n_votes = [0 if chosen is None else counts[chosen] for chosen, counts in zip(category, votes, strict=True)]
    return UnitLabels(category, votes=n_votes)


def _ties(run: Run, votes: dict[str, list[Counter[str]]]) -> list[Tie]:
    ties = []
    for chain_id, counts in votes.items():
        text = run.chains[chain_id].reasoning
        for (start, end), count in zip(units_of(text), counts, strict=True):
            if len(leading := _leading(count)) > 1:
                ties.append(Tie(chain_id, start, end, text[start:end], tuple(leading)))
    return ties


def _gold_record(chain: ReasoningChain, labels: UnitLabels) -> dict[str, Any]:
    rows = zip(units_of(chain.reasoning), labels.category, labels.votes or (), strict=True)
    units = [
        {"start": start, "end": end, "category": category, "votes": votes}
        for (start, end), category, votes in rows
        if category is not None
    ]
    return {"chain_id": chain.chain_id, "question": chain.question, "reasoning": chain.reasoning, "units": units}
