"""Findings in words: every sentence as a reader would see it, from tables written by hand."""

import numpy as np
import pandas as pd
import pytest

from analyses._annotator_agreement.words import finding as agreement_finding
from analyses._deletion_by_category.words import finding as category_finding
from analyses._rank_correlation.words import finding as correlation_finding
from analyses._sentences import number

NAN = float("nan")
SECOND = "spearman_given_position"
Row = tuple[float, float, float, int]


def plain(text: str) -> str:
    """Write minus signs and spaces as they are on a keyboard."""
    return text.replace("\N{MINUS SIGN}", "-").replace("\N{NO-BREAK SPACE}", " ")


def correlation(
    rows: dict[str, tuple[Row, Row]],
    *,
    p_adjusted: tuple[float, float] = (0.01, 0.2),
    kinds: dict[str, str] | None = None,
    unit: str = "token",
) -> str:
    """Write the finding of ``scorer: (raw, given position)``, each (estimate, low, high, questions)."""
    table = [
        {
            "scorer": scorer,
            "kind": (kinds or {}).get(scorer, "independent signal"),
            "term": term,
            "estimate": row[0],
            "ci_low": row[1],
            "ci_high": row[2],
            "n_questions": row[3],
            "p_adjusted": p,
        }
        for scorer, pair in rows.items()
        for term, row, p in zip(("spearman", SECOND), pair, p_adjusted, strict=True)
    ]
    return plain(correlation_finding(pd.DataFrame(table), strategy="greedy", confidence=0.95, unit=unit))


@pytest.mark.parametrize(
    ("raw", "given", "sentence"),
    [
        (
            (0.31, 0.12, 0.5, 25), (0.05, -0.1, 0.2, 25),
            "Undecided: it is open whether tokens with a higher h2o score are deleted later by greedy: Spearman's rho 0.05 "
            "(95 % interval -0.10 to 0.20, 25 questions) with position held constant. Without that it is 0.31 (0.12 to "
            "0.50), which position may explain.",
        ),
        (
            (0.31, 0.12, 0.5, 8), (0.2, 0.1, 0.3, 8),
            "Clear: tokens with a higher h2o score are deleted later by greedy: Spearman's rho 0.20 (95 % interval 0.10 to "
            "0.30, only 8 questions) with position held constant. Without that it is 0.31 (0.12 to 0.50).",
        ),
        (
            (-0.31, -0.5, -0.12, 25), (0.2, 0.1, 0.3, 25),
            "Clear: tokens with a higher h2o score are deleted later by greedy: Spearman's rho 0.20 (95 % interval 0.10 to "
            "0.30, 25 questions) with position held constant. Without that it is -0.31 (-0.50 to -0.12).",
        ),
        (
            (-0.001, -0.2, 0.2, 25), (-0.2, -0.3, -0.1, 25),
            "Against: tokens with a higher h2o score are deleted earlier by greedy: Spearman's rho -0.20 (95 % interval "
            "-0.30 to -0.10, 25 questions) with position held constant. Without that it is 0.00 (-0.20 to 0.20).",
        ),
        (
            (0.31, NAN, NAN, 1), (0.05, NAN, NAN, 1),
            "Undecided: it is open whether tokens with a higher h2o score are deleted later by greedy: Spearman's rho 0.05 "
            "(one question, which has no interval) with position held constant. Without that it is 0.31.",
        ),
        (
            (1.0, NAN, NAN, 6), (1.0, NAN, NAN, 6),
            "Clear: tokens with a higher h2o score are deleted later by greedy: Spearman's rho 1.00 (the same in all 6 "
            "questions, so without an interval) with position held constant. Without that it is 1.00.",
        ),
        (
            (0.4, -1, 1, 3), (NAN, NAN, NAN, 0),
            "Undecided: it is open whether tokens with a higher h2o score are deleted later by greedy: Spearman's rho 0.40 "
            "(only 3 questions, too few for an interval that says anything). Position cannot be held constant: it fixes the "
            "order of what is compared.",
        ),
    ],
    ids=["position", "kept", "reversed", "hidden", "one question", "all alike", "fixed by position"],
)  # fmt: skip
def test_the_finding_of_one_scorer(raw: Row, given: Row, sentence: str) -> None:
    assert correlation({"h2o": (raw, given)}) == sentence


