"""Students compared: from their folder to the result."""

import re
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import statsmodels.formula.api as smf
from statsmodels.stats.anova import anova_lm
from statsmodels.stats.multitest import multipletests

from analyses._distillation.comparisons import pairs
from analyses._distillation.evidence import ARM
from analyses._statistics.paired import p_different, score_interval
from analyses._statistics.power import questions_needed
from analyses._statistics.seeds import Components, components, mean_over, questions_needed_with, seed_variation
from analyses.distillation import Distillation
from reasoning_anatomy.cli import main
from reasoning_anatomy.errors import AnalysisError, MissingError
from reasoning_anatomy.plugins import available
from reasoning_anatomy.run import Run
from reasoning_anatomy.run.students import Arm, Student, Students, open_students
from reasoning_anatomy.types import RESULT_COLUMNS, AnalysisResult

Answers = Mapping[Student, Mapping[str, tuple[str, int]]]
Make = Callable[..., Students]

ARMS = {
    ("full", 1.0): (0.8, 60),
    ("answer_only", 0.0): (-1.0, 6),
    ("greedy", 0.7): (0.7, 44),
    ("random_tokens", 0.7): (-0.2, 48),
    ("greedy", 0.9): (0.8, 54),
    ("random_tokens", 0.9): (0.4, 56),
}


def student(strategy: str, keep_ratio: float = 0.0, seed: int = 0, **more: str) -> Student:
    matching = {"matching": more.pop("matching")} if "matching" in more else {}
    return Student(arm=Arm(strategy=strategy, keep_ratio=keep_ratio, **matching), seed=seed, **more)


def drawn(
    n_questions: int, n_seeds: int, arms: Mapping[tuple[str, float], tuple[float, int]] = ARMS, *, seed: int = 0
) -> dict[Student, dict[str, tuple[str, int]]]:
    """Answers that depend on the question, on the arm, on the training and on chance; the model as it is, too."""
    rng = np.random.default_rng(seed)
    difficulty = rng.standard_normal(n_questions)
    found = {}
    for strategy, ratio, number in [("untrained", 0.0, 0), *((*arm, number) for number in range(n_seeds) for arm in arms)]:
        level, tokens = arms.get((strategy, ratio), (-2.0, 58))
        latent = level + difficulty + 0.2 * rng.standard_normal() + rng.standard_normal(n_questions)
        lengths = np.maximum(2, tokens + 4 * rng.standard_normal(n_questions)).astype(int)
        found[student(strategy, ratio, number)] = {
            f"q{place}": ("c" if value > 0 else "w", int(length))
            for place, (value, length) in enumerate(zip(latent, lengths, strict=True))
        }
    return found


def spelled(words: Mapping[Student, str], n_tokens: int = 10) -> dict[Student, dict[str, tuple[str, int]]]:
    """Answers of a student to the questions in turn, one letter each."""
    return {who: {f"q{place}": (letter, n_tokens) for place, letter in enumerate(word)} for who, word in words.items()}


def of(table: pd.DataFrame, **wanted: object) -> pd.DataFrame:
    for column, value in wanted.items():
        table = table[table[column] == value]
    return table


def only(table: pd.DataFrame, **wanted: object) -> dict[str, object]:
    (row,) = of(table, **wanted).to_dict("records")
    return row


def plain(text: str) -> str:
    """Write minus signs and spaces as they are on a keyboard."""
    return text.replace("\N{MINUS SIGN}", "-").replace("\N{NO-BREAK SPACE}", " ")


@pytest.fixture(scope="module")
def students(tmp_path_factory: pytest.TempPathFactory, make_students: Make) -> Students:
    return make_students(tmp_path_factory.mktemp("students"), drawn(80, 3))


@pytest.fixture(scope="module")
def result(students: Students) -> AnalysisResult:
    return Distillation(margin=0.1).analyse(students)


