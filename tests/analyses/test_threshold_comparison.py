"""Thresholds of a sweep compared: from run folder to result."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import proportion_confint

from analyses._statistics.bootstrap import bootstrap_means, resample_counts
from analyses._statistics.paired import score_interval
from analyses._threshold_comparison.frontier import on_frontier
from analyses.threshold_comparison import ThresholdComparison
from reasoning_anatomy.errors import AnalysisError, MissingError
from reasoning_anatomy.plugins import load
from reasoning_anatomy.run.folder import Run
from reasoning_anatomy.types import RESULT_COLUMNS, AnalysisResult
from reasoning_anatomy.unusable import Unusable, write_unusable

FAST = ThresholdComparison(draws=499)
GROUP = ["strategy", "reference", "reading", "restatements"]
VERDICTS = {"c": "correct", "w": "wrong", "u": "undecided", "l": "wrong", "o": "wrong"}
REASONS = {"l": "length", "o": "loop"}
Sweep = Mapping[float, Sequence[str]]
Make = Callable[..., Run]


def rows_of(sweep: Sweep, **same: object) -> list[dict[str, object]]:
    """One row per letter: the samples of chain number i at a threshold are a word, in place i. l and o are cut off."""
    return [
        {
            "chain_id": f"c{number}", "threshold": threshold, "sample": sample, "verdict": VERDICTS[letter],
            "finish_reason": REASONS.get(letter, "eos"), **same,
        }
        for threshold, words in sweep.items()
        for number, word in enumerate(words)
        for sample, letter in enumerate(word)
        if letter != "-"
    ]  # fmt: skip


def drawn(n_questions: int, n_samples: int, accuracies: Mapping[float, float], *, seed: int = 0) -> dict[float, list[str]]:
    """Answers to questions of which each has its own accuracy around the mean of a threshold."""
    rng = np.random.default_rng(seed)
    kind = rng.beta(2, 2, n_questions) - 0.5
    return {
        threshold: ["".join(rng.choice(["w", "c"], n_samples, p=[1 - p, p])) for p in np.clip(mean + kind, 0, 1)]
        for threshold, mean in accuracies.items()
    }


def first_measured(questions: Sequence[str]) -> list[tuple[str, np.ndarray | None, list[int]]]:
    """One chain per question as `make_run` wants them; answers do not need measurements, a run needs one."""
    return [(name, None if number else np.ones((1, 1, 6), dtype=np.float32), [0]) for number, name in enumerate(questions)]


@pytest.fixture
def swept(tmp_path: Path, make_run: Make, add_answers: Make) -> Make:
    """Make a run with one chain per question, unless ``questions`` says otherwise, and these answers."""

    def make(*rows: dict[str, object], questions: Sequence[str] | None = None) -> Run:
        n_chains = 1 + max(int(str(row["chain_id"])[1:]) for row in rows)
        names = questions or [f"q{number}" for number in range(n_chains)]
        return add_answers(make_run(tmp_path / "run", first_measured(names)), rows)

    return make


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory, make_run: Make, add_answers: Make) -> AnalysisResult:
    """Two strategies with a baseline each, two readings, 12 questions of two chains with three samples each."""
    names = [f"q{number // 2}" for number in range(24)]
    run = make_run(tmp_path_factory.mktemp("runs") / "run", first_measured(names))
    rows = [
        row
        for place, (strategy, reference) in enumerate([("a", None), ("b", None), ("random_steps", "a"), ("random_steps", "b")])
        for number, reading in enumerate(["closed_up", "evicted"])
        for row in rows_of(
            drawn(24, 3, {0: 0.6, 0.2: 0.55, 0.4: 0.5, 0.6: 0.2}, seed=10 * place + number),
            strategy=strategy, reference=reference, reading=reading,
        )
    ]  # fmt: skip
    return FAST.analyse(add_answers(run, rows))


def of(table: pd.DataFrame, **wanted: object) -> pd.DataFrame:
    for column, value in wanted.items():
        table = table[table[column].isna() if value is None else table[column] == value]
    return table


def plain(text: str) -> str:
    """Write minus signs and spaces as they are on a keyboard."""
    return text.replace("\N{MINUS SIGN}", "-").replace("\N{NO-BREAK SPACE}", " ")


def differences(result: AnalysisResult) -> pd.DataFrame:
    """Rows of the only strategy, by threshold, without threshold 0."""
    table = of(result.details["thresholds"], reference=None).set_index("threshold")
    return table[table.index > 0]


def question_means(table: pd.DataFrame, column: str) -> "pd.Series[float]":
    return table.groupby(["question_id", "chain_id"])[column].mean().groupby("question_id").mean()


def test_result_has_the_promised_shape(result: AnalysisResult) -> None:
    assert tuple(result.table.columns) == (*GROUP, "threshold", *RESULT_COLUMNS)
    own = of(result.table, strategy="a", reading="evicted", threshold=0.2)
    assert own["term"].tolist() == ["accuracy", "difference from threshold 0", "difference from random_steps"]
    theirs = of(result.table, strategy="random_steps", reference="a", reading="evicted", threshold=0.2)
    assert theirs["term"].tolist() == ["accuracy", "difference from threshold 0"]
    assert of(result.table, term="accuracy")["p_value"].isna().all()
    assert len(result.table) == 4 * 2 * (1 + 3 * 2) + 2 * 2 * 3
    assert list(result.details) == [
        "thresholds", "baselines", "trend", "frontier", "answers", "truncation", "undecided_left_out", "same_as_chain",
        "nll_gold", "between_questions", "per_question", "left_out",
    ]  # fmt: skip
    assert result.provenance["model"] == "tiny"
    assert result.config == repr(FAST)


def test_a_terminal_shows_one_line_for_each_cell_with_its_verdict(result: AnalysisResult) -> None:
    printed, thresholds = result.printed, result.details["thresholds"]
    assert printed is not None
    assert printed["verdict"].tolist() == thresholds["verdict"].fillna("").tolist()
    assert printed["threshold"].tolist() == thresholds["threshold"].tolist()
    row, shown = thresholds.iloc[1], printed.iloc[1]
    expected = f"{row['difference']:.2f} ({row['difference_low']:.2f} to {row['difference_high']:.2f})"
    assert shown["difference from 0"].replace("\N{MINUS SIGN}", "-") == expected
    assert printed["difference from 0"].iloc[0] == ""
    assert {"reading", "restatements"} - {*printed.columns} == {
        name for name in ("reading", "restatements") if len(set(thresholds[name])) == 1
    }


def test_every_mean_is_one_of_samples_then_chains_then_questions(swept: Make) -> None:
    rng, sweep = np.random.default_rng(3), drawn(9, 4, {0: 0.6, 0.3: 0.5})
    names = ["q0", "q0", "q1", "q2", "q3", "q3", "q3", "q4", "q5"]
    lengths = {0: [10, 20, 30, 40, 50, 60, 70, 80, 90], 0.3: [7, 15, 20, 30, 35, 40, 50, 55, 60]}
    rows = rows_of(sweep)
    for row in rows:
        chain, threshold = int(str(row["chain_id"])[1:]), row["threshold"]
        row |= {"tokens_before": lengths[0][chain], "tokens_after": lengths[threshold][chain]}
        row |= {"steps_after": 9 - int(10 * threshold), "tokens_generated": int(rng.integers(10, 90))}
    run = swept(*rows, questions=names)
    result = FAST.analyse(run)
    table = run.evaluations().assign(is_correct=lambda table: table["verdict"] == "correct")
    shown = result.details["thresholds"].set_index("threshold")
    for threshold, answers in table.groupby("threshold"):
        for column, name in [
            ("is_correct", "accuracy"), ("tokens_after", "tokens_kept"), ("steps_after", "steps_kept"),
            ("tokens_generated", "tokens_generated"), ("achieved_ratio", "share_of_tokens_kept"),
        ]:  # fmt: skip
            assert shown.loc[threshold, name] == pytest.approx(question_means(answers, column).mean(), abs=1e-12)
        assert shown.loc[threshold, ["n_questions", "n_chains", "n_answers"]].tolist() == [6, 9, 36]
    gap = question_means(of(table, threshold=0.3), "is_correct") - question_means(of(table, threshold=0), "is_correct")
    assert shown.loc[0.3, "difference"] == pytest.approx(gap.mean(), abs=1e-12)
    assert shown.loc[0.3, ["questions_gained", "questions_lost"]].tolist() == [(gap > 0).sum(), (gap < 0).sum()]
    assert result.table["n_tokens"].tolist() == [sum(lengths[0]), sum(lengths[0.3]), sum(lengths[0.3])]


def test_one_answer_for_each_question_has_the_score_test_mcnemar_tango_and_wilson(swept: Make) -> None:
    sweep = {0: "cccccccccccccccwwwww", 0.5: "ccccccwwwwwwwwwccwww"}
    result = FAST.analyse(swept(*rows_of({threshold: list(word) for threshold, word in sweep.items()})))
    row = differences(result).iloc[0]
    assert row[["answers_gained", "answers_lost", "questions_gained", "questions_lost"]].tolist() == [2, 9, 2, 9]
    assert row["p_value"] == pytest.approx(mcnemar([[6, 9], [2, 3]], exact=False, correction=False).pvalue)
    assert row["p_exact"] == row["p_exact_adjusted"] == pytest.approx(mcnemar([[6, 9], [2, 3]], exact=True).pvalue)
    assert row["because"].endswith("p 0.035 by Holm (McNemar's exact test 0.065)")
    low, high = score_interval(np.array([2]), np.array([9]), np.array([20]), confidence=0.95)
    assert row[["difference", "difference_low", "difference_high"]].tolist() == pytest.approx([-7 / 20, low[0], high[0]])
    assert row["method"] == "score test and interval"
    at_zero = result.details["thresholds"].iloc[0]
    assert at_zero[["accuracy_low", "accuracy_high"]].tolist() == pytest.approx(proportion_confint(15, 20, method="wilson"))


def test_several_answers_have_the_studentised_bootstrap_over_questions(swept: Make) -> None:
    run = swept(*rows_of(drawn(15, 4, {0: 0.7, 0.5: 0.45})))
    row = differences(FAST.analyse(run)).iloc[0]
    table = run.evaluations().assign(is_correct=lambda table: table["verdict"] == "correct")
    gap = question_means(of(table, threshold=0.5), "is_correct") - question_means(of(table, threshold=0), "is_correct")
    gap = gap[[f"q{number}" for number in range(15)]]
    counts = resample_counts(15, draws=499, rng=np.random.default_rng(0))
    means = bootstrap_means(gap.to_numpy()[:, None], counts, confidence=0.95)
    expected = [means.estimate[0], means.ci_low[0], means.ci_high[0], means.p_value[0]]
    assert row[["difference", "difference_low", "difference_high", "p_value"]].tolist() == pytest.approx(expected)
    assert row["method"] == "studentised bootstrap over questions"


def test_holm_is_over_the_thresholds_of_a_group(result: AnalysisResult) -> None:
    for table, family in [
        (result.details["thresholds"], GROUP),
        (result.details["baselines"], ["strategy", "baseline", "reading"]),
    ]:
        n_families = 0
        for _, rows in table[table["p_value"].notna()].groupby(family, dropna=False):
            np.testing.assert_allclose(rows["p_adjusted"], multipletests(rows["p_value"], method="holm")[1], rtol=1e-12)
            n_families += 1
        assert n_families == (8 if table is result.details["thresholds"] else 4)


def test_a_baseline_is_compared_with_the_strategy_that_it_matches_at_the_same_threshold(result: AnalysisResult) -> None:
    per_question = result.details["thresholds"]
    table = result.details["baselines"]
    assert table[["strategy", "baseline", "reading", "threshold"]].drop_duplicates().shape[0] == len(table) == 2 * 2 * 3
    for row in table.to_dict("records"):
        same = {"reading": row["reading"], "threshold": row["threshold"]}
        ours = of(per_question, strategy=row["strategy"], reference=None, **same).iloc[0]
        theirs = of(per_question, strategy=row["baseline"], reference=row["strategy"], **same).iloc[0]
        assert row["difference"] == pytest.approx(ours["accuracy"] - theirs["accuracy"], abs=1e-12)
        assert [row["accuracy"], row["accuracy_of_baseline"]] == [ours["accuracy"], theirs["accuracy"]]


LOSSES = {  # 60 questions of one sample, all right at threshold 0
    "worse": ("c" * 48 + "w" * 12, None),
    "undecided": ("c" * 58 + "w" * 2, None),
    "not worse by more than the margin": ("c" * 59 + "w", 0.1),
}


@pytest.mark.parametrize("verdict", LOSSES)
def test_losses_are_judged(swept: Make, verdict: str) -> None:
    word, margin = LOSSES[verdict]
    result = ThresholdComparison(draws=99, margin=margin).analyse(swept(*rows_of({0: "c" * 60, 0.5: word})))
    assert differences(result)["verdict"].tolist() == [verdict]


def test_gains_are_judged_whether_there_is_a_margin_or_not(swept: Make) -> None:
    run = swept(*rows_of({0: "w" * 12 + "c" * 48, 0.5: "c" * 60}))
    for margin in (None, 0.1):
        assert differences(ThresholdComparison(draws=99, margin=margin).analyse(run))["verdict"].tolist() == ["better"]


def test_a_loss_that_is_shown_but_smaller_than_the_margin_is_said_in_both_ways(swept: Make) -> None:
    run = swept(*rows_of({0: "c" * 300, 0.5: "c" * 292 + "w" * 8}))
    row = differences(ThresholdComparison(draws=99, margin=0.1).analyse(run)).iloc[0]
    assert row["verdict"] == "not worse by more than the margin"
    assert row["p_adjusted"] == pytest.approx(2 * norm.sf(np.sqrt(8)))
    assert row["because"].startswith("the loss is below 0.1, p ")
    fall = "accuracy does fall: difference -0.03 (-0.05 to -0.01), p 0.0047 by Holm (McNemar's exact test 0.0078)"
    assert fall in plain(row["because"])
    assert -0.1 < row["difference_low"] < row["lower_bound"] < row["difference"]
    assert differences(FAST.analyse(run))["verdict"].tolist() == ["worse"]


def test_the_margin_is_judged_where_the_one_sided_bound_says_so(swept: Make) -> None:
    run = swept(*rows_of(drawn(80, 5, {0: 0.6, 0.5: 0.6}, seed=1)))
    bound = differences(ThresholdComparison(margin=0.2).analyse(run))["lower_bound"].iloc[0]
    for margin, verdict in [(-bound + 0.003, "not worse by more than the margin"), (-bound - 0.003, "undecided")]:
        assert differences(ThresholdComparison(margin=margin).analyse(run))["verdict"].tolist() == [verdict]


def test_few_questions_cannot_rule_out_what_they_may_have_missed(swept: Make) -> None:
    run = swept(*rows_of({0: ["cccwc"] * 12 + ["ccccc"] * 13, 0.5: ["ccccc"] * 12 + ["cccwc"] * 13}))
    row = differences(ThresholdComparison(draws=999, margin=0.1).analyse(run)).iloc[0]
    assert row["p_not_worse"] == pytest.approx(0.9**25)  # a tenth of all questions lose everything, and none is among these 25
    assert row["lower_bound"] == pytest.approx(0.05 ** (1 / 25) - 1)
    assert row["verdict"] == "undecided"
    assert "about 29 questions would rule out a loss of 0.1" in row["because"]  # 0.9^28 > 0.05 > 0.9^29


def test_thresholds_at_which_more_answers_are_cut_off_are_not_compared(swept: Make) -> None:
    sweep = {0: "c" * 20 + "l" * 12, 0.2: "c" * 20 + "l" * 8 + "o" * 3 + "w", 0.5: "c" * 28 + "llll"}
    result = ThresholdComparison(draws=99, margin=0.01).analyse(swept(*rows_of(sweep)))
    rows = differences(result)
    assert rows.loc[0.5, "verdict"] == "not compared: truncation differs"
    assert (
        rows.loc[0.5, ["difference", "difference_low", "difference_high", "p_value", "p_adjusted", "p_not_worse"]].isna().all()
    )
    assert "12.5 % of answers are cut off, 37.5 % at threshold 0 (p 0.0047)" in plain(rows.loc[0.5, "because"])
    assert rows.loc[0.2, "verdict"] == "undecided"
    assert rows.loc[0.2, "p_adjusted"] == rows.loc[0.2, "p_value"] == 1, "what is not compared is not in the family"
    truncation = result.details["truncation"].set_index("threshold")
    assert truncation.loc[0.5, ["truncated", "truncated_at_zero"]].tolist() == [4 / 32, 12 / 32]
    assert truncation["differs"].tolist() == [False, True]
    assert truncation.loc[0.5, "p_truncated"] == pytest.approx(2 * norm.sf(np.sqrt(8)))  # 8 of 8 pairs
    assert any("s closed_up kept at 0.5: answers are cut off" in warning for warning in result.warnings)
    assert result.details["same_as_chain"]["difference"].notna().tolist() == [False, True, False]
    frontier = result.details["frontier"]
    assert frontier["is_compared"].tolist() == [True, True, False]
    assert not frontier["on_frontier"].iloc[2], "the most accurate cell with the fewest tokens is not to be believed"
    assert result.details["trend"]["n_thresholds"].tolist() == [2]


def test_a_baseline_that_is_cut_off_more_often_is_not_compared(swept: Make) -> None:
    ours = rows_of({0: "c" * 30, 0.5: "c" * 30})
    theirs = rows_of({0: "c" * 30, 0.5: "c" * 20 + "o" * 10}, strategy="random_steps", reference="s")
    result = FAST.analyse(swept(*ours, *theirs))
    assert result.details["baselines"]["verdict"].tolist() == ["not compared: truncation differs"]
    assert result.details["baselines"]["difference"].isna().all()
    assert "Against random_steps of the same length: not compared (truncation differs) at 0.5." in result.finding


def test_where_nothing_was_deleted_there_is_nothing_to_test(swept: Make) -> None:
    sweep = drawn(12, 2, {0: 0.6})
    rows = rows_of({0: sweep[0], 0.1: sweep[0], 0.5: sweep[0]})
    for row in rows:
        row["tokens_after"] = 50 if row["threshold"] == 0.5 and row["chain_id"] != "c0" else 100
        row["steps_after"] = 10 * row["tokens_after"] // 100
    result = FAST.analyse(swept(*rows))
    found = differences(result)
    assert found["verdict"].tolist() == ["nothing was deleted", "undecided"]
    assert found["difference"].tolist() == [0, 0]
    assert found["p_value"].isna().tolist() == [True, False]
    assert result.details["thresholds"]["n_chains_untouched"].tolist() == [12, 12, 1]
    assert any("s closed_up kept at 0.1: nothing was deleted" in warning for warning in result.warnings)


@pytest.mark.parametrize(("letter", "estimate"), [("c", 1), ("w", 0)], ids=["all right", "all wrong"])
@pytest.mark.parametrize("n_samples", [1, 4])
def test_answers_that_are_all_alike_have_intervals_with_a_width(
    swept: Make, letter: str, estimate: float, n_samples: int
) -> None:
    word = [letter * n_samples] * 30
    row = differences(FAST.analyse(swept(*rows_of({0: word, 0.5: word})))).iloc[0]
    assert row["accuracy"] == estimate
    assert 0.1 < row["accuracy_high"] - row["accuracy_low"] < 0.12  # Wilson 0.1135, Clopper-Pearson 0.1157
    assert row["difference"] == 0
    assert 0.2 < row["difference_high"] - row["difference_low"] < 0.24
    assert [row["p_value"], row["verdict"]] == [1, "undecided"]


def test_from_all_right_to_all_wrong_is_worse(swept: Make) -> None:
    for n_samples in (1, 4):
        row = differences(FAST.analyse(swept(*rows_of({0: ["c" * n_samples] * 20, 0.5: ["w" * n_samples] * 20})))).iloc[0]
        assert row["verdict"] == "worse"
        assert row["difference_low"] == pytest.approx(-1)
        assert -1 < row["difference_high"] < -0.6


@pytest.mark.parametrize(("n_samples", "method"), [(1, "score test and interval"), (4, "studentised bootstrap over questions")])
def test_answers_without_a_counterpart_are_counted_and_not_compared(swept: Make, n_samples: int, method: str) -> None:
    full = drawn(12, n_samples, {0: 0.6, 0.5: 0.5})
    gaps = {0: list(full[0]), 0.5: list(full[0.5])}
    gaps[0][0], gaps[0.5][1] = "-" * n_samples, "-" * n_samples
    if n_samples > 1:
        gaps[0.5][2] = "--" + gaps[0.5][2][2:]
    result = FAST.analyse(swept(*rows_of(gaps)))
    row = differences(result).iloc[0]
    is_correct = {threshold: [np.array([letter == "c" for letter in word]) for word in full[threshold]] for threshold in full}
    first = 2 if n_samples > 1 else 0
    by_question = [
        (after[first if chain == 2 else 0 :].mean() - before[first if chain == 2 else 0 :].mean())
        for chain, (before, after) in enumerate(zip(is_correct[0], is_correct[0.5], strict=True))
        if chain > 1
    ]
    assert row["difference"] == pytest.approx(np.mean(by_question))
    assert row["method"] == method
    counts = result.table.set_index("term")["n_questions"].tolist()
    assert counts == [11, 11, 10]
    left_out = result.details["left_out"].set_index("reason")["count"]
    assert left_out["no_answer_at_threshold_0"] == n_samples
    assert left_out["no_answer_at_this_threshold"] == (1 if n_samples == 1 else 6)
    assert any("answers have no counterpart at the threshold" in warning for warning in result.warnings)


def test_questions_with_unequal_numbers_of_samples_count_the_same(swept: Make) -> None:
    result = FAST.analyse(swept(*rows_of({0: ["cccccccc", "w", "c"], 0.5: ["wwwwcccc", "c", "c"]})))
    row = differences(result).iloc[0]
    assert row["accuracy"] == pytest.approx((0.5 + 1 + 1) / 3)
    assert row["difference"] == pytest.approx((-0.5 + 1 + 0) / 3)
    assert row["method"] == "studentised bootstrap over questions"


def test_more_samples_are_not_more_questions(swept: Make) -> None:
    once = {0: ["ccc", "www"] * 4 + ["ccw", "wwc"], 0.5: ["ccc", "www", "www"] * 3 + ["cww"]}
    tables = [
        FAST.analyse(swept(*rows_of({place: [word * copies for word in words] for place, words in once.items()}))).table
        for copies in (1, 4)
    ]
    pd.testing.assert_frame_equal(*tables)


def test_undecided_answers_are_not_correct_and_what_that_decides_is_said(swept: Make) -> None:
    run = swept(*rows_of({0: "c" * 30, 0.5: "c" * 22 + "u" * 8}))
    result = FAST.analyse(run)
    row = differences(result).iloc[0]
    assert [row["accuracy"], row["undecided"], row["verdict"]] == [pytest.approx(22 / 30), pytest.approx(8 / 30), "worse"]
    decided = result.details["undecided_left_out"].iloc[1]
    assert decided[["estimate", "difference", "p_value", "n_questions", "n_undecided"]].tolist() == [1, 0, 1, 22, 8]
    assert (
        "8 of 60 answers could not be judged and count as not correct; leaving them out changes 1 of the verdicts better and "
        "worse" in result.warnings
    )
    answers = result.details["answers"].iloc[1]
    assert answers[["n_answers", "n_correct", "n_wrong", "n_undecided", "n_eos"]].tolist() == [30, 22, 0, 8, 30]


def test_chains_without_a_gold_answer_count_as_faithful_and_nowhere_else(swept: Make) -> None:
    rows = rows_of({0: ["cc"] * 12, 0.5: ["cc"] * 6 + ["wc"] * 6})
    for row in rows:
        row["same_as_chain"] = row["verdict"]
        if row["chain_id"] in ("c10", "c11"):
            row |= {"verdict": None, "nll_gold": np.nan}
    result = FAST.analyse(swept(*rows, questions=[*(f"q{number}" for number in range(11)), "q0"]))
    assert result.exclusions == {"no_gold_answer": 2}
    assert differences(result)[["n_questions", "n_chains", "n_answers"]].iloc[0].tolist() == [10, 10, 20]
    assert differences(result)["accuracy"].iloc[0] == pytest.approx(1 - 4 * 0.5 / 10)
    same = result.details["same_as_chain"].iloc[1]
    assert same[["n_questions", "n_chains", "n_answers"]].tolist() == [11, 12, 24]
    assert same["estimate"] == pytest.approx((0.75 + 5 + 5 * 0.5) / 11)  # q0 has the chains c0, all alike, and c11, half
    assert result.details["answers"]["n_without_gold"].tolist() == [4, 4]
    assert result.details["nll_gold"]["n_chains"].tolist() == [10, 10]
    assert (
        "2 chains have no gold answer (1 of the questions has none); they count in same_as_chain and nowhere else"
        in result.warnings
    )


def test_chains_without_answers_and_rows_that_are_no_chains_are_counted(swept: Make) -> None:
    run = swept(*rows_of({0: "ccc", 0.5: "ccw"}), questions=["a", "b", "c", "d", "e"])
    write_unusable(run.folder / "unusable.jsonl", [Unusable("f", 1, None, "no answer", "f:1: no answer")] * 2)
    result = FAST.analyse(run)
    assert result.exclusions == {"not_evaluated": 2, "unusable: no answer": 2}
    assert "2 chains of the run have no answers; the tables do not speak for them" in result.warnings


def test_the_likelihood_of_the_gold_answer_is_compared_too(swept: Make) -> None:
    rows = rows_of(drawn(12, 2, {0: 0.5, 0.5: 0.5}))
    rises = np.random.default_rng(5).random(12)
    for row in rows:
        row["nll_gold"] = 1 + rises[int(str(row["chain_id"])[1:])] * (row["threshold"] == 0.5)
    found = FAST.analyse(swept(*rows)).details["nll_gold"]
    assert found["estimate"].tolist() == pytest.approx([1, 1 + rises.mean()])
    counts = resample_counts(12, draws=499, rng=np.random.default_rng(0))
    means = bootstrap_means(rises[:, None], counts, confidence=0.95)
    shown = found.loc[1, ["difference", "difference_low", "difference_high", "p_value"]].tolist()
    assert shown == pytest.approx([means.estimate[0], means.ci_low[0], means.ci_high[0], means.p_value[0]])


def test_points_that_no_other_beats_in_both_are_on_the_frontier() -> None:
    accuracy = np.array([0.9, 0.9, 0.8, 0.85, 0.5, 0.8, np.nan])
    tokens = np.array([100, 120, 60, 60, 10, 60, 5])
    assert on_frontier(accuracy, tokens).tolist() == [True, False, False, True, True, False, False]


def test_the_frontier_counts_tokens_that_are_kept_and_generated(result: AnalysisResult) -> None:
    found = result.details["frontier"]
    np.testing.assert_allclose(found["tokens"], 100 * (1 - found["threshold"]) + 50)
    for reading in ("closed_up", "evicted"):
        points = of(found, reading=reading)
        best = points.sort_values(["tokens", "accuracy"], ascending=[True, False]).drop_duplicates("tokens")
        assert points.loc[best.index[0], "on_frontier"], "the most accurate of the shortest is on it"
        assert points.loc[points["accuracy"].idxmax(), "on_frontier"]
        assert not points["on_frontier"].all()


@pytest.fixture
def uneven(swept: Make) -> AnalysisResult:
    """Two strategies of which one failed on a question and on a chain of another, at one threshold of two."""
    ours = {0: ["cc"] * 8, 0.2: ["cc"] * 6 + ["cw"] * 2, 0.5: ["cw"] * 8}
    theirs = {**ours, 0.5: ["--", "cc", "cc", "--", *["cc"] * 4]}
    names = ["q0", "q1", "q2", "q3", "q3", "q4", "q5", "q6"]
    rows = [*rows_of(ours), *rows_of(theirs, strategy="t"), *rows_of(theirs, strategy="random_steps", reference="s")]
    rows += [{**row, "reading": "evicted"} for row in rows]
    for row in rows:
        if row["chain_id"] == "c0":
            row["tokens_generated"] = 1000
    return FAST.analyse(swept(*rows, questions=names))


def test_cells_of_different_questions_are_named_and_the_frontier_is_over_those_that_all_have(uneven: AnalysisResult) -> None:
    frontier = uneven.details["frontier"]
    assert frontier["n_questions"].eq(6).all(), "without q0, of which two cells have nothing"
    assert frontier["n_chains"].eq(6).all(), "and without one of the two chains of q3"
    assert frontier["n_answers"].eq(12).all()
    assert frontier["tokens_generated"].eq(50).all()
    assert of(frontier, strategy="s", threshold=0.2)["accuracy"].tolist() == pytest.approx([1 - 2 / 2 / 6] * 2)
    answers = of(uneven.details["answers"], reading="closed_up")
    shown = answers.set_index(["strategy", "threshold"]).loc[[("s", 0.5), ("t", 0.5)], ["n_questions", "n_chains", "n_answers"]]
    assert shown.to_numpy().tolist() == [[7, 8, 16], [6, 6, 12]]
    (said,) = [warning for warning in uneven.warnings if "not every cell" in warning]
    assert said == (
        "closed_up (restatements kept) and evicted (restatements kept): not every cell has answers to the same questions. Of 7 "
        "questions (8 chains, 16 answers), t at 0.5 has 6 questions (6 chains, 12 answers); random_steps of the length of s at "
        "0.5 has 6 questions (6 chains, 12 answers). Differences are over what both cells have, the frontier is over what all "
        "have: 6 questions (6 chains, 12 answers)"
    )


def test_a_strategy_and_its_baseline_are_beside_each_other_over_the_same_questions(uneven: AnalysisResult) -> None:
    row = of(uneven.details["baselines"], threshold=0.5).iloc[0]
    assert row[["accuracy", "accuracy_of_baseline", "difference"]].tolist() == [0.5, 1, -0.5]
    assert row[["n_questions", "n_chains", "n_answers"]].tolist() == [6, 6, 12]


def test_cells_of_the_same_questions_are_not_spoken_of(result: AnalysisResult) -> None:
    assert not [warning for warning in result.warnings if "not every cell" in warning]
    assert set(result.details["frontier"]["n_questions"]) == {12}


def test_strategies_without_a_question_in_common_are_on_no_frontier(swept: Make) -> None:
    ours, theirs = {0: ["cc", "cw", "--"], 0.5: ["cc", "ww", "--"]}, {0: ["--", "--", "cc"], 0.5: ["--", "--", "cw"]}
    result = FAST.analyse(swept(*rows_of(ours), *rows_of(theirs, strategy="t")))
    frontier = result.details["frontier"]
    assert frontier["n_questions"].eq(0).all()
    assert not frontier["on_frontier"].any()
    assert any(warning.endswith("what all have: 0 questions (0 chains, 0 answers)") for warning in result.warnings)


def test_restatements_stripped_are_compared_with_those_kept_by_question(swept: Make) -> None:
    kept = {0: ["cc"] * 16 + ["ww"] * 4, 0.5: ["cc"] * 10 + ["ww"] * 10}
    stripped = {0: ["cc"] * 6 + ["cw"] * 2 + ["ww"] * 12, 0.5: ["cc"] * 9 + ["ww"] * 11}
    bare = rows_of(stripped, restatements="stripped")
    for row in bare:
        row["tokens_after"] = 60 if row["threshold"] == 0 else 30
    both = [*rows_of(kept), *bare]
    beside = [{**row, "strategy": "random_steps", "reference": "s"} for row in both]
    result = ThresholdComparison(draws=999).analyse(swept(*both, *beside))
    table = result.details["restatements"]
    assert table["strategy"].tolist() == ["s", "s"], "baselines are not in it"
    assert table["threshold"].tolist() == [0, 0.5]
    row = table.iloc[0]
    assert row[["accuracy", "accuracy_with_restatements"]].tolist() == pytest.approx([7 / 20, 16 / 20])
    assert row[["tokens_kept", "tokens_kept_with_restatements"]].tolist() == [60, 100]
    gap = np.array([0] * 6 + [-0.5] * 2 + [-1] * 8 + [0] * 4)
    means = bootstrap_means(gap[:, None], resample_counts(20, draws=999, rng=np.random.default_rng(0)), confidence=0.95)
    assert row[["difference", "p_value"]].tolist() == pytest.approx([means.estimate[0], means.p_value[0]])
    np.testing.assert_allclose(table["p_adjusted"], multipletests(table["p_value"], method="holm")[1], rtol=1e-12)
    assert table["verdict"].tolist() == ["worse", "undecided"]
    assert plain(result.finding).endswith(
        f" Without restatements of the answer and the last sentence, accuracy at threshold 0 is 0.35, a difference of -0.45 "
        f"({row['difference_low']:.2f} to {row['difference_high']:.2f}) from that with restatements, p {row['p_adjusted']:.2g} "
        "by Holm: worse."
    )


def test_without_both_forms_there_is_no_table_of_restatements(result: AnalysisResult) -> None:
    assert "restatements" not in result.details
    assert "restatements of the answer" not in result.finding


def test_chains_that_state_no_answer_are_the_same_in_both_forms(swept: Make) -> None:
    sweep = {0: ["cc"] * 12, 0.5: ["cw"] * 12}
    result = FAST.analyse(swept(*rows_of(sweep), *rows_of(sweep, restatements="stripped")))
    assert result.details["restatements"]["verdict"].tolist() == ["nothing was deleted"] * 2
    assert result.details["restatements"]["p_value"].isna().all()
    assert plain(result.finding).endswith("accuracy at threshold 0 is 1.00, nothing was deleted.")


def test_the_trend_is_the_mean_slope_of_the_questions(swept: Make) -> None:
    sweep = drawn(14, 3, {0: 0.8, 0.2: 0.6, 0.6: 0.3})
    sweep[0.2][5] = "---"
    result = FAST.analyse(swept(*rows_of(sweep)))
    trend = result.details["trend"].iloc[0]
    accuracy = np.array([[word.count("c") / 3 for word in words] for words in sweep.values()])
    slopes = np.polyfit([0, 0.2, 0.6], np.delete(accuracy, 5, axis=1), 1)[0]
    assert trend["slope"] == pytest.approx(slopes.mean())
    assert trend["ci_low"] < trend["slope"] < trend["ci_high"] < 0
    assert trend["p_value"] < 0.05
    assert trend["page_p_falling"] < 0.05
    assert trend[["n_thresholds", "n_questions", "n_incomplete"]].tolist() == [3, 13, 1]


def test_what_so_many_questions_could_show_is_said(swept: Make) -> None:
    run = swept(*rows_of(drawn(12, 4, {0: 0.6, 0.5: 0.55}, seed=2)))
    result = ThresholdComparison(draws=99, margin=0.05).analyse(run)
    spread = result.details["between_questions"].iloc[0]
    assert spread["questions_to_find_margin"] > spread["questions_to_rule_out_margin"] > 100
    assert f"difference from threshold 0 {spread['detectable_effect']:.2g}" in " ".join(result.warnings)
    assert (
        f"about {spread['questions_to_rule_out_margin']:.0f} questions would rule out" in differences(result)["because"].iloc[0]
    )


def test_one_question_has_accuracies_and_no_tests(swept: Make) -> None:
    result = ThresholdComparison(draws=99, margin=0.1).analyse(swept(*rows_of({0: ["cccw"], 0.5: ["cwww"]})))
    row = differences(result).iloc[0]
    assert [row["accuracy"], row["difference"], row["verdict"]] == [0.25, -0.5, "undecided"]
    assert result.table[["ci_low", "ci_high", "p_value", "p_adjusted"]].isna().all(axis=None)
    assert row["because"] == "one question has no variation between questions"
    assert "one question has no variation between questions; no interval and no p-value" in result.warnings
    assert (
        "from 0.75 to 0.25 at 0.5, a difference of \N{MINUS SIGN}0.50 (one question, which has no interval)" in result.finding
    )


def test_threshold_0_alone_has_its_accuracy_and_the_command_that_adds_others(swept: Make) -> None:
    run = swept(*rows_of({0: "cccw" * 6}))
    result = FAST.analyse(run)
    assert result.table["term"].tolist() == ["accuracy"]
    assert "there is no other threshold to compare, add some with: reasoning-anatomy sweep RUN" in result.finding
    assert result.details["trend"].empty


def test_what_is_missing_is_one_error_with_the_command_that_adds_it(
    swept: Make, tmp_path: Path, make_run: Make, make_planted_run: Make, make_chains: Make
) -> None:
    run = make_planted_run(tmp_path / "planted", make_chains(2, 1, 20))
    with pytest.raises(MissingError, match=f"make them with: reasoning-anatomy sweep {run.folder}"):
        FAST.analyse(run)
    run = swept(*rows_of({0.2: "cc", 0.5: "cw"}, strategy="random_steps", reference="s"), *rows_of({0: "cc"}))
    with pytest.raises(AnalysisError, match=r"random_steps .* no answers at threshold 0.* --strategies s --thresholds 0$"):
        FAST.analyse(run)
    run = swept(*rows_of({0: "cc", 0.5: "cw"}, verdict=None))
    with pytest.raises(AnalysisError, match="none of 2 evaluated chains has a gold answer"):
        FAST.analyse(run)


def test_without_a_margin_the_text_says_what_cannot_be_said(swept: Make) -> None:
    run = swept(*rows_of(drawn(20, 3, {0: 0.7, 0.5: 0.6})))
    asked = [warning for warning in FAST.analyse(run).warnings if "--margin" in warning]
    assert asked == [
        "no margin was stated, so no threshold can be called not worse; state the loss of accuracy that would not matter, "
        "such as --margin 0.02"
    ]
    assert FAST.analyse(run).details["thresholds"][["lower_bound", "p_not_worse"]].isna().all(axis=None)
    assert not [warning for warning in ThresholdComparison(draws=99, margin=0.1).analyse(run).warnings if "--margin" in warning]


def test_a_baseline_of_another_length_is_named(swept: Make) -> None:
    ours = rows_of({0: "cw" * 10, 0.5: "cw" * 10})
    theirs = rows_of({0: "cw" * 10, 0.5: "cw" * 10}, strategy="random_block", reference="s")
    for row in theirs:
        row["tokens_after"] = 55 if row["threshold"] else 100
    said = [plain(warning) for warning in FAST.analyse(swept(*ours, *theirs)).warnings]
    assert any(warning.startswith("random_block keeps 110 % as many tokens as s in 1 cell in which") for warning in said)


def test_the_finding_names_the_verdict_of_every_threshold(swept: Make) -> None:
    ours = {0: "c" * 60, 0.1: "c" * 60, 0.3: "c" * 57 + "www", 0.5: "c" * 45 + "w" * 15}
    theirs = {0: "c" * 60, 0.1: "c" * 60, 0.3: "c" * 40 + "w" * 20, 0.5: "c" * 41 + "w" * 19}
    run = swept(*rows_of(ours), *rows_of(theirs, strategy="random_steps", reference="s"))
    assert plain(ThresholdComparison(draws=99, margin=0.06).analyse(run).finding) == (
        "Undecided at 0.1 (90 % of the chain kept) and 0.3 (70 %), worse at 0.5 (50 % of the chain kept): by s (closed_up, "
        "restatements kept), accuracy falls from 1.00 to 0.75 at 0.5, a difference of -0.25 (95 % interval -0.37 to -0.16, 60 "
        "questions). Against random_steps of the same length: better at 0.3, undecided at 0.1 and 0.5."
    )


def test_the_finding_of_many_strategies_and_baselines_is_two_sentences(swept: Make) -> None:
    worse = {0: "c" * 60, 0.1: "c" * 59 + "w", 0.3: "c" * 57 + "www", 0.5: "c" * 45 + "w" * 15}
    rows = [*rows_of(worse, strategy="bad")]
    for name in ("a", "b", "d", "e"):
        fine = {**worse, 0.5: "c" * 58 + "ww"}
        rows += rows_of(fine, strategy=name)
        for baseline in ("random_steps", "random_block"):
            rows += rows_of(worse, strategy=baseline, reference=name)
    assert plain(ThresholdComparison(draws=99, margin=0.06).analyse(swept(*rows)).finding) == (
        "Undecided in 14, worse in 1 (bad at 0.5), of 15 comparisons with threshold 0 by 5 strategies (closed_up, restatements "
        "kept). Accuracy at threshold 0 is 1.00 (95 % interval 0.94 to 1.00, 60 questions). Against random_steps and "
        "random_block of the same length: of 24 comparisons better in 8, undecided in 16."
    )


def test_each_of_a_few_strategies_has_a_sentence_of_its_own(swept: Make) -> None:
    one, other = {0: ["cc", "cw"] * 8, 0.5: ["cc"] * 16}, {0: ["cc", "cw"] * 7 + ["--"] * 2, 0.5: ["cc"] * 16}
    other[0][1] = "cc"
    result = FAST.analyse(swept(*rows_of(one, strategy="a"), *rows_of(other, strategy="b")))
    first, second = plain(result.finding).splitlines()
    assert first.startswith(
        "Better at 0.5 (50 % of the chain kept): by a (closed_up, restatements kept), accuracy rises from 0.75 to 1.00 at 0.5, "
        "a difference of 0.25 (95 % interval "
    )
    assert "by b (closed_up, restatements kept), accuracy rises from 0.79 to 1.00 at 0.5" in second


def test_strategies_of_different_readings_and_questions_are_spoken_of_as_such(swept: Make) -> None:
    one, other = {0: ["cc", "cw"] * 8, 0.5: ["cc"] * 16}, {0: ["cc", "cw"] * 7 + ["--"] * 2, 0.5: ["cc"] * 16}
    result = FAST.analyse(swept(*rows_of(one, strategy="a"), *rows_of(other, strategy="b", reading="evicted")))
    first, second = result.finding.splitlines()
    assert "by a (closed_up, restatements kept), accuracy rises" in first
    assert "by b (evicted, restatements kept), accuracy rises" in second


def test_the_same_run_gives_the_same_result_and_can_be_read_again(swept: Make) -> None:
    rows = rows_of(drawn(10, 2, {0: 0.7, 0.5: 0.6}))
    run = swept(*rows, *[{**row, "strategy": "random_steps", "reference": "s"} for row in rows])
    first, second = FAST.analyse(run), FAST.analyse(run)
    run.write_analysis(first)
    back = run.analysis("threshold_comparison")
    for one, other in [(second, first), (back, first)]:
        pd.testing.assert_frame_equal(one.table, other.table, check_dtype=False, check_exact=True)
        assert one.details.keys() == other.details.keys()
        assert one.finding == other.finding
    assert back.details["thresholds"]["verdict"].tolist()[1] == "undecided"
    assert run.is_current("threshold_comparison")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"margin": 2.0}, "margin=2.0: expected a loss of accuracy between 0 and 1, such as 0.02 for two points"),
        ({"margin": 0.0}, "margin=0.0: expected a loss"),
        ({"confidence": 0.4}, "confidence=0.4: expected more than 0.5"),
        ({"draws": 3}, "interval needs 19 or more"),
    ],
)
def test_wrong_options_are_refused(options: dict[str, float], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        ThresholdComparison(**options)


def test_the_margin_is_the_first_option() -> None:
    analysis = load("analysis", "threshold_comparison:margin=0.02,seed=7")
    assert repr(analysis) == "ThresholdComparison(margin=0.02, draws=9999, confidence=0.95, seed=7)"


LENGTHS = {0.0: 100.0, 0.5: 101.0, 0.75: 160.0}
PEAKS = {0.0: 130.0, 0.5: 90.0, 0.75: 60.0}


def live(n_questions: int, *, longer: Mapping[float, float] = LENGTHS, **same: object) -> list[dict[str, object]]:
    """Texts that get longer with the threshold, as much on average as ``longer`` says, and their cache smaller."""
    rng = np.random.default_rng(0)
    rows = rows_of(drawn(n_questions, 2, dict.fromkeys(longer, 0.5)), reading="live", **same)
    for row in rows:
        threshold = float(str(row["threshold"]))
        row["tokens_generated"] = longer[threshold] + (rng.normal(0, 20) if threshold else 0)
        row["peak_cache_tokens"] = PEAKS[threshold]
        row["nll_gold"] = np.nan
    return rows


def test_texts_that_are_written_anew_are_a_world_with_peak_cache_and_length(swept: Make) -> None:
    rows = [*rows_of(drawn(30, 2, {0: 0.6, 0.5: 0.5}), strategy="s"), *live(30, strategy="p")]
    rows += live(30, strategy="random", reference="p")
    found = FAST.analyse(swept(*rows))
    cells = found.details["thresholds"]
    own = of(cells, strategy="p", reading="live")
    assert own["peak_cache_tokens"].tolist() == [130, 90, 60]
    assert of(cells, strategy="s")["peak_cache_tokens"].isna().all()
    expected = pd.DataFrame(live(30)).groupby("threshold")["tokens_generated"].mean()
    assert own["tokens_generated"].to_numpy() == pytest.approx(expected.to_numpy())
    frontier = of(found.details["frontier"], strategy="p")
    assert frontier["tokens"].to_numpy() == pytest.approx(frontier["tokens_generated"].to_numpy())
    assert frontier["on_frontier"].any()
    assert set(found.details["baselines"]["reading"]) == {"live"}
    assert {"peak cache", "tokens written"} <= set(found.printed.columns)
    lengths = of(found.details["written_length"], strategy="p", reference=None)
    assert lengths["difference"].iloc[2] == pytest.approx(60, abs=15)
    assert lengths["difference_low"].iloc[2] > 0
    assert lengths["p_adjusted"].iloc[2] < 0.01 < lengths["p_adjusted"].iloc[1]


def test_the_finding_says_whether_texts_get_longer(swept: Make) -> None:
    finding = plain(FAST.analyse(swept(*live(30, strategy="p"), *live(30, strategy="random", reference="p"))).finding)
    assert ": by p (live, restatements kept), accuracy rises from 0.5" in finding
    assert "with 60 tokens in the cache at most, instead of 130" in finding
    assert "Against random of the same budget: " in finding
    assert "Texts, 100 tokens long at threshold 0, are longer at 0.75, not shown to be longer or shorter at 0.5; " in finding
    assert "at 0.75 they differ by 5" in finding or "at 0.75 they differ by 6" in finding


def test_the_lengths_of_several_policies_are_counted(swept: Make) -> None:
    shorter = {0.0: 100.0, 0.5: 50.0, 0.75: 100.5}
    finding = plain(FAST.analyse(swept(*live(30, strategy="p"), *live(30, strategy="r", longer=shorter))).finding)
    assert (
        "Of 4 comparisons of texts with those at threshold 0, they are longer in 1 (p at 0.75), shorter in 1 (r at 0.5), not "
        "shown to be longer or shorter in 2." in finding
    )


def test_policies_that_leave_other_shares_in_the_cache_than_their_baseline_are_named(swept: Make) -> None:
    rows = [*live(30, strategy="p"), *live(30, strategy="random", reference="p")]
    assert not any("same budget" in each for each in FAST.analyse(swept(*rows)).warnings)
    for row in rows:
        row["tokens_after"] = 100 - 100 * float(str(row["threshold"])) * (0.5 if row["strategy"] == "p" else 1)
    said = [plain(each) for each in FAST.analyse(swept(*rows)).warnings]
    expected = (
        "random has 38 % of the tokens of its thinking in the cache when that ends, p 69 %, in 2 cells in which they differ"
    )
    assert any(each.startswith(expected) for each in said), said


def test_a_policy_that_hardly_acted_is_named(swept: Make) -> None:
    rows = live(30, strategy="p")
    for row in rows:
        row["tokens_after"] = {0.0: 100, 0.5: 94, 0.75: 40}[float(str(row["threshold"]))]
    said = [plain(each) for each in FAST.analyse(swept(*rows)).warnings if "hardly" in each]
    assert said == [
        "p at 0.5 kept 94 % of a text: with what it protects, short texts hardly go beyond its budget, so that this says "
        "little about eviction; let them be longer"
    ]


def test_one_verdict_at_all_thresholds_is_said_once(swept: Make) -> None:
    run = swept(*rows_of({0: "c" * 60, 0.1: "c" * 60, 0.3: "c" * 59 + "w", 0.5: "w" + "c" * 59}))
    assert plain(ThresholdComparison(draws=99).analyse(run).finding).startswith(
        "Undecided at all 3 thresholds (90 % to 50 % of the chain kept): by s (closed_up, restatements kept), accuracy falls"
    )


def test_further_chains_of_a_question_that_is_written_on_are_not_missing(swept: Make) -> None:
    rows = live(30, strategy="p")
    found = FAST.analyse(swept(*rows, questions=[*(f"q{number}" for number in range(30)), "q0", "q0", "other"]))
    assert found.exclusions == {"not_evaluated": 1}
