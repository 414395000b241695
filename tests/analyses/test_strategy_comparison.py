"""Strategies at the same achieved keep ratio, from run folder to result."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import friedmanchisquare, rankdata

from analyses._plugins import parsed
from analyses._statistics.bootstrap import bootstrap_means, resample_counts
from analyses._strategy_comparison.concentration import ratio_by_question
from analyses._strategy_comparison.curves import gather
from analyses._strategy_comparison.strategies import compared_in, reversals
from analyses.strategy_comparison import StrategyComparison
from reasoning_anatomy.errors import AnalysisError, MissingError, PluginError
from reasoning_anatomy.plugins import load
from reasoning_anatomy.run.folder import Run
from reasoning_anatomy.types import RESULT_COLUMNS, AnalysisResult

FAST = StrategyComparison(draws=499)
Make = Callable[..., Run]
Content = Sequence[tuple[str, Mapping[str, Sequence[float]]]]
NAN = float("nan")

GREEDY = "Greedy(objective='answer', most_important_first={}, keep_ratio=0.0)"
REVERSE = "greedy:most_important_first=true"
PROVENANCE = {"greedy": GREEDY.format(False), REVERSE: GREEDY.format(True)}
LEVELS = {"greedy": 0.2, REVERSE: 2.0, "random_tokens": 1.0, "random_block": 0.9}


def walks(n_questions: int, per_question: int = 2, *, levels: Mapping[str, float] = LEVELS, seed: int = 0) -> Content:
    """Curves of ten deletions that rise to about the level of their strategy."""
    rng = np.random.default_rng(seed)
    return [
        (
            f"q{question}",
            {name: 1 + np.append(0, np.cumsum(level * rng.gamma(1, 0.1, 10))) for name, level in levels.items()},
        )
        for question in range(n_questions)
        for _ in range(per_question)
    ]


@pytest.fixture(scope="module")
def four(tmp_path_factory: pytest.TempPathFactory, make_curves: Make) -> Run:
    return make_curves(tmp_path_factory.mktemp("four") / "run", walks(8), provenance=PROVENANCE)


def row(table: pd.DataFrame, **of: object) -> pd.Series:
    found = table[np.logical_and.reduce([table[name] == value for name, value in of.items()])]
    assert len(found) == 1
    return found.iloc[0]


def areas(result: AnalysisResult) -> pd.DataFrame:
    return result.table[result.table["term"] == "area"].set_index("strategy")


def test_areas_and_rises_are_those_of_numpy(four: Run) -> None:
    result = FAST.analyse(four)
    for values in result.details["per_chain"].to_dict("records"):
        path = four.path(values["chain_id"], values["strategy"])
        rise, deleted = path.nll_answer - path.nll_answer[0], np.arange(11) / 10
        assert values["area"] == pytest.approx(np.trapezoid(rise, deleted), abs=1e-13)
        assert [values[f"rise_{ratio}"] for ratio in ("0.9", "0.7", "0.5")] == pytest.approx(rise[[1, 3, 5]], abs=1e-13)
    means = (
        result.details["per_chain"].groupby(["strategy", "question_id"])[["area", "rise_0.7"]].mean().groupby("strategy").mean()
    )
    assert areas(result)["estimate"].to_dict() == pytest.approx(means["area"].to_dict())
    at = result.table[result.table["term"] == "rise at keep ratio 0.7"].set_index("strategy")["estimate"]
    assert at.to_dict() == pytest.approx(means["rise_0.7"].to_dict())


def test_pairs_are_a_plain_loop_over_questions(four: Run) -> None:
    result = FAST.analyse(four)
    per_question = result.details["per_chain"].pivot_table("area", "question_id", "strategy")
    counts = resample_counts(8, draws=499, rng=np.random.default_rng(0))
    p_values = []
    for first, second in combinations(LEVELS, 2):
        expected = bootstrap_means((per_question[first] - per_question[second]).to_numpy()[:, None], counts, confidence=0.95)
        found = row(result.details["pairs"], first=first, second=second, term="area")
        assert found[["estimate", "ci_low", "ci_high", "p_value"]].tolist() == pytest.approx(
            [expected.estimate[0], expected.ci_low[0], expected.ci_high[0], expected.p_value[0]]
        )
        p_values.append(expected.p_value[0])
    holm = np.minimum(1, np.maximum.accumulate(np.sort(p_values) * np.arange(6, 0, -1)))
    of_area = result.details["pairs"].query("term == 'area'")
    assert np.sort(of_area["p_adjusted"]) == pytest.approx(holm)
    test = row(result.details["friedman"], term="area")
    scipy = friedmanchisquare(*per_question[list(LEVELS)].to_numpy().T)
    assert (test["statistic"], test["p_value"], test["freedom"]) == pytest.approx((scipy.statistic, scipy.pvalue, 3))
    ranks = dict(zip(LEVELS, rankdata(per_question[list(LEVELS)], axis=1).mean(axis=0), strict=True))
    assert result.details["strategies"].set_index("strategy")["mean_rank"].to_dict() == pytest.approx(ranks)


def test_each_baseline_has_a_family_of_its_own(four: Run) -> None:
    result = FAST.analyse(four)
    for baseline in ("random_tokens", "random_block"):
        family = result.table[result.table["term"] == f"area less {baseline}"]
        assert set(family["strategy"]) == {"greedy", REVERSE}
        low, high = np.sort(family["p_value"])
        assert sorted(family["p_adjusted"]) == pytest.approx([min(1, 2 * low), min(1, max(2 * low, high))])
        pair = row(result.details["pairs"], first=REVERSE, second=baseline, term="area")
        assert row(family, strategy=REVERSE)["estimate"] == pair["estimate"]
    roles = result.details["strategies"].set_index("strategy")["role"].to_dict()
    assert roles == {"greedy": "strategy", REVERSE: "worst first", "random_tokens": "baseline", "random_block": "baseline"}


def test_the_difference_from_a_baseline_listed_before_is_turned(tmp_path: Path, make_curves: Make) -> None:
    levels = {"random_tokens": 1.0, "greedy": 0.2}
    result = FAST.analyse(make_curves(tmp_path, walks(8, levels=levels)))
    pair = row(result.details["pairs"], first="random_tokens", second="greedy", term="area")
    less = row(result.table, strategy="greedy", term="area less random_tokens")
    assert less[["estimate", "ci_low", "ci_high"]].tolist() == [-pair["estimate"], -pair["ci_high"], -pair["ci_low"]]
    assert less["ci_high"] < 0


def test_paths_of_whole_steps_are_read_on_the_line_between_the_points_where_they_were_evaluated(
    tmp_path: Path, make_curves: Make
) -> None:
    tokens = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10]
    steps = [0, NAN, NAN, NAN, 2, NAN, 4, NAN, NAN, NAN, NAN]  # whole steps end after 4 and 6 of 10 tokens
    run = make_curves(
        tmp_path, [("a", {"greedy": tokens, "random_steps": steps})] * 2 + [("b", {"greedy": tokens, "random_steps": steps})]
    )
    result = FAST.analyse(run)
    found = result.details["strategies"].set_index("strategy").loc["random_steps"]
    assert found[["rise_0.9", "rise_0.7", "rise_0.5"]].tolist() == pytest.approx([0.5, 1.5, 3.0])
    assert found["area"] == pytest.approx((0.4 * 2 / 2 + 0.2 * 3) / 0.6)  # a triangle and a trapezoid, down to 0.4
    curve = result.details["curves"].query("strategy == 'random_steps'").set_index("keep_ratio")
    assert curve.index.min() == 0.4
    assert curve["gap"].loc[[1.0, 0.8, 0.6, 0.5, 0.4]].tolist() == pytest.approx([0, 0.4, 0, 0.2, 0])
    assert any("random_steps 0.40" in said for said in result.warnings)


def test_the_common_range_is_what_nine_tenths_of_the_chains_reach(tmp_path: Path, make_curves: Make) -> None:
    long, half, short = [0.0, *range(10)], [0.0, *range(5)], [0.0, 1.0]
    content = [(f"q{number}", {"greedy": long, "random_tokens": half}) for number in range(9)]
    run = make_curves(tmp_path / "one", [*content, ("q9", {"greedy": short, "random_tokens": long})])
    result = FAST.analyse(run)
    assert result.provenance["down_to"] == 0.5
    assert result.exclusions == {"not_pruned_to_0.5": 1}
    assert result.table["n_chains"].max() == 9
    below = dataclasses.replace(FAST, down_to=0.9, keep_ratios=(0.9, 0.5)).analyse(run)
    assert below.exclusions == {}
    assert row(below.table, strategy="greedy", term="rise at keep ratio 0.5")["n_questions"] == 0
    assert "there is no rise at keep ratio 0.5: the chains are compared down to the keep ratio 0.9 only" in " ".join(
        below.warnings
    )
    with pytest.raises(AnalysisError, match=r"none of 10 chains can be used \(10 not_pruned_to_0.2\)"):
        dataclasses.replace(FAST, down_to=0.2).analyse(run)


def test_a_strategy_that_deletes_nothing_is_named(tmp_path: Path, make_curves: Make) -> None:
    content = [(f"q{number}", {"greedy": [0, 1, 2], "traac": [0, 1] if number else [0, 1, 2]}) for number in range(4)]
    run = make_curves(tmp_path, content, n_tokens=30)
    with pytest.raises(AnalysisError, match=r"no keep ratio to which all strategies .* traac deletes least"):
        FAST.analyse(run)


def test_seeds_of_one_strategy_are_averaged(tmp_path: Path, make_curves: Make) -> None:
    seeds = {"random_tokens:seed=1": 1.0, "random_tokens": 1.0, "random_tokens:seed=2,keep_ratio=0.5": 1.0}
    options = "RandomTokens(seed={}, keep_ratio={})"
    provenance = {
        "random_tokens:seed=1": options.format(1, 0.0),
        "random_tokens": options.format(0, 0.0),
        "random_tokens:seed=2,keep_ratio=0.5": options.format(2, 0.5),
    }
    content = walks(4, levels={"greedy": 0.5, **seeds})
    run = make_curves(tmp_path, content, provenance=provenance)
    result = FAST.analyse(run)
    found = result.details["strategies"].set_index("strategy")["n_paths"].to_dict()
    assert found == {"greedy": 1, "random_tokens": 2, "random_tokens:seed=2,keep_ratio=0.5": 1}
    both = [np.trapezoid(np.mean([curves[label] for label in list(seeds)[:2]], axis=0) - 1, dx=0.1) for _, curves in content]
    assert areas(result).loc["random_tokens", "estimate"] == pytest.approx(np.mean(both))


def test_what_a_repr_says() -> None:
    assert parsed("Greedy(objective='answer', keep_ratio=0.5)") == ("Greedy", {"objective": "'answer'", "keep_ratio": "0.5"})
    assert parsed("imported from a file") == ("imported from a file", {})
    assert parsed("<Mine at 0>") == ("<Mine at 0>", {})
    assert parsed("mine") == ("mine", {})


def test_a_reverse_path_goes_with_its_counterpart_however_far_it_goes(tmp_path: Path, make_curves: Make) -> None:
    def of(objective: str, worst: bool, keep: float) -> str:
        return f"Greedy(objective='{objective}', most_important_first={worst}, keep_ratio={keep})"

    provenance = {
        "a": of("answer", False, 0.0),
        "b": of("answer", True, 0.5),
        "c": of("joint", False, 0.0),
        "d": of("influence", True, 0.0),
    }
    run = make_curves(tmp_path, walks(3, levels=dict.fromkeys("abcd", 1.0)), provenance=provenance)
    pairs = reversals(compared_in(run, ()), run.manifest.configuration.strategies)
    assert [(pair.best_first, pair.worst_first) for pair in pairs] == [("a", "b")]


def test_concentration_is_what_lies_between_best_and_worst_first(four: Run) -> None:
    result = FAST.analyse(four)
    area = areas(result)["estimate"]
    found = result.details["concentration"].set_index("term")
    assert set(found["best_first"]) == {"greedy"}
    expected = {
        "worst first - best first": area[REVERSE] - area["greedy"],
        "random_tokens - best first": area["random_tokens"] - area["greedy"],
        "worst first - random_block": area[REVERSE] - area["random_block"],
        "share of the area of worst first that best first avoids": 1 - area["greedy"] / area[REVERSE],
        "place of random_tokens between best first (0) and worst first (1)": (area["random_tokens"] - area["greedy"])
        / (area[REVERSE] - area["greedy"]),
    }
    assert {term: found.loc[term, "estimate"] for term in expected} == pytest.approx(expected)
    distances = found[found["p_value"].notna()]
    assert len(distances) == 5
    assert distances["p_adjusted"].max() <= 5 * distances["p_value"].max()


def test_nothing_is_divided_by_a_distance_that_is_not_known(tmp_path: Path, make_curves: Make) -> None:
    levels = {"greedy": 1.0, REVERSE: 1.0, "random_tokens": 1.0}
    result = FAST.analyse(make_curves(tmp_path, walks(6, levels=levels), provenance=PROVENANCE))
    shares = result.details["concentration"].query("p_value.isna()")
    assert shares["estimate"].isna().all()
    assert shares["n_questions"].tolist() == [0, 0]
    assert "it is open whether it matters which tokens go first" in result.finding


def test_a_ratio_by_question_is_a_jackknife_loop() -> None:
    rng = np.random.default_rng(0)
    top, bottom = rng.random(7), 2 + rng.random(7)
    whole = top.mean() / bottom.mean()
    without = np.array([np.delete(top, i).mean() / np.delete(bottom, i).mean() for i in range(7)])
    pull = 6 * (whole - without)
    assert ratio_by_question(top, bottom)[:, 0] == pytest.approx(whole + pull - pull.mean())


def test_the_order_of_chains_and_what_is_added_to_the_nll_do_not_matter(tmp_path: Path, make_curves: Make) -> None:
    content = walks(6)
    first = FAST.analyse(make_curves(tmp_path / "a", content)).table
    shifted = [(question, {name: np.array(nll) + 3 for name, nll in curves.items()}) for question, curves in content[::-1]]
    second = FAST.analyse(make_curves(tmp_path / "b", shifted)).table
    same = ["strategy", "term", "estimate", "n_questions", "n_chains", "n_tokens"]
    pd.testing.assert_frame_equal(first[same], second[same], rtol=1e-10)
    swapped = [content[number + 1 - 2 * (number % 2)] for number in range(len(content))]  # the two chains of each question
    third = FAST.analyse(make_curves(tmp_path / "c", swapped)).table
    pd.testing.assert_frame_equal(first, third, rtol=1e-10)


def test_another_nll_and_a_selection_of_strategies_can_be_compared(four: Run) -> None:
    whole = areas(FAST.analyse(four))["estimate"]
    joint = areas(dataclasses.replace(FAST, objective="joint", strategies=("greedy", "random_block")).analyse(four))["estimate"]
    assert joint.to_dict() == pytest.approx({name: 2 * whole[name] for name in ("greedy", "random_block")})


def test_arrays_by_chain_are_there_for_other_analyses(four: Run) -> None:
    curves = gather(four, compared_in(four, ("greedy", "random_block")), objective="answer", ratios=(0.5,), down_to=0.5)
    assert curves.area.shape == (16, 2)
    assert curves.rise_at.shape == (16, 2, 1)
    assert curves.rise.shape == (16, 2, 11)
    assert curves.names == ["greedy", "random_block"]


def test_what_cannot_be_compared_is_counted_by_reason(tmp_path: Path, make_curves: Make) -> None:
    curve = [0.0, 1, 2, 3, 4, 5, 6]
    content = [
        *((f"q{number}", {"greedy": curve, "random_tokens": curve[::-1]}) for number in range(3)),
        ("lacks", {"greedy": curve}),
        ("none", {}),
        ("order", {"greedy": curve, "random_tokens": [NAN] * 7}),
        ("start", {"greedy": curve, "random_tokens": [1.0, *[NAN] * 6]}),
    ]
    result = FAST.analyse(make_curves(tmp_path, content))
    assert result.exclusions == {"not_evaluated": 2, "not_measured": 1, "strategy_not_measured": 1}
    assert dict(result.details["left_out"].to_numpy().tolist()) == result.exclusions
    assert "4 of 7 chains of the run are not compared" in " ".join(result.warnings)


def test_nothing_usable_says_why(tmp_path: Path, make_curves: Make) -> None:
    run = make_curves(tmp_path, [("q", {"greedy": [0, 1], "random_tokens": [0, 1]})], n_tokens=4)
    with pytest.raises(AnalysisError, match=r"none of 1 chains can be used \(1 fewer_than_5_tokens\)"):
        FAST.analyse(run)


def test_one_strategy_cannot_be_compared(tmp_path: Path, make_curves: Make) -> None:
    run = make_curves(tmp_path, [("q", {"greedy": [0, 1, 2]})])
    with pytest.raises(
        MissingError, match=r"has one strategy, greedy, and nothing to compare it with; add another: .*random_tokens"
    ):
        FAST.analyse(run)
    with pytest.raises(MissingError, match="has no strategy 'h2o'; it has greedy"):
        dataclasses.replace(FAST, strategies=("greedy", "h2o")).analyse(run)


@pytest.mark.parametrize("n_questions", [1, 2, 3])
def test_few_questions_have_an_answer_and_a_warning(tmp_path: Path, make_curves: Make, n_questions: int) -> None:
    result = FAST.analyse(make_curves(tmp_path, walks(n_questions), provenance=PROVENANCE))
    assert result.table["estimate"].notna().all()
    assert areas(result)["n_questions"].tolist() == [n_questions] * 4
    said = " ".join(result.warnings)
    if n_questions == 1:
        assert result.table[["ci_low", "ci_high", "p_value"]].isna().all(axis=None)
        assert "one question has no variation between questions" in said
        assert result.details["friedman"]["p_value"].isna().all()
    else:
        assert f"{n_questions} questions are few" in said
    assert "nan" not in result.finding.lower() + said.lower()


def test_curves_that_never_rise_are_tied_and_said_to_be(tmp_path: Path, make_curves: Make) -> None:
    flat = dict.fromkeys(LEVELS, [1.0] * 11)
    result = FAST.analyse(make_curves(tmp_path, [(f"q{number}", flat) for number in range(5)], provenance=PROVENANCE))
    assert (result.table["estimate"] == 0).all()
    assert result.details["friedman"]["p_value"].isna().all()
    assert "all 5 questions have the same value" in " ".join(result.warnings)
    assert "nan" not in result.finding.lower()


def test_result_has_the_promised_shape_and_can_be_read_back(four: Run) -> None:
    result = FAST.analyse(four)
    assert tuple(result.table.columns) == ("strategy", "role", *RESULT_COLUMNS)
    assert set(result.details) == {
        "strategies", "pairs", "friedman", "curves", "concentration", "between_questions", "per_chain", "left_out",
    }  # fmt: skip
    assert result.printed["strategy"].tolist() == areas(result)["estimate"].sort_values().index.tolist()
    assert result.config == repr(FAST)
    files = [{path.name: path.read_bytes() for path in four.write_analysis(FAST.analyse(four)).iterdir()} for _ in range(2)]
    assert files[0] == files[1]
    back = four.analysis("strategy_comparison")
    pd.testing.assert_frame_equal(back.table, result.table, check_dtype=False, check_exact=True)
    assert back.finding == result.finding


def test_the_finding_names_the_best_and_how_it_compares_with_chance(four: Run) -> None:
    result = FAST.analyse(four)
    first, second = result.finding.replace("\N{MINUS SIGN}", "-").replace("\N{NO-BREAK SPACE}", " ").split("\n")
    tokens, block = (row(result.table, strategy="greedy", term=f"area less random_{kind}") for kind in ("tokens", "block"))
    gap = f"{tokens['estimate']:.2f} (95 % interval {tokens['ci_low']:.2f} to {tokens['ci_high']:.2f}, only"
    assert first.startswith(
        "Clear: greedy loses less than random_tokens, the best baseline: difference of the mean rise of the nll between keep "
        f"ratios 1 and 0, in nats per token, {gap}"
    )
    assert (
        ". Of 4 strategies, greedy loses least: mean rise of the nll between keep ratios 1 and 0, in nats per token, 0."
        in first
    )
    assert (
        f"; its difference from random_block {block['estimate']:.2f} ({block['ci_low']:.2f} to {block['ci_high']:.2f})" in first
    )
    n_found = int((result.details["pairs"].query("term == 'area'")["p_adjusted"] <= 0.05).sum())
    assert first.endswith(f"corrected for their number, {n_found} of 6 pairs differ.")
    assert second.startswith("Clear: it matters which tokens go first: greedy and its reverse are ")
    assert "between the two (0 and 1) lie random_tokens 0." in second


def test_a_rise_below_zero_is_said_to_be_a_gain(tmp_path: Path, make_curves: Make) -> None:
    content = walks(8, levels={"greedy": -0.2, "random_tokens": 1.0})
    run = make_curves(tmp_path / "run", content, provenance={"greedy": PROVENANCE["greedy"]})
    found = FAST.analyse(run)
    assert " (below 0: its deletions make the answer likelier)" in found.finding
    assert "below 0" not in FAST.analyse(make_curves(tmp_path / "other", walks(8))).finding


def test_what_deletes_by_the_likelihood_that_it_is_judged_by_is_named(four: Run) -> None:
    said = [each for each in FAST.analyse(four).warnings if "built in" in each]
    assert len(said) == 1
    assert said[0].startswith(f"greedy, {REVERSE}: deletes by the likelihood of the answer, so that it differs from chance is ")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"down_to": 1.0}, "down_to=1.0: expected a share from 0 to below 1"),
        ({"keep_ratios": (1.0,)}, r"keep_ratios=\(1.0,\): expected shares"),
        ({"keep_ratios": ()}, r"keep_ratios=\(\)"),
        ({"keep_ratios": (0.5, 0.5)}, "name each keep ratio once"),
        ({"draws": 3}, "draws=3"),
    ],
)
def test_wrong_options_are_refused(options: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        StrategyComparison(**options)


def test_options_can_be_written_in_a_spec() -> None:
    assert load("analysis", "strategy_comparison:down_to=0.3,objective=joint") == StrategyComparison(
        down_to=0.3, objective="joint"
    )
    with pytest.raises(PluginError, match="down_to=2"):
        load("analysis", "strategy_comparison:down_to=2.0")


def sweep(chains: int) -> list[dict[str, object]]:
    """Answers of two strategies: step_percentile has deleted 20 and 60 of 100 tokens, random_steps 40 and 60."""
    rows = []
    for number in range(chains):
        for strategy, lengths in (("step_percentile", (100, 80, 40)), ("random_steps", (100, 60, 40))):
            for threshold, tokens in zip((0.0, 0.3, 0.6), lengths, strict=True):
                for sample in range(2):
                    is_right = tokens == 100 or (strategy == "step_percentile" and tokens == 80) or (number + sample) % 2 == 0
                    rows.append(
                        {
                            "chain_id": f"c{number}", "strategy": strategy, "threshold": threshold, "tokens_after": tokens,
                            "sample": sample, "verdict": "correct" if is_right else "wrong",
                        }
                    )  # fmt: skip
    return rows


def test_accuracy_is_compared_at_the_achieved_ratio(tmp_path: Path, make_curves: Make, add_answers: Make) -> None:
    run = add_answers(make_curves(tmp_path, walks(3)), sweep(6))
    details = dataclasses.replace(FAST, keep_ratios=(0.8, 0.5, 0.3)).analyse(run).details
    found = details["accuracy"].set_index(["strategy", "keep_ratio"])
    # half of the answers are right at 60 and 40 tokens: 1, then on the line from 1 at 80 to 0.5 at 40
    assert found.loc["step_percentile", "accuracy"].tolist() == pytest.approx([1, 0.625, NAN], nan_ok=True)
    assert found.loc["random_steps", "accuracy"].tolist() == pytest.approx([0.75, 0.5, NAN], nan_ok=True)
    assert found["n_chains"].tolist() == [6, 6, 0] * 2
    pairs = details["accuracy_pairs"].set_index("keep_ratio")
    assert pairs["difference"].tolist() == pytest.approx([0.25, 0.125, NAN], nan_ok=True)
    assert pairs["p_adjusted"].tolist() == pytest.approx(pairs["p_value"].tolist(), nan_ok=True)  # a family of one
    assert pairs["n_questions"].tolist() == [3, 3, 0]


def test_accuracy_is_not_read_where_more_answers_are_cut_off(tmp_path: Path, make_curves: Make, add_answers: Make) -> None:
    rows = [
        {**row, "finish_reason": "length" if row["strategy"] == "random_steps" and row["threshold"] == 0.3 else "eos"}
        for row in sweep(16)
    ]
    details = dataclasses.replace(FAST, keep_ratios=(0.8, 0.5, 0.4)).analyse(
        add_answers(make_curves(tmp_path, walks(8)), rows)
    ).details  # fmt: skip
    found = details["accuracy"].set_index(["strategy", "keep_ratio"])["accuracy"]
    assert found["random_steps"].isna().tolist() == [True, True, False]
    assert found["step_percentile"].notna().all()


def test_answers_without_a_gold_answer_are_said_not_to_be_compared(
    tmp_path: Path, make_curves: Make, add_answers: Make
) -> None:
    rows = [{**row, "verdict": None} for row in sweep(6)]
    result = FAST.analyse(add_answers(make_curves(tmp_path, walks(3)), rows))
    assert "accuracy" not in result.details
    assert any(said.startswith("accuracy is not compared: ") and "gold answer" in said for said in result.warnings)
