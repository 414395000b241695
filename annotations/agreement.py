"""How well an annotator agrees with gold labels: ``python -m annotations.agreement [GOLD.jsonl] [--annotator rules]``."""

import json
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final

import pandas as pd
import tyro
from sklearn.metrics import cohen_kappa_score, precision_recall_fscore_support  # type: ignore[import-untyped]
from tyro.conf import Positional, arg

from annotations import label_spans
from reasoning_anatomy.categories import CATEGORIES, class_of
from reasoning_anatomy.errors import AnnotationError

DEV: Final = Path(__file__).parent / "gold" / "dev.jsonl"
UNSEEN: Final = Path(__file__).parent / "gold" / "unseen.jsonl"


@dataclass(frozen=True)
class GoldChain:
    """A chain whose units have been labelled by people or by other annotators.

    Attributes
    ----------
    chain_id, question, reasoning
        As in `ReasoningChain`.
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
        One row per pair of categories that were confused, the commonest first: ``gold, predicted, n_units, examples``.
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
    """Read gold labels; `AnnotationError` names the file and line of a bad chain."""
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
                raise AnnotationError(
                    f"{path}, line {number}: is not a gold chain ({error!r}); see annotations/gold/README.md"
                ) from error
    return chains


def measure_agreement(chains: Sequence[GoldChain], *, annotator: str = "rules") -> Agreement:
    """Label the units of gold chains and compare.

    Parameters
    ----------
    chains
        As `read_gold` returns them.
    annotator
        Key and options of an annotator.

    Raises
    ------
    AnnotationError
        There is no chain, or the annotator cannot label one.
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
    """Agreement of two categories per unit; ``words`` are the texts of the units."""
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
        raise TypeError("units is not a list")
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


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of ``python -m annotations.agreement``."""
    from reasoning_anatomy.cli import errors_as_one_line

    with errors_as_one_line():
        tyro.cli(_print_agreement, prog="python -m annotations.agreement", args=arguments)


def _print_agreement(
    gold: Annotated[Positional[Path], arg(help="File of gold labels; the package's own if left out.", metavar="[GOLD]")] = DEV,
    annotator: Annotated[str, arg(help="KEY or KEY:option=value, as in rules:model=blank.")] = "rules",
) -> None:
    """Print how well an annotator agrees with gold labels."""
    sys.stdout.write(report(measure_agreement(read_gold(gold), annotator=annotator)))


if __name__ == "__main__":
    main()