def test_result_has_the_promised_shape(result: AnalysisResult) -> None:
    assert tuple(result.table.columns) == (*ARM, *RESULT_COLUMNS)
    assert list(result.details) == ["arms", "comparisons", "curves", "same_length", "power", "students"]
    own = of(result.table, strategy="greedy", keep_ratio=0.7)
    levels = ["accuracy", "tokens generated", "answers cut off", "nll of the gold answer"]
    controls = ["full", "answer_only", "untrained", "random_tokens"]
    assert own["term"].tolist() == [*levels, *(f"difference from {control}" for control in controls)]
    assert own.loc[own["term"].isin(levels), "p_value"].isna().all()
    assert result.table["term"].iloc[-1] == "difference from random_tokens at the same generated length"
    assert result.exclusions == {}
    assert result.provenance["run"] == "planted"


def test_levels_are_means_over_questions_and_trainings(students: Students, result: AnalysisResult) -> None:
    answers = students.answers()
    means = answers.groupby(["strategy", "keep_ratio"])[["is_correct", "n_tokens", "is_cut_off", "nll_gold"]].mean()
    arms = result.details["arms"].set_index(["strategy", "keep_ratio"])
    for ours, theirs in (("accuracy", "is_correct"), ("tokens_generated", "n_tokens"), ("nll_gold", "nll_gold")):
        np.testing.assert_allclose(arms[ours], means.loc[arms.index, theirs], atol=1e-12)
    assert arms.loc[("greedy", 0.7), "tokens_taught"] == 28
    assert arms.loc[("greedy", 0.7), "achieved"] == 0.7
    assert arms.loc[("untrained", 0.0), "n_seeds"] == 0
    assert (arms["accuracy_low"] < arms["accuracy"]).all()


def test_every_arm_is_compared_with_every_control_once() -> None:
    arms = [student(*arm) for arm in ARMS] + [
        student("untrained"), student("greedy", 0.7, equal="tokens"), student("answer_only", equal="tokens"),
        student("greedy", 0.7, matching="mean"), student("surprisal", 0.7),
    ]  # fmt: skip
    table = pd.DataFrame([{**each.arm.model_dump(), "equal": each.equal} for each in arms])
    named = {(arms[first].label, arms[second].label) for first, second in pairs(table)}
    assert len(named) == len(pairs(table))
    assert {second for first, second in named if first == "greedy at 0.7, as many tokens, seed 0"} == {
        "full, seed 0", "answer_only, as many tokens, seed 0", "untrained",
    }  # fmt: skip
    assert ("greedy at 0.7, seed 0", "random_tokens at 0.7, seed 0") in named
    assert ("surprisal at 0.7, seed 0", "random_tokens at 0.7, seed 0") in named
    assert ("greedy at 0.7, seed 0", "surprisal at 0.7, seed 0") in named
    assert ("full, seed 0", "answer_only, seed 0") in named
    assert not any(first == "untrained" or second.startswith("greedy") for first, second in named)
    assert not any("by the mean" in first and "random" in second for first, second in named)


def test_mean_squares_are_those_of_an_analysis_of_variance() -> None:
    values = np.random.default_rng(0).normal(size=(25, 3)) + np.arange(3) / 4 + np.arange(25)[:, None] / 9
    long = pd.DataFrame([(value, q, s) for (q, s), value in np.ndenumerate(values)], columns=["value", "q", "s"])
    squares = anova_lm(smf.ols("value ~ C(q) + C(s)", long).fit())
    of_questions, between, within = squares["sum_sq"] / squares["df"]
    variation = seed_variation(values[None])
    assert variation is not None
    np.testing.assert_allclose([variation.between, variation.within], [between, within])
    mean = mean_over(values, [variation])
    whole = of_questions + between - within
    np.testing.assert_allclose([mean.of_questions, mean.error], [of_questions, np.sqrt(whole / 75)])
    satterthwaite = whole**2 / (of_questions**2 / 24 + between**2 / 2 + within**2 / 48)
    np.testing.assert_allclose(mean.freedom, satterthwaite)
    parts = components(mean, variation, 3)
    np.testing.assert_allclose([parts.seeds, parts.questions], [(between - within) / 25, (of_questions - within) / 3])


