"""How much of any effect is the answer standing in the chain already."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import ttest_1samp
from statsmodels.stats.multitest import multipletests

from analyses._restatement_audit.likelihood import areas_with_and_without, falls_at
from analyses._restatement_audit.words import finding
from analyses._statistics.fieller import ratio_of_means
from analyses._strategy_comparison.curves import Points
from analyses.category_survival import CategorySurvival
from analyses.restatement_audit import RestatementAudit
from analyses.strategy_comparison import StrategyComparison
from analyses.threshold_comparison import ThresholdComparison
from reasoning_anatomy.categories import LINGUISTIC_SCAFFOLDING, SYMBOLIC_COMPUTATION
from reasoning_anatomy.errors import AnalysisError, MissingError
from reasoning_anatomy.run.folder import Run
from reasoning_anatomy.steps import restatements_in, restates
from reasoning_anatomy.types import RESULT_COLUMNS, PruningPath, ReasoningChain

FAST = RestatementAudit(draws=499)
CLASSES = f"{SYMBOLIC_COMPUTATION} - {LINGUISTIC_SCAFFOLDING}"
Make = Callable[..., Run]

WORDS = [f"w{number}" for number in range(20)]
WORDS[5], WORDS[12] = "42", "42"
REASONING = f"{' '.join(WORDS)} . It is done"
N = 24  # 20 words, a full stop, three words of the last sentence


def chains(n_questions: int, reasoning: str = REASONING) -> list[ReasoningChain]:
    return [
        ReasoningChain(chain_id=f"c{q}-{c}", question_id=f"q{q}", question=f"Which {q}?", reasoning=reasoning, answer="42")
        for q in range(n_questions)
        for c in range(2)
    ]


def answers_are_mathematics(rows: pd.DataFrame, rng: np.random.Generator) -> np.ndarray:
    places = rng.integers(0, 6, len(rows))
    places[[5, 12]] = 0
    return places


@pytest.fixture
def run(tmp_path: Path, make_planted_run: Make, add_labels: Make) -> Run:
    return add_labels(make_planted_run(tmp_path / "run", chains(8), keep=0.25), answers_are_mathematics)


def test_statements_of_the_answer_and_the_last_sentence_restate() -> None:
    chain = ReasoningChain(chain_id="c", question_id="q", question="?", reasoning="1,200 or 12. Not 1200! End", answer="1200")
    spans = np.array([(0, 1), (1, 2), (2, 5), (6, 8), (9, 11), (11, 12), (13, 16), (17, 21), (21, 22), (23, 26)])
    assert [positions.tolist() for positions in restatements_in(chain, spans)] == [[0, 1, 2], [7]]
    assert np.flatnonzero(restates(chain, spans)).tolist() == [0, 1, 2, 7, 9]


def test_the_classes_are_compared_with_all_tokens_and_without_those_that_restate_the_answer(run: Run) -> None:
    result = FAST.analyse(run)
    rows = result.table.query("term == @CLASSES").set_index("restatements")
    survival = CategorySurvival(draws=499).analyse(run).table.query("scheme == 'classes'").set_index("term")
    for column in ("estimate", "ci_low", "ci_high", "p_value", "n_questions", "n_chains", "n_tokens"):
        assert rows.loc["kept", column] == pytest.approx(survival.loc[CLASSES, column]), "as in category_survival"
    tokens = run.tokens()
    tokens["time"] = tokens["deletion_step_greedy"].fillna(18).astype(float) / N
    tokens = tokens[(tokens["position"] <= 20) & ~tokens["position"].isin([5, 12])]
    is_symbolic = tokens["category_rules"].isin(["SYMBOLIC_MATH", "VERBAL_MATH"])
    means = tokens.groupby(["question_id", "chain_id", is_symbolic])["time"].mean().reset_index()
    chain = means.pivot_table(index=["question_id", "chain_id"], columns="category_rules", values="time")
    expected = (chain[True] - chain[False]).groupby("question_id").mean().mean()
    assert rows.loc["stripped", "estimate"] == pytest.approx(expected, abs=1e-12)
    assert rows.loc["stripped - kept", "estimate"] == pytest.approx(expected - rows.loc["kept", "estimate"], abs=1e-12)
    counts = result.details["restating_tokens"].set_index("class")
    assert counts["n_tokens"].sum() == 16 * N
    assert counts["n_restating"].sum() == 16 * 5
    assert counts.loc[SYMBOLIC_COMPUTATION, "n_restating"] >= 32


def test_an_effect_of_the_answer_alone_is_gone_without_it(tmp_path: Path, make_planted_run: Make, add_labels: Make) -> None:
    run = add_labels(make_planted_run(tmp_path, chains(12)), answers_are_mathematics)
    path = run.folder / "tokens.parquet"
    tokens = pd.read_parquet(path)
    rng = np.random.default_rng(1)
    for rows in tokens.groupby("chain_id").indices.values():
        order = rng.permutation(N)
        order = np.concatenate([order[~np.isin(order, [5, 12])], [5, 12]])  # the answer goes last
        tokens.loc[rows[order], "deletion_step_greedy"] = np.arange(1, N + 1)
    tokens.to_parquet(path)
    result = FAST.analyse(Run(run.folder))
    rows = result.table.query("term == @CLASSES").set_index("restatements")
    assert rows.loc["kept", "ci_low"] > 0
    assert abs(rows.loc["stripped", "estimate"]) < 0.05
    assert rows.loc["stripped - kept", "p_adjusted"] < 0.01
    assert rows.loc["share left", "ci_high"] < 0.7
    assert " of the difference between the classes in the time that a token is left by greedy (categories by " in result.finding
    assert "are left without the tokens that restate the answer: 0." in result.finding
    percent = f"{100 * rows.loc['share left', 'estimate']:.0f}\N{NO-BREAK SPACE}% ("
    assert percent.replace("-", "\N{MINUS SIGN}") in result.finding
    almost_all = result.table.assign(
        estimate=result.table["estimate"].where(result.table["restatements"] != "share left", 0.996)
    )
    assert finding(almost_all).startswith("100\N{NO-BREAK SPACE}% (")


def test_when_the_answer_is_no_longer_stated_by_hand() -> None:
    step = np.array([4, 2, np.nan, 1, 3])
    statement = [np.array(positions) for positions in ([0], [1, 2], [2], [0, 3])]
    assert falls_at(step, []) == 0
    assert falls_at(step, statement[:1]) == 4 / 5
    assert falls_at(step, statement[1:2]) == 2 / 5, "broken by its first token"
    assert falls_at(step, statement[:2]) == 4 / 5
    assert falls_at(step, statement[2:3]) == np.inf
    assert falls_at(step, statement[3:]) == 1 / 5


@pytest.mark.parametrize(
    ("first_falls", "second_falls", "without"),
    [
        (0.0, 0.0, 0.5),  # neither states it
        (0.25, 0.75, 0.125),  # two triangles of 0.25 by 0.5 are left
        (0.75, 0.25, 0.125),
        (0.5, np.inf, 0.25),  # one never falls: it alone states the answer in the second half
        (np.inf, np.inf, 0.5),
    ],
)
def test_what_arises_while_only_one_states_the_answer_by_hand(first_falls: float, second_falls: float, without: float) -> None:
    # the difference of the curves rises from 0 to 1 at half of the tokens and falls to 0 again: area 1/2
    first = Points(np.array([0, 0.5, 1]), np.array([0, 2.0, 2.0]))
    second = Points(np.array([0, 0.5, 1]), np.array([0, 1.0, 2.0]))
    assert areas_with_and_without((first, first_falls), (second, second_falls), 1.0) == pytest.approx((0.5, without))


def test_areas_with_restatements_are_those_of_strategy_comparison(
    tmp_path: Path, make_planted_run: Make, add_paths: Make
) -> None:
    run = make_planted_run(tmp_path, chains(6))
    rng = np.random.default_rng(0)

    def path(chain_id: str, slope: float) -> PruningPath:
        curve = np.append(0, slope * rng.random(N).cumsum())
        return PruningPath("P()", N, rng.permutation(N), np.full(N, 0.1), 0, curve, curve, curve)

    run = add_paths(run, "random_tokens", {chain_id: path(chain_id, 0.5) for chain_id in run.chains})
    run = add_paths(run, "random_block", {chain_id: path(chain_id, 0.2) for chain_id in run.chains})
    result = FAST.analyse(run)
    assert set(result.table["strategy"]) == {"greedy - random_tokens", "greedy - random_block"}, "against the baselines"
    pairs = StrategyComparison(draws=499).analyse(run).details["pairs"].query("term == 'area' and first == 'greedy'")
    for row in pairs.to_dict("records"):
        own = result.table[result.table["strategy"] == f"greedy - {row['second']}"].set_index("restatements")
        for column in ("estimate", "ci_low", "ci_high", "p_value"):
            assert own.loc["kept", column] == pytest.approx(row[column])
        alone = own.loc["kept", "estimate"] - own.loc["stripped", "estimate"]
        assert own.loc["stripped - kept", "estimate"] == pytest.approx(-alone)
    differences = result.table[result.table["restatements"] == "stripped - kept"]
    np.testing.assert_allclose(differences["p_adjusted"], multipletests(differences["p_value"], method="holm")[1])
    last = result.details["last_statement"].set_index("strategy")
    found = [
        1 - falls_at(run.path(chain_id, "random_block").deletion_step, [np.array([5]), np.array([12])])
        for chain_id in run.chains
    ]
    assert last.loc["random_block", "keep_ratio"] == pytest.approx(np.mean(found))
    assert last["n_never_stated"].tolist() == [0, 0, 0]
    assert result.printed["questions"].tolist() == [6, 6]
    said = " ".join(result.warnings)
    assert "wider than both of its parts" in said
    assert "nothing is said of deletion time" in said
    assert "reasoning-anatomy annotate" in said


def test_accuracy_is_that_of_threshold_comparison(tmp_path: Path, make_planted_run: Make, add_answers: Make) -> None:
    gold = [chain.model_copy(update={"gold_answer": "42"}) for chain in chains(10)]
    run = make_planted_run(tmp_path, gold)
    rng = np.random.default_rng(2)
    rows = [
        {
            "chain_id": chain_id, "threshold": threshold, "restatements": form, "sample": sample,
            "verdict": "correct" if rng.random() < (0.9 if form == "kept" else 0.5) else "wrong",
            "tokens_after": 60 if form == "kept" else 50,
        }
        for chain_id in run.chains
        for threshold in (0.0, 0.5)
        for form in ("kept", "stripped")
        for sample in range(2)
    ]  # fmt: skip
    run = add_answers(run, rows)
    result = FAST.analyse(run)
    table = result.table[result.table["part"] == "accuracy"]
    expected = ThresholdComparison(draws=499).analyse(run).details["restatements"]
    for row in expected.to_dict("records"):
        own = table[table["term"] == f"accuracy at threshold {row['threshold']:g}, closed_up"].set_index("restatements")
        assert own.loc["stripped - kept", ["estimate", "ci_low", "ci_high", "p_value", "p_adjusted"]].tolist() == pytest.approx(
            [row[name] for name in ("difference", "difference_low", "difference_high", "p_value", "p_adjusted")]
        )
        assert own.loc["kept", "estimate"] == pytest.approx(row["accuracy_with_restatements"])
        assert own.loc["stripped", "estimate"] == pytest.approx(row["accuracy"])
        assert own.loc["share left", "estimate"] == pytest.approx(row["accuracy"] / row["accuracy_with_restatements"])
    assert " of the accuracy at threshold 0, closed_up by s are left if what states the answer is stripped: " in result.finding
    only_kept = add_answers(run, [row for row in rows if row["restatements"] == "kept"])
    with pytest.raises(AnalysisError, match=r"--strategies s --restatements kept stripped"):
        FAST.analyse(only_kept)


def test_a_run_with_nothing_to_audit_says_what_each_part_lacks(tmp_path: Path, make_planted_run: Make) -> None:
    run = make_planted_run(tmp_path, chains(2))
    with pytest.raises(
        AnalysisError, match=r"nothing to audit \(deletion time: .* annotate .*; likelihood: .* random_tokens"
    ) as error:
        FAST.analyse(run)
    assert "--restatements kept stripped" in str(error.value)
    with pytest.raises(MissingError, match="has no annotator"):
        RestatementAudit(annotator="anna").analyse(run)


def test_a_chain_of_one_sentence_has_nothing_left(tmp_path: Path, make_planted_run: Make, add_labels: Make) -> None:
    run = add_labels(make_planted_run(tmp_path, chains(3, "all of it is the last sentence and 42")))
    result = FAST.analyse(run)
    assert tuple(result.table.columns) == ("part", "annotator", "strategy", "restatements", *RESULT_COLUMNS)
    assert (result.table["n_questions"] == 0).all()
    assert result.finding.startswith("Nothing can be said of the difference between the classes")


def test_a_ratio_is_in_the_interval_of_fieller_if_a_t_test_does_not_reject_it() -> None:
    rng = np.random.default_rng(0)
    below = rng.normal([1.0, 1.0, 0.0], [0.3, 0.6, 1.0], size=(12, 3))
    above = 0.6 * below + rng.normal(0, 0.2, size=(12, 3))
    above[3, 1] = np.nan
    ratio, low, high = ratio_of_means(above, below, confidence=0.95)
    assert np.isnan([ratio[2], low[2], high[2]]).all(), "the mean below could be zero"
    for column in range(2):
        paired = np.isfinite(above[:, column])
        first, second = above[paired, column], below[paired, column]
        assert ratio[column] == pytest.approx(first.mean() / second.mean())
        for end in (low[column], high[column]):
            assert ttest_1samp(first - end * second, 0).pvalue == pytest.approx(0.05, abs=1e-9)
    assert np.isnan(ratio_of_means(above[:1], below[:1], confidence=0.95)).all()