def test_of_several_scorers_the_largest_with_position_held_constant_is_named_and_the_survivors_are_counted() -> None:
    scorers: dict[str, tuple[Row, Row]] = {
        "recency": ((0.6, 0.5, 0.7, 25), (NAN, NAN, NAN, 0)),
        "h2o": ((0.35, 0.2, 0.5, 25), (-0.21, -0.3, -0.1, 25)),
        "surprisal": ((0.4, 0.3, 0.5, 25), (0.1, 0, 0.2, 25)),
    }
    assert correlation(scorers) == (
        "Undecided: none of 2 signals is shown to be related to the deletion order of greedy, corrected for their number; the "
        "strongest is h2o, rho -0.21 (95 % interval -0.30 to -0.10, 25 questions) with position held constant. Without that, "
        "3 of 3 are; h2o has 0.35 (0.20 to 0.50)."
    )


def test_the_attention_of_the_answer_speaks_first_and_then_the_strongest_scorer() -> None:
    answer: tuple[Row, Row] = ((0.3, 0.1, 0.5, 25), (0.05, -0.1, 0.2, 25))
    surprisal: tuple[Row, Row] = ((0.4, 0.3, 0.5, 25), (0.3, 0.2, 0.4, 25))
    alone = correlation({"answer_attention": answer})
    assert correlation({"surprisal": surprisal, "answer_attention": answer}) == (
        f"{alone}\nUndecided: none of 2 signals is shown to be related to the deletion order of greedy, corrected for their "
        "number; the strongest is surprisal, rho 0.30 (95 % interval 0.20 to 0.40, 25 questions) with position held constant. "
        "Without that, 2 of 2 are; surprisal has 0.40 (0.30 to 0.50)."
    )
    unknown = (NAN, NAN, NAN, 0)
    assert correlation({"surprisal": surprisal, "answer_attention": (unknown, unknown)}).startswith("Undecided: none of 1 ")


def test_competitors_and_the_own_first_step_stand_beside_the_signals() -> None:
    signal: tuple[Row, Row] = ((0.3, 0.1, 0.5, 25), (0.05, -0.1, 0.2, 25))
    kinds = dict.fromkeys(["recency", "token length"], "trivial competitor") | {"conditional_surprisal": "own first step"}
    rows: dict[str, tuple[Row, Row]] = {
        "recency": ((0.6, 0.5, 0.7, 25), (NAN, NAN, NAN, 0)),
        "h2o": signal,
        "token length": ((0.2, 0.1, 0.3, 25), (0.25, 0.2, 0.3, 25)),
        "conditional_surprisal": ((0.4, 0.3, 0.5, 25), (0.35, 0.3, 0.4, 25)),
    }
    alone = correlation({"h2o": signal})
    held = "with position held constant"
    competitor = f"the best of 2 trivial competitors, token length, has rho 0.25 (0.20 to 0.30) {held}, 0.20 (0.10 to 0.30)"
    own = f"the strategy's own first step, conditional_surprisal, has rho 0.35 (0.30 to 0.40) {held}, 0.40 (0.30 to 0.50)"
    beside = [f"For comparison: {said} without that." for said in (competitor, own)]
    assert correlation(rows, kinds=kinds) == "\n".join([alone, *beside])
    only = {"h2o": signal, "recency": rows["recency"]}
    assert correlation(only, kinds=kinds) == (
        f"{alone}\nFor comparison: the trivial competitor, recency, has rho 0.60 (0.50 to 0.70)."
    )
    recency = correlation({"recency": rows["recency"]}, kinds=kinds)
    assert recency.startswith("Clear: tokens with a higher recency score are deleted later")