def test_variance_components_are_those_of_a_mixed_model() -> None:
    rng = np.random.default_rng(1)
    values = rng.normal(size=(30, 1)) + 0.8 * rng.normal(size=(1, 4)) + rng.normal(size=(30, 4))
    long = pd.DataFrame([(value, q, s, 0) for (q, s), value in np.ndenumerate(values)], columns=["value", "q", "s", "all"])
    model = smf.mixedlm("value ~ 1", long, groups="all", vc_formula={"q": "0 + C(q)", "s": "0 + C(s)"}).fit()
    variation = seed_variation(values[None])
    assert variation is not None
    mean = mean_over(values, [variation])
    parts = components(mean, variation, 4)
    np.testing.assert_allclose([parts.questions, parts.seeds, parts.rest], [*model.vcomp, model.scale], rtol=1e-3)
    np.testing.assert_allclose([mean.estimate, mean.error], [model.fe_params.iloc[0], model.bse_fe.iloc[0]], rtol=1e-3)


def test_pooled_variation_is_the_mean_over_all_pairs_of_arms() -> None:
    values = np.random.default_rng(2).normal(size=(5, 12, 3))
    pooled = seed_variation(values)
    each = [seed_variation((values[a] - values[b])[None]) for a in range(5) for b in range(a)]
    assert pooled is not None
    for name in ("between", "within"):
        np.testing.assert_allclose(2 * getattr(pooled, name), np.mean([getattr(one, name) for one in each]))
    assert pooled.freedom == 4 * 2


def test_two_arms_that_are_trained_have_the_variation_of_their_difference(tmp_path: Path, make_students: Make) -> None:
    arms = {arm: ARMS[arm] for arm in (("full", 1.0), ("greedy", 0.7))}
    students = make_students(tmp_path / "s", drawn(40, 4, arms))
    row = only(Distillation().analyse(students).details["comparisons"], strategy="greedy", control="full")
    table = students.answers().set_index(["question_id", "strategy", "seed"])["is_correct"].astype(float).unstack([1, 2])  # noqa: PD010
    gaps = (table["greedy"] - table["full"]).to_numpy()
    own = seed_variation(gaps[None])
    assert own is not None
    mean = mean_over(gaps, [own])
    np.testing.assert_allclose([row["estimate"], row["p_value"]], [gaps.mean(), mean.p_value])
    np.testing.assert_allclose([row["ci_low"], row["ci_high"]], mean.interval(0.95))


def test_an_interval_leaves_out_zero_exactly_if_p_is_small(result: AnalysisResult) -> None:
    known = result.table[result.table["p_value"].notna()]
    outside = (known["ci_low"] > 0) | (known["ci_high"] < 0)
    assert (outside == (known["p_value"] <= 0.05)).all()
    assert 0 < outside.sum() < len(known)


def test_holm_runs_over_the_arms_beside_a_control(result: AnalysisResult) -> None:
    for _, family in result.details["comparisons"].groupby("control"):
        np.testing.assert_allclose(family["p_adjusted"], multipletests(family["p_value"], method="holm")[1])
        np.testing.assert_allclose(family["p_not_worse_adjusted"], multipletests(family["p_not_worse"], method="holm")[1])


def test_verdicts_are_what_was_planted(result: AnalysisResult) -> None:
    versus = result.details["comparisons"]
    assert set(versus.loc[versus["control"] == "answer_only", "verdict"]) == {"better"}
    assert only(versus, strategy="random_tokens", keep_ratio=0.7, control="full")["verdict"] == "worse"
    assert only(versus, strategy="greedy", keep_ratio=0.7, control="random_tokens")["verdict"] == "better"
    assert only(versus, strategy="greedy", keep_ratio=0.9, control="full")["verdict"] in {
        "undecided", "not worse by more than the margin",
    }  # fmt: skip


def test_arms_that_are_alike_are_not_called_unlike(result: AnalysisResult) -> None:
    assert not any("differ more than those" in text for text in result.warnings)


def test_the_finding_says_what_was_found_first_and_that_it_is_small(result: AnalysisResult) -> None:
    first, *_ = plain(result.finding).split(". ")
    assert first.startswith("Against other strategies at the same keep ratio, better: greedy at 0.7 against random_tokens (0.")
    assert first.endswith("in 80 questions and 3 trainings of each arm; a demonstration, and small")
    assert "At the same number of tokens generated, greedy differs from random_tokens by " in result.finding
    assert "Against students taught whole chains (accuracy " in result.finding


