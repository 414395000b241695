"""How well an annotator agrees with gold labels: ``python -m annotations.agreement [GOLD.jsonl] [--annotator rules]``."""

import argparse
import json
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pandas as pd
from sklearn.metrics import cohen_kappa_score, precision_recall_fscore_support  # type: ignore[import-untyped]

from annotations import label_spans
from reasoning_anatomy.categories import CATEGORIES, class_of
from reasoning_anatomy.errors import AnnotationError, ReasoningAnatomyError

DEV: Final = Path(__file__).parent / "gold" / "dev.jsonl"
UNSEEN: Final = Path(__file__).parent / "gold" / "unseen.jsonl"


@dataclass(frozen=True)
class GoldChain:
    """A chain whose units people or other annotators have labelled.

    Attributes
    ----------
    chain_id, question, reasoning
        Of the chain.
    spans
        Half-open characters of the reasoning, one pair per unit.
    category
        One of the six categories per unit.
    """

    chain_id: str
    question: str
    reasoning: str
    spans: tuple[tuple[int, int], ...]
    category: tuple[str, ...]


@dataclass(frozen=True)
class Agreement:
    """Agreement of an annotator with gold labels.

    Attributes
    ----------
    kappa_categories, kappa_classes
        Cohen's kappa over the six categories, and over the two classes.
    macro_f1
        Mean F1 of the categories that occur in the gold labels.
    table
        One row per category: ``category, precision, recall, f1, n_gold, n_predicted``.
    confusions
        One row per pair of categories confused, the commonest first: ``gold, predicted, n_units, examples``.
    n_units
        Number of units compared.
    """

    kappa_categories: float
    kappa_classes: float
    macro_f1: float
    table: pd.DataFrame
    confusions: pd.DataFrame
    n_units: int


def read_gold(path: str | Path = DEV) -> list[GoldChain]:
    """Read gold labels; `AnnotationError` names the file and line of a bad one."""
    chains = []
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise AnnotationError(f"{path}: cannot be read ({error.strerror}); name a file of gold labels") from error
    for number, line in enumerate(lines, 1):
        if line.strip():
            try:
                chains.append(_gold_chain(json.loads(line)))
            except (ValueError, KeyError, TypeError) as error:
                raise AnnotationError(f"{path}, line {number}: is no gold chain ({error!r}); see gold/README.md") from error
    return chains


def measure_agreement(chains: Sequence[GoldChain], *, annotator: str = "rules") -> Agreement:
    """Label the units of gold chains and compare.

    Parameters
    ----------
    chains
        From `read_gold`.
    annotator
        Key and options of an annotator.
    """
    if not chains:
        raise AnnotationError("there are no gold chains to compare with; give at least one")
    predicted = [
        category for chain in chains for category in label_spans(chain.reasoning, chain.spans, annotator, chain.question)
    ]
    gold = [category for chain in chains for category in chain.category]
    words = [chain.reasoning[start:end] for chain in chains for start, end in chain.spans]
    return compare(gold, predicted, words)


def compare(gold: Sequence[str], predicted: Sequence[str], words: Sequence[str]) -> Agreement:
    """Agreement of two categories of each unit, whose texts are ``words``."""
    table = _table(gold, predicted)
    return Agreement(
        kappa_categories=float(cohen_kappa_score(gold, predicted)),
        kappa_classes=float(cohen_kappa_score([class_of(c) for c in gold], [class_of(c) for c in predicted])),
        macro_f1=float(table.loc[table["n_gold"] > 0, "f1"].mean()),
        table=table,
        confusions=_confusions(gold, predicted, words),
        n_units=len(gold),
    )


def _gold_chain(record: dict[str, object]) -> GoldChain:
    units = record["units"]
    if not isinstance(units, list):
        raise TypeError("units is no list")
    category = tuple(unit["category"] for unit in units)
    if unknown := sorted(set(category) - set(CATEGORIES)):
        raise ValueError(f"unknown category {unknown[0]!r}")
    spans = tuple((int(unit["start"]), int(unit["end"])) for unit in units)
    return GoldChain(str(record["chain_id"]), str(record["question"]), str(record["reasoning"]), spans, category)


def _table(gold: Sequence[str], predicted: Sequence[str]) -> pd.DataFrame:
    precision, recall, f1, n_gold = precision_recall_fscore_support(
        gold, predicted, labels=list(CATEGORIES), average=None, zero_division=0.0
    )
    n_predicted = [predicted.count(category) for category in CATEGORIES]
    columns = {"category": CATEGORIES, "precision": precision, "recall": recall, "f1": f1, "n_gold": n_gold}
    return pd.DataFrame(columns | {"n_predicted": n_predicted})


def _confusions(gold: Sequence[str], predicted: Sequence[str], words: Sequence[str]) -> pd.DataFrame:
    missed = [row for row in zip(gold, predicted, words, strict=True) if row[0] != row[1]]
    rows = [
        (truth, guess, n, ", ".join(sorted({word for a, b, word in missed if (a, b) == (truth, guess)})[:8]))
        for (truth, guess), n in Counter((truth, guess) for truth, guess, _ in missed).most_common()
    ]
    return pd.DataFrame(rows, columns=["gold", "predicted", "n_units", "examples"])


def report(agreement: Agreement) -> str:
    """Table, kappas and confusions as text."""
    return "\n".join(
        [
            agreement.table.to_string(index=False, float_format="{:.3f}".format),
            "",
            f"kappa, six categories  {agreement.kappa_categories:.3f}",
            f"kappa, two classes     {agreement.kappa_classes:.3f}",
            f"macro-F1               {agreement.macro_f1:.3f}",
            f"units                  {agreement.n_units}",
            "",
            agreement.confusions.to_string(index=False) if len(agreement.confusions) else "no confusions",
            "",
        ]
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the agreement of an annotator with a file of gold labels."""
    parser = argparse.ArgumentParser(prog="python -m annotations.agreement", description="Agreement with gold labels.")
    parser.add_argument("gold", nargs="?", default=DEV, type=Path, help="file of gold labels; default: the package's own")
    parser.add_argument("--annotator", default="rules", help="key and options, as in rules:model=blank")
    chosen = parser.parse_args(arguments)
    try:
        sys.stdout.write(report(measure_agreement(read_gold(chosen.gold), annotator=chosen.annotator)))
    except ReasoningAnatomyError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