def test_of_steps_the_finding_speaks_of_steps() -> None:
    rows: dict[str, tuple[Row, Row]] = {"h2o": ((-0.31, -0.5, -0.12, 25), (0.2, 0.1, 0.3, 25))}
    assert correlation(rows, unit="step").startswith("Clear: steps with a higher h2o score are deleted later by greedy: ")


def test_one_differs_and_several_differ() -> None:
    one = pd.DataFrame(
        {
            "scorer": ["a", "b"] * 2,
            "kind": "independent signal",
            "term": ["spearman", "spearman", SECOND, SECOND],
            "estimate": 0.3,
            "ci_low": 0.1,
            "ci_high": 0.5,
            "n_questions": 25,
            "p_adjusted": [0.01, 0.2, 0.2, 0.2],
        }
    )
    assert "Without that, 1 of 2 is; a has" in correlation_finding(one, strategy="greedy", confidence=0.95)
    rows = (0.1, 0.05, 0.2, 25), (0.1, 0.05, 0.2, 25)
    assert "Of 3 pairs of categories, 1 differs with " in difference(*rows, p_adjusted=(0.01, 0.2, 0.3))
    assert "Of 3 pairs of categories, 2 differ with " in difference(*rows)


def difference(raw: Row, given: Row, *, p_adjusted: tuple[float, ...] = (0.001, 0.03, 0.6)) -> str:
    """Write the finding of the two classes, and of three pairs of categories with these p-values."""
    name = "symbolic_computation - linguistic_scaffolding"
    common = {"annotator": "rules", "strategy": "greedy"}
    table = [
        {
            **common,
            "scheme": "classes",
            "term": term,
            "estimate": row[0],
            "ci_low": row[1],
            "ci_high": row[2],
            "n_questions": row[3],
        }
        for term, row in ((name, raw), (f"{name} given position", given))
    ]
    pairs = [
        {**common, "term": f"SYMBOLIC_MATH - {second} given position", "p_adjusted": p}
        for second, p in zip(("VERBAL_MATH", "COREFERENCE", "FUNCTION"), p_adjusted, strict=False)
    ]
    without_control = {**common, "term": "SYMBOLIC_MATH - FUNCTION", "p_adjusted": 0.0001}
    return plain(category_finding(pd.DataFrame(table), pd.DataFrame([*pairs, without_control]), confidence=0.95))


@pytest.mark.parametrize(
    ("raw", "given", "sentence"),
    [
        (
            (0.12, 0.05, 0.19, 25), (0.1, 0.03, 0.17, 25),
            "Clear: symbolic computation is deleted later than linguistic scaffolding by greedy (categories by rules): "
            "difference in relative deletion step 0.10 (95 % interval 0.03 to 0.17, 25 questions) with position held "
            "constant. Without that it is 0.12 (0.05 to 0.19). Of 3 pairs of categories, 2 differ with position held "
            "constant, corrected for their number.",
        ),
        (
            (-0.12, -0.19, -0.05, 8), (0.01, -0.07, 0.09, 8),
            "Undecided: it is open which is deleted first by greedy (categories by rules), symbolic computation or "
            "linguistic scaffolding: difference in relative deletion step 0.01 (95 % interval -0.07 to 0.09, only 8 "
            "questions) with position held constant. Without that it is -0.12 (-0.19 to -0.05), which position may explain. "
            "Of 3 pairs of categories, 2 differ with position held constant, corrected for their number.",
        ),
        (
            (0.02, -0.05, 0.09, 25), (0.1, 0.03, 0.17, 25),
            "Clear: symbolic computation is deleted later than linguistic scaffolding by greedy (categories by rules): "
            "difference in relative deletion step 0.10 (95 % interval 0.03 to 0.17, 25 questions) with position held "
            "constant. Without that it is 0.02 (-0.05 to 0.09). Of 3 pairs of categories, 2 differ with position held "
            "constant, corrected for their number.",
        ),
        (
            (0.0, NAN, NAN, 6), (0.0, NAN, NAN, 6),
            "Undecided: it is open which is deleted first by greedy (categories by rules), symbolic computation or "
            "linguistic scaffolding: difference in relative deletion step 0.00 (the same in all 6 questions, so without an "
            "interval) with position held constant. Without that it is 0.00. Of 3 pairs of categories, 2 differ with "
            "position held constant, corrected for their number.",
        ),
        (
            (NAN, NAN, NAN, 0), (NAN, NAN, NAN, 0),
            "No chain has tokens of both symbolic computation and linguistic scaffolding, so greedy (categories by rules) "
            "cannot tell which goes first.",
        ),
    ],
    ids=["both", "position", "hidden", "zero", "nothing"],
)  # fmt: skip
def test_the_finding_of_the_classes(raw: Row, given: Row, sentence: str) -> None:
    assert difference(raw, given) == sentence