def test_the_terminal_shows_one_line_for_every_arm(result: AnalysisResult) -> None:
    shown = result.printed
    assert shown is not None
    assert shown["taught"].tolist() == result.details["arms"]["arm"].tolist()
    controls = ["from full", "from random_tokens", "from answer_only", "from untrained"]
    assert shown.columns[-4:].tolist() == controls
    assert only(shown, taught="greedy at 0.7")["from random_tokens"].endswith(") better")
    assert "nan" not in " ".join(shown.astype(str).to_numpy().ravel())


def test_one_training_is_a_score_test_of_these_students(tmp_path: Path, make_students: Make) -> None:
    arms = {student("full", 1.0): "ccccccwwccww", student("greedy", 0.5): "cwwccwwwcwcw"}
    result = Distillation(margin=0.2).analyse(make_students(tmp_path / "s", spelled(arms)))
    row = only(result.details["comparisons"], strategy="greedy", control="full")
    gained, lost, n = (np.array([count]) for count in (1, 4, 12))
    np.testing.assert_allclose(row["p_value"], p_different(gained, lost, n)[0])
    np.testing.assert_allclose([row["ci_low"], row["ci_high"]], np.ravel(score_interval(gained, lost, n, confidence=0.95)))
    assert row["because"].endswith("of these trainings, others may differ")
    assert any(text.startswith("one training of each arm: ") for text in result.warnings)
    assert "so that this is about these students only" in result.finding
    assert result.details["power"].empty


def test_one_question_has_no_interval(tmp_path: Path, make_students: Make) -> None:
    result = Distillation().analyse(make_students(tmp_path / "s", drawn(1, 2)))
    assert result.table[["ci_low", "ci_high", "p_value"]].isna().all(axis=None)
    assert "one question has no variation between questions; no interval and no p-value" in result.warnings
    assert "nan" not in " ".join([result.finding, *result.warnings, *result.details["comparisons"]["because"]])


@pytest.mark.parametrize("n_seeds", [1, 2])
def test_what_is_always_correct_has_an_interval_with_a_width(tmp_path: Path, make_students: Make, n_seeds: int) -> None:
    words = {
        student(name, ratio, seed): "c" * 30 for seed in range(n_seeds) for name, ratio in (("full", 1.0), ("greedy", 0.5))
    }
    result = Distillation(margin=0.2).analyse(make_students(tmp_path / "s", spelled(words)))
    row = only(result.details["comparisons"], strategy="greedy")
    assert row["estimate"] == 0
    assert -0.2 < row["ci_low"] < 0 < row["ci_high"]
    assert row["verdict"] == "not worse by more than the margin"
    assert only(result.table, strategy="greedy", term="accuracy")["ci_low"] < 1
    assert "nan" not in " ".join([result.finding, *result.warnings])


def test_losses_that_so_few_questions_may_all_lack_are_not_ruled_out(tmp_path: Path, make_students: Make) -> None:
    words = {student(name, ratio, seed): "c" * 8 for seed in range(2) for name, ratio in (("full", 1.0), ("greedy", 0.5))}
    row = only(Distillation(margin=0.1).analyse(make_students(tmp_path / "s", spelled(words))).details["comparisons"])
    assert row["p_not_worse"] >= 0.9**8
    assert row["verdict"] == "undecided"


def test_arms_that_are_cut_off_more_often_are_not_compared(tmp_path: Path, make_students: Make) -> None:
    words = {
        student(name, ratio, seed): word
        for seed in range(2)
        for name, ratio, word in (
            ("full", 1.0, "cwcwcccwwccw" * 2), ("greedy", 0.5, "cllwcllwlccl" * 2), ("greedy", 0.8, "ccwccwcwccwc" * 2),
        )
    }  # fmt: skip
    result = Distillation().analyse(make_students(tmp_path / "s", spelled(words)))
    row = only(result.details["comparisons"], strategy="greedy", keep_ratio=0.5)
    assert row["verdict"] == "not compared: truncation differs"
    assert np.isnan(row["estimate"])
    assert plain(row["because"]).startswith("50.0 % of answers are cut off, 0.0 % of full")
    assert any("not compared, since" in text and "greedy at 0.5 with full" in text for text in result.warnings)
    assert "greedy at 0.5" not in set(result.details["curves"]["arm"])
    assert only(result.details["comparisons"], strategy="greedy", keep_ratio=0.8)["verdict"] == "undecided"


def test_questions_and_students_that_are_missing_are_counted(tmp_path: Path, make_students: Make) -> None:
    answers = drawn(40, 3)
    del answers[student("full", 1.0, 1)]["q3"]
    late = answers[student("greedy", 0.9, 2)]
    for place in range(20):
        del late[f"q{place}"]
    students = make_students(tmp_path / "s", answers)
    students.answers_file(student("greedy", 0.7, 2)).unlink()
    result = Distillation().analyse(students)
    assert result.exclusions == {
        "students_without_answers": 1,
        "students_still_answering": 1,
        "students_of_a_seed_that_some_arm_lacks": 4,
        "questions_that_some_student_lacks": 1,
    }
    assert set(result.details["comparisons"]["n_questions"]) == {39}
    assert set(result.details["comparisons"]["n_seeds"]) == {2}
    kept = {who: {q: given for q, given in of_one.items() if q != "q3"} for who, of_one in drawn(40, 2).items()}
    assert len(kept) == 1 + 2 * len(ARMS)
    assert sum("left out" in text for text in result.warnings) == 2


def test_answers_in_another_order_and_with_other_ids_are_the_same(
    tmp_path: Path, make_students: Make, students: Students, result: AnalysisResult
) -> None:
    renamed = {
        who: {f"other-{name}": given for name, given in reversed(of_one.items())} for who, of_one in drawn(80, 3).items()
    }
    again = Distillation(margin=0.1).analyse(make_students(tmp_path / "s", renamed))
    pd.testing.assert_frame_equal(again.table, result.table)
    assert again.finding == result.finding


def test_swapping_two_strategies_turns_their_difference_round(tmp_path: Path, make_students: Make) -> None:
    swapped = {("greedy", 0.7): "random_tokens", ("random_tokens", 0.7): "greedy"}
    answers = {
        student(swapped.get((who.arm.strategy, who.arm.keep_ratio), who.arm.strategy), who.arm.keep_ratio, who.seed): given
        for who, given in drawn(50, 2).items()
    }
    rows = [
        only(Distillation().analyse(made).details["comparisons"], strategy="greedy", keep_ratio=0.7, control="random_tokens")
        for made in (make_students(tmp_path / "a", drawn(50, 2)), make_students(tmp_path / "b", answers))
    ]
    np.testing.assert_allclose(rows[0]["estimate"], -rows[1]["estimate"])
    np.testing.assert_allclose(rows[0]["ci_low"], -rows[1]["ci_high"])
    np.testing.assert_allclose(rows[0]["p_value"], rows[1]["p_value"])


def on_curves(tokens: np.ndarray, accuracy: np.ndarray, n_lengths: int = 2001) -> tuple[float, float, float]:
    """Mean difference of two curves, (2, arms) each, over the lengths that both have."""
    low, high = tokens[:, 0].max(), tokens[:, -1].min()
    lengths = np.linspace(low, high, n_lengths)
    gap = np.subtract(*(np.interp(lengths, tokens[each], accuracy[each]) for each in range(2)))
    return float(np.trapezoid(gap, lengths) / (high - low)), float(low), float(high)


def curve_values(students: Students) -> tuple[np.ndarray, np.ndarray]:
    """Tokens and correctness, (2 strategies, 3 arms, questions, seeds)."""
    answers = students.answers().sort_values(["question_id", "seed"])
    n_questions = answers["question_id"].nunique()
    points = [
        ("full", 1.0) if ratio == 1 else (strategy, ratio)
        for strategy in ("greedy", "random_tokens")
        for ratio in (0.7, 0.9, 1)
    ]
    tokens, correct = (
        np.array([of(answers, strategy=point[0], keep_ratio=point[1])[name].to_numpy(dtype=float) for point in points])
        for name in ("n_tokens", "is_correct")
    )
    shape = (2, 3, n_questions, -1)
    return tokens.reshape(shape), correct.reshape(shape)