def test_one_question_and_an_order_that_position_fixes() -> None:
    assert difference((-0.12, NAN, NAN, 1), (NAN, NAN, NAN, 0), p_adjusted=()) == (
        "Undecided: it is open which is deleted first by greedy (categories by rules), symbolic computation or linguistic "
        "scaffolding: difference in relative deletion step -0.12 (one question, which has no interval). Position cannot be "
        "held constant: it fixes the order of what is compared."
    )


def agreement(names: tuple[str, ...], rows: dict[tuple[str, str], tuple[float, float, float]]) -> str:
    table = [
        {"annotators": who, "term": term, "estimate": row[0], "ci_low": row[1], "ci_high": row[2], "n_questions": 25}
        for (who, term), row in rows.items()
    ]
    return plain(agreement_finding(pd.DataFrame(table), names, confidence=0.9))


def test_the_finding_of_two_annotators() -> None:
    rows = {
        ("a, b", "alpha_categories"): (0.79, 0.7, 0.8), ("a, b", "alpha_classes"): (0.89, 0.8, 0.9),
        ("a, b", "kappa_categories"): (0.8, 0.75, 0.85), ("a, b", "kappa_classes"): (0.9, 0.85, 0.95),
        ("a, b", "agreement_categories"): (0.868, 0.8, 0.9),
    }  # fmt: skip
    assert agreement(("a", "b"), rows) == (
        "a and b give 87 % of tokens the same category: Cohen's kappa 0.80 (90 % interval 0.75 to 0.85, 25 questions) "
        "on the six "
        "categories, 0.90 (0.85 to 0.95) on the two classes."
    )
    rows["a, b", "kappa_classes"] = (NAN, NAN, NAN)
    assert agreement(("a", "b"), rows).endswith("on the six categories, which cannot be computed on the two classes.")
    rows["a, b", "kappa_categories"] = (NAN, NAN, NAN)
    assert agreement(("a", "b"), rows) == (
        "a and b use one and the same category throughout, so their agreement beyond chance cannot be computed."
    )


def test_the_finding_of_three_annotators() -> None:
    rows = {
        ("a, b, c", "alpha_categories"): (0.74, 0.7, 0.78), ("a, b, c", "alpha_classes"): (0.8, 0.75, 0.85),
        ("a, b", "kappa_categories"): (0.82, 0.8, 0.84), ("a, c", "kappa_categories"): (0.7, 0.6, 0.8),
        ("b, c", "kappa_categories"): (NAN, NAN, NAN),
    }  # fmt: skip
    assert agreement(("a", "b", "c"), rows) == (
        "a, b and c agree as follows: Krippendorff's alpha 0.74 (90 % interval 0.70 to 0.78, 25 questions) on the six "
        "categories, "
        "0.80 (0.75 to 0.85) on the two classes; Cohen's kappa of the pairs is 0.70 (a, c) to 0.82 (a, b)."
    )


@pytest.mark.parametrize(
    ("value", "shown"), [(0.305, "0.30"), (-0.004, "0.00"), (-0.5, "-0.50"), (-np.inf, "-inf"), (1, "1.00")]
)
def test_numbers_of_a_sentence_have_two_digits(value: float, shown: str) -> None:
    assert plain(number(value)) == shown