def test_the_difference_at_the_same_length_is_read_on_the_lines_between_arms(
    students: Students, result: AnalysisResult
) -> None:
    tokens, correct = curve_values(students)
    gap, low, high = on_curves(tokens.mean(axis=(2, 3)), correct.mean(axis=(2, 3)))
    mean, *at = result.details["same_length"].to_dict("records")
    np.testing.assert_allclose([mean["tokens_low"], mean["tokens_high"]], [low, high])
    np.testing.assert_allclose(mean["estimate"], gap, atol=2e-4)
    np.testing.assert_allclose([row["tokens"] for row in at], np.linspace(low, high, 5))
    for row in at:
        pair = [np.interp(row["tokens"], tokens.mean(axis=(2, 3))[each], correct.mean(axis=(2, 3))[each]) for each in (0, 1)]
        np.testing.assert_allclose(row["estimate"], pair[0] - pair[1], atol=1e-12)


def test_its_error_is_that_of_resampled_questions(tmp_path: Path, make_students: Make) -> None:
    students = make_students(tmp_path / "s", drawn(200, 1))
    mean = Distillation().analyse(students).details["same_length"].iloc[0]
    tokens, correct = curve_values(students)
    rng = np.random.default_rng(0)
    resampled = []
    for _ in range(400):
        chosen = rng.integers(0, 200, 200)
        resampled.append(on_curves(tokens[:, :, chosen].mean(axis=(2, 3)), correct[:, :, chosen].mean(axis=(2, 3)), 101)[0])
    np.testing.assert_allclose((mean["ci_high"] - mean["ci_low"]) / 2 / 1.972, np.std(resampled), rtol=0.1)


def test_lengths_that_do_not_overlap_are_said_in_words(tmp_path: Path, make_students: Make) -> None:
    arms = {
        ("greedy", 0.7): (0.5, 20),
        ("greedy", 0.9): (0.6, 25),
        ("random_tokens", 0.7): (0.2, 60),
        ("random_tokens", 0.9): (0.3, 70),
    }
    result = Distillation().analyse(make_students(tmp_path / "s", drawn(30, 2, arms)))
    row = only(result.details["same_length"])
    assert np.isnan(row["estimate"])
    assert re.fullmatch(r"one generates (59|60) tokens or more, the other (24|25) or fewer: no overlap", row["because"])
    assert f"same generated length: {row['because']}" in result.warnings
    assert "At the same generated length nothing can be compared" in result.finding


def test_more_trainings_need_fewer_questions(result: AnalysisResult) -> None:
    for _, rows in result.details["power"].groupby(["strategy", "keep_ratio", "control_arm"]):
        needed = rows["n_questions_needed"].to_numpy()
        assert (needed[1:] <= needed[:-1]).all()
    assert set(result.details["power"]["effect"]) == {0.1}


def test_questions_needed_are_those_of_a_t_test_if_trainings_do_not_differ() -> None:
    needed = questions_needed_with(Components(0.2, 0.0, 0.3, 4.0), 0.05, n_seeds=3, confidence=0.95)
    assert needed == questions_needed(np.sqrt(0.2 + 0.1), 0.05, confidence=0.95)


def test_no_number_of_questions_makes_up_for_trainings_that_differ() -> None:
    assert questions_needed_with(Components(0.2, 0.01, 0.3, 4.0), 0.02, n_seeds=3, confidence=0.95) == np.inf
    assert np.isnan(questions_needed_with(Components(0.0, 0.0, 0.0, 4.0), 0.02, n_seeds=3, confidence=0.95)), "nothing differs"


def test_an_arm_whose_trainings_differ_more_than_others_is_named(tmp_path: Path, make_students: Make) -> None:
    answers = drawn(80, 3)
    for place in range(80):
        answers[student("greedy", 0.7, 0)][f"q{place}"] = ("w", 44)
    said = Distillation().analyse(make_students(tmp_path / "s", answers)).warnings
    assert any(text.startswith("trainings of greedy at 0.7 differ more than those of the other arms") for text in said)


def test_undecided_answers_are_counted(tmp_path: Path, make_students: Make) -> None:
    words = {student("full", 1.0): "ccwucwcw", student("greedy", 0.5): "cuwucwcw"}
    result = Distillation().analyse(make_students(tmp_path / "s", spelled(words)))
    assert any(text.startswith("3 answers could not be judged, and count as not correct") for text in result.warnings)
    assert result.details["students"]["undecided"].tolist() == [1 / 8, 2 / 8]


@pytest.mark.parametrize("words", [{}, {student("untrained"): "cw"}])
def test_students_that_have_not_answered_are_an_error(
    tmp_path: Path, make_students: Make, words: Mapping[Student, str]
) -> None:
    students = make_students(tmp_path / "s", spelled(words or {student("full", 1.0): ""}))
    with pytest.raises(AnalysisError, match=re.escape(str(students.folder))):
        Distillation().analyse(students)


def test_arms_without_a_common_seed_are_an_error(tmp_path: Path, make_students: Make) -> None:
    words = {student("full", 1.0, 0): "cwcw", student("greedy", 0.5, 1): "cwcw"}
    with pytest.raises(AnalysisError, match="the arms have no seed in common"):
        Distillation().analyse(make_students(tmp_path / "s", spelled(words)))


@pytest.mark.parametrize("options", [{"margin": 0.0}, {"margin": 1.5}, {"confidence": 0.4}, {"confidence": 1.0}])
def test_an_option_out_of_its_range_is_refused(options: Mapping[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(options))):
        Distillation(**options)


def test_what_was_written_is_read_and_ages_with_the_answers(tmp_path: Path, make_students: Make) -> None:
    students = make_students(tmp_path / "s", drawn(30, 2))
    students.write_analysis(Distillation().analyse(students))
    read = open_students(students.folder)
    assert read.analysis("distillation").finding == Distillation().analyse(students).finding
    assert read.is_current("distillation")
    students.likelihoods_file(student("full", 1.0)).write_text("{}", encoding="utf-8")
    assert not read.is_current("distillation")


def test_a_run_is_told_how_to_make_students(tmp_path: Path, make_planted_run: Callable[..., Run], make_chains: Make) -> None:
    run = make_planted_run(tmp_path / "run", make_chains(3))
    with pytest.raises(
        MissingError, match=r"is a run, .*: reasoning-anatomy distill .* --student ID --strategies .* --out STUDENTS"
    ):
        Distillation().analyse(run)


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Run a command: exit code, output, errors."""

    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["reasoning-anatomy", *map(str, arguments)])
        code = 0
        try:
            main()
        except SystemExit as ended:
            code = int(ended.code or 0)
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


def test_the_command_analyses_students_and_names_what_reads_runs(
    tmp_path: Path, make_students: Make, call: Callable[..., tuple[int, str, str]]
) -> None:
    folder = make_students(tmp_path / "s", drawn(30, 2)).folder
    code, out, err = call("analyse", folder)
    assert (code, err) == (0, "")
    assert "\ndistillation: Against " in out
    skipped = re.findall(r"^skipped (\w+): .*holds students, and this reads a run", out, re.MULTILINE)
    assert sorted([*skipped, "distillation"]) == sorted(available("analysis"))
    assert (folder / "analyses" / "distillation" / "result.json").exists()
    code, _, err = call("analyse", folder, "--analyses", "rank_correlation")
    assert (code, err.count("\n")) == (2, 1)
    assert "holds students, and this reads a run" in err
    assert "leave it out" in call("analyse", folder, "--only", "greedy")[2]


def test_the_program_opens_students(tmp_path: Path, make_students: Make) -> None:
    folder = make_students(tmp_path / "s", drawn(30, 2)).folder
    command = [sys.executable, "-m", "analyses.distillation", str(folder), "--margin", "0.1"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == f"Wrote {folder / 'analyses' / 'distillation'}"
    assert "margin=0.1" in done.stdout


def test_which_folder_an_analysis_opens_is_read_from_its_source() -> None:
    assert {key for key, info in available("analysis").items() if info.opens == "students"} == {"distillation"}
