"""How long each kind of token is left: from run folder to result."""

from collections.abc import Callable
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from statsmodels.stats.multitest import multipletests

from analyses._statistics.label_noise import differences, kinds_of_error, mislabelled
from analyses._statistics.position import MOST_INFLATION, contrasts_given_position, contrasts_of_means, position_terms
from analyses.category_survival import CategorySurvival
from reasoning_anatomy.categories import CATEGORIES, LINGUISTIC_SCAFFOLDING, SCHEMES, SYMBOLIC_COMPUTATION
from reasoning_anatomy.errors import AnalysisError, MissingError
from reasoning_anatomy.run.folder import Run
from reasoning_anatomy.types import RESULT_COLUMNS, AnalysisResult, PruningPath

FAST = CategorySurvival(draws=499)
CLASSES = f"{SYMBOLIC_COMPUTATION} - {LINGUISTIC_SCAFFOLDING}"
POSITION, SURPRISAL = " given position", " given position and surprisal"
Make = Callable[..., Run]


def mathematics_late(rows: pd.DataFrame, rng: np.random.Generator) -> np.ndarray:
    """Tokens that go late are mathematics, mostly; those that were never deleted are among them."""
    is_late = rows["deletion_step_greedy"].fillna(len(rows)).to_numpy() > 0.4 * len(rows)
    return np.where(rng.random(len(rows)) < 0.5, rng.integers(0, 6, len(rows)), np.where(is_late, 0, 5))


def mostly_by_chance(rows: pd.DataFrame, rng: np.random.Generator) -> np.ndarray:
    return np.where(rng.random(len(rows)) < 0.1, -1, rng.integers(0, 6, len(rows)))


@pytest.fixture(scope="module")
def run(
    tmp_path_factory: pytest.TempPathFactory, make_planted_run: Make, make_chains: Make, add_labels: Make, add_surprisal: Make
) -> Run:
    made = make_planted_run(tmp_path_factory.mktemp("run"), make_chains(10, 2, 40), keep=0.25, seed=1)
    made = add_surprisal(made, lambda rows: np.random.default_rng(len(rows)).standard_exponential(len(rows)))
    return add_labels(made, mostly_by_chance)


@pytest.fixture(scope="module")
def result(run: Run) -> AnalysisResult:
    return FAST.analyse(run)


@pytest.fixture(scope="module")
def tokens(run: Run) -> pd.DataFrame:
    tokens = run.tokens()
    n = tokens.groupby("chain_id")["position"].transform("size")
    is_deleted = tokens["deletion_step_greedy"].notna()
    return tokens.assign(is_deleted=is_deleted, time=tokens["deletion_step_greedy"].fillna(30).astype(float) / n)


def test_restricted_means_are_those_of_statsmodels_by_chain_then_question(
    result: AnalysisResult, tokens: pd.DataFrame, curve_of: Make, area: Callable[..., float]
) -> None:
    found = result.table.set_index(["scheme", "term"])
    pairs = result.details["between_categories"].set_index("term")
    assert result.provenance["horizons"] == {"rules / greedy": 0.75}
    for scheme, names in SCHEMES.items():
        group = tokens["category_rules"].map(dict(zip(CATEGORIES, names, strict=True)))
        rows = tokens.assign(group=group).dropna(subset="group").groupby(["question_id", "chain_id", "group"])
        means = rows.apply(
            lambda part: area(curve_of(part["time"].to_numpy(), part["is_deleted"].to_numpy()), part["time"].to_numpy(), 0.75)
        )
        chain = means.reset_index(name="mean").pivot_table(index=["question_id", "chain_id"], columns="group", values="mean")
        for name in chain:
            assert found.loc[(scheme, name), "estimate"] == pytest.approx(chain[name].groupby("question_id").mean().mean())
            assert np.isnan(found.loc[(scheme, name), "p_value"])
        for first, second in combinations(dict.fromkeys(names), 2):
            difference = (chain[first] - chain[second]).groupby("question_id").mean()
            shown = pairs.loc[f"{first} - {second}"] if scheme == "categories" else found.loc[(scheme, f"{first} - {second}")]
            assert shown["estimate"] == pytest.approx(difference.mean(), abs=1e-12)
            assert shown["ci_low"] <= shown["estimate"] <= shown["ci_high"]


def test_curves_are_those_of_statsmodels_by_chain_then_question(
    result: AnalysisResult, tokens: pd.DataFrame, curve_of: Callable[..., Callable[[np.ndarray], np.ndarray]]
) -> None:
    curves = result.details["curves"].query("scheme == 'categories' and group == 'FUNCTION'")
    times = curves["time"].to_numpy()
    assert times.tolist() == pytest.approx([*np.arange(0.05, 0.75, 0.05), 0.75])
    own = tokens[tokens["category_rules"] == "FUNCTION"]
    by_chain = own.groupby(["question_id", "chain_id"]).apply(
        lambda part: pd.Series(curve_of(part["time"].to_numpy(), part["is_deleted"].to_numpy())(times + 1e-9))
    )
    np.testing.assert_allclose(curves["estimate"], by_chain.groupby("question_id").mean().mean(), atol=1e-12)
    pooled = curve_of(own["time"].to_numpy(), own["is_deleted"].to_numpy())
    np.testing.assert_allclose(curves["pooled"], pooled(times + 1e-9), atol=1e-12)
    shown = curves.dropna(subset="band_low")
    assert len(shown) > 5
    assert (shown["band_low"] <= shown["ci_low"] + 0.02).all(), "a band is wider than an interval at one time"
    assert (np.diff(curves["estimate"]) <= 0).all()


def test_retention_is_the_share_of_a_kind_less_that_of_all(result: AnalysisResult, tokens: pd.DataFrame) -> None:
    retention = result.details["retention"]
    assert set(retention["keep_ratio"]) == {0.9, 0.7, 0.5, 0.3}
    for ratio in (0.9, 0.5, 0.3):
        kept = tokens.assign(kept=~(tokens["is_deleted"] & (tokens["time"] <= 1 - ratio + 1e-9)))
        chain = kept[kept["category_rules"] == "FUNCTION"].groupby(["question_id", "chain_id"])["kept"].mean() - ratio
        row = retention.query("keep_ratio == @ratio and term == 'FUNCTION' and scheme == 'categories'").iloc[0]
        assert row["estimate"] == pytest.approx(chain.groupby("question_id").mean().mean(), abs=1e-12)
        assert row["achieved"] == pytest.approx(ratio)
        assert row["kept"] == pytest.approx(ratio + row["estimate"])
    for _, family in retention.groupby(["scheme", retention["term"].str.endswith(POSITION)]):
        np.testing.assert_allclose(family["p_adjusted"], multipletests(family["p_value"], method="holm")[1], rtol=1e-12)


def test_differences_are_corrected_within_their_scheme_and_ending(result: AnalysisResult) -> None:
    pairs = result.details["between_categories"]
    assert len(pairs) == 45
    for number in range(3):
        part = pairs.iloc[15 * number : 15 * (number + 1)]
        np.testing.assert_allclose(part["p_adjusted"], multipletests(part["p_value"], method="holm")[1], rtol=1e-12)
    classes = result.table.query("scheme == 'classes'").dropna(subset="p_value")
    assert classes["term"].tolist() == [CLASSES, CLASSES + POSITION, CLASSES + SURPRISAL]
    assert classes["p_adjusted"].tolist() == classes["p_value"].tolist(), "one difference is a family of one"


def test_result_has_the_promised_shape(run: Run, result: AnalysisResult) -> None:
    assert tuple(result.table.columns) == ("annotator", "strategy", "scheme", *RESULT_COLUMNS)
    assert set(result.details) == {
        "between_categories", "curves", "retention", "hazard_ratios", "label_noise", "between_questions", "censored",
        "left_out",
    }  # fmt: skip
    assert all(list(detail.columns[:2]) == ["annotator", "strategy"] for detail in result.details.values())
    assert result.exclusions["tokens_without_category"] > 0
    assert result.table["estimate"].notna().all()
    censored = result.details["censored"]
    assert censored["n_censored"].tolist() == censored["n_left_at_horizon"].tolist()
    assert set(result.provenance["versions"]) == {"reasoning-anatomy", "numpy", "pandas", "scipy"}
    run.write_analysis(result)
    back = run.analysis("category_survival")
    pd.testing.assert_frame_equal(back.table, result.table, check_dtype=False, check_exact=True)
    assert back.finding == result.finding


def test_a_difference_is_found_in_every_way(
    tmp_path: Path, make_planted_run: Make, make_chains: Make, add_labels: Make, add_surprisal: Make
) -> None:
    run = make_planted_run(tmp_path, make_chains(12, 2, 40), keep=0.2)
    run = add_labels(add_surprisal(run, lambda rows: np.random.default_rng(0).random(len(rows))), mathematics_late)
    result = FAST.analyse(run)
    rows = result.table[result.table["scheme"] == "classes"].set_index("term")
    for ending in ("", POSITION, SURPRISAL):
        assert rows.loc[CLASSES + ending, "ci_low"] > 0.1
        assert rows.loc[CLASSES + ending, "p_value"] == 0.002
    ratios = result.details["hazard_ratios"].query("scheme == 'classes'").set_index("term")
    assert ratios.loc[SYMBOLIC_COMPUTATION, "hazard_ratio_high"] < 0.7, "mathematics is deleted later, so at a lower rate"
    assert any("hazards are not proportional" in warning for warning in result.warnings)
    assert result.finding.startswith(
        "Clear: symbolic computation is left longer than linguistic scaffolding by greedy (categories by rules): difference in "
        "the time that a token is left 0."
    )
    assert (
        "counted up to 80\N{NO-BREAK SPACE}%. With position and surprisal held constant the difference is 0." in result.finding
    )
    assert " The hazard ratio is 0." in result.finding
    assert "leaves out zero even if 40\N{NO-BREAK SPACE}% of the labels are wrong." in result.finding


def test_wrong_labels_make_the_difference_smaller_as_they_should(
    tmp_path: Path, make_planted_run: Make, make_chains: Make, add_labels: Make
) -> None:
    run = add_labels(make_planted_run(tmp_path, make_chains(10, 1, 60), keep=0.2), mathematics_late)
    result = CategorySurvival(draws=499, noise=(0.1, 0.5)).analyse(run)
    noise = result.details["label_noise"].set_index(["term", "share_wrong"])
    for ending in ("", POSITION):
        own = result.table.query("scheme == 'classes'").set_index("term").loc[CLASSES + ending]
        for column in ("estimate", "ci_low", "ci_high"):
            assert noise.loc[(CLASSES + ending, 0.0), column] == pytest.approx(own[column], abs=1e-9)
        estimates = noise.loc[CLASSES + ending, "estimate"].tolist()
        assert estimates[0] > estimates[1] > estimates[2] > 0
    # half of the labels wrong, each of five others as likely: 4/5 of mathematics and 2/5 of the rest change their class
    right, wrong = (noise.loc[(CLASSES, share), "estimate"] for share in (0.0, 0.5))
    assert wrong / right == pytest.approx(1 - 0.5 * (4 / 5 + 2 / 5), abs=0.08)


def test_the_order_of_chains_and_the_names_of_questions_do_not_matter(
    tmp_path: Path, make_planted_run: Make, make_chains: Make, add_labels: Make
) -> None:
    run = add_labels(make_planted_run(tmp_path, make_chains(6, 2, 30), keep=0.2), mathematics_late)
    expected = FAST.analyse(run)
    path = run.folder / "tokens.parquet"
    tokens = pd.read_parquet(path)
    tokens["question_id"] = "other-" + tokens["question_id"]
    rng = np.random.default_rng(0)
    parts = [part.iloc[rng.permutation(len(part))] for _, part in tokens.groupby("chain_id", sort=False)]
    pd.concat(parts).to_parquet(path)
    pd.testing.assert_frame_equal(FAST.analyse(Run(run.folder)).table, expected.table, check_exact=False, rtol=1e-9)
    pd.concat(parts[::-1]).to_parquet(path)
    backwards = FAST.analyse(Run(run.folder)).table
    pd.testing.assert_series_equal(backwards["estimate"], expected.table["estimate"], rtol=1e-9)


def test_tokens_that_a_strategy_deletes_together_go_at_one_time(
    tmp_path: Path, make_planted_run: Make, make_chains: Make, add_labels: Make, add_paths: Callable[..., Run]
) -> None:
    run = make_planted_run(tmp_path, make_chains(3, 1, 20))
    unit = np.repeat(np.arange(4), 5)
    paths = {
        chain_id: PruningPath("Steps()", 20, np.arange(20), np.full(20, np.nan), 0, *np.full((3, 21), np.nan), unit=unit)
        for chain_id in run.chains
    }
    run = add_labels(add_paths(run, "steps", paths), lambda rows, rng: np.where(np.arange(20) < 7, 0, 5))
    result = CategorySurvival(draws=99, strategy="steps").analyse(run)
    rows = result.table.query("scheme == 'classes'").set_index("term")["estimate"]
    assert rows[SYMBOLIC_COMPUTATION] == pytest.approx((5 * 0.25 + 2 * 0.5) / 7)
    assert rows[LINGUISTIC_SCAFFOLDING] == pytest.approx((3 * 0.5 + 5 * 0.75 + 5) / 13)
    assert np.isnan(rows[CLASSES + POSITION]), "position alone fixes this order"
    assert result.exclusions["no_value_given_position"] == 3 * 2, "two categories in each of three chains"


def test_chains_that_end_early_set_the_horizon_or_are_left_out(
    tmp_path: Path, make_planted_run: Make, make_chains: Make, add_labels: Make
) -> None:
    run = add_labels(make_planted_run(tmp_path, make_chains(5, 1, 40), keep=0.1))
    path = run.folder / "tokens.parquet"
    tokens = pd.read_parquet(path)
    is_short = (tokens["chain_id"] == "q0-0") & (tokens["deletion_step_greedy"] > 8)
    tokens["deletion_step_greedy"] = tokens["deletion_step_greedy"].mask(is_short)
    tokens.to_parquet(path)
    result = FAST.analyse(Run(run.folder))
    assert result.provenance["horizons"] == {"rules / greedy": 0.2}
    said = (
        "greedy: all chains are followed only to the deletion of 20\N{NO-BREAK SPACE}% of their tokens, because those of q0-0"
    )
    assert any(warning.startswith(said) and "--horizon 0.9 leaves" in warning for warning in result.warnings)
    longer = CategorySurvival(draws=499, horizon=0.9).analyse(Run(run.folder))
    assert longer.exclusions["deletions_end_before_the_horizon"] == 1
    assert longer.table["n_chains"].max() == 4
    retention = (
        result.details["retention"].query("scheme == 'classes' and term == @SYMBOLIC_COMPUTATION").set_index("keep_ratio")
    )
    assert retention["n_chains"].to_dict() == {0.9: 5, 0.7: 4, 0.5: 4, 0.3: 4}, "it did not get to keep ratio 0.7"


def test_a_kind_that_never_occurs_and_one_question_are_answered_without_intervals(
    tmp_path: Path, make_planted_run: Make, make_chains: Make, add_labels: Make
) -> None:
    run = make_planted_run(tmp_path, make_chains(1, 1, 30), keep=0.2)
    result = FAST.analyse(add_labels(run, lambda rows, rng: rng.integers(4, 6, len(rows))))
    rows = result.table.query("scheme == 'categories'").set_index("term")
    assert rows.loc["SYMBOLIC_MATH", ["n_questions", "n_chains", "n_tokens"]].tolist() == [0, 0, 0]
    assert np.isfinite(rows.loc["FUNCTION", "estimate"])
    assert rows["ci_low"].isna().all()
    assert result.finding.startswith("No chain has tokens of both symbolic computation and linguistic scaffolding")
    said = " ".join(result.warnings)
    assert "one question has no variation between questions" in said
    assert "hazard ratios need 8 questions, and there are 1" in said
    assert "reasoning-anatomy run CHAINS.jsonl --out" in said, "surprisal is missing"
    assert (result.table[result.table["term"].str.endswith(SURPRISAL)]["n_questions"] == 0).all()


def test_chains_without_surprisal_are_counted(
    tmp_path: Path, make_planted_run: Make, make_chains: Make, add_labels: Make, add_surprisal: Make
) -> None:
    def surprisal(rows: pd.DataFrame) -> np.ndarray | None:
        return None if rows["chain_id"].iloc[0] == "q1-0" else np.random.default_rng(0).random(len(rows))

    run = add_labels(add_surprisal(make_planted_run(tmp_path, make_chains(4, 1, 30)), surprisal))
    result = FAST.analyse(run)
    assert result.exclusions["no_surprisal"] == 1
    rows = result.table.query("scheme == 'classes'").set_index("term")["n_chains"]
    assert rows[[CLASSES, CLASSES + SURPRISAL]].tolist() == [4, 3]


def test_constant_surprisal_leaves_no_value_and_is_counted(
    tmp_path: Path, make_planted_run: Make, make_chains: Make, add_labels: Make, add_surprisal: Make
) -> None:
    run = add_labels(add_surprisal(make_planted_run(tmp_path, make_chains(4, 1, 60)), lambda rows: np.full(len(rows), 2.0)))
    result = FAST.analyse(run)
    rows = result.table[result.table["term"].str.endswith(SURPRISAL)]
    assert (rows["n_questions"] == 0).all()
    categories = result.table.query("scheme == 'categories'").set_index("term")["n_chains"]
    assert result.exclusions["no_value_given_position_and_surprisal"] == categories[list(CATEGORIES)].sum()
    assert "nothing can be said with position and surprisal held constant" not in result.finding


def test_what_is_missing_is_named_with_what_there_is(
    tmp_path: Path, make_planted_run: Make, make_chains: Make, add_labels: Make
) -> None:
    run = make_planted_run(tmp_path, make_chains(3, 1, 20))
    with pytest.raises(MissingError, match="has no annotator; add one: reasoning-anatomy annotate"):
        FAST.analyse(run)
    add_labels(run)
    with pytest.raises(MissingError, match="has no strategy 'random'; it has greedy"):
        CategorySurvival(strategy="random").analyse(run)
    with pytest.raises(MissingError, match="has no scorer 'surprise'; it has answer_attention"):
        CategorySurvival(surprisal="surprise").analyse(run)
    with pytest.raises(MissingError, match="'rules' agrees with itself"):
        CategorySurvival(annotator="rules", noise_like="rules").analyse(run)
    add_labels(run, lambda rows, rng: np.full(len(rows), -1), name="nobody")
    with pytest.raises(AnalysisError, match=r"none of 3 chains can be used \(3 not_annotated\)"):
        CategorySurvival(annotator="nobody").analyse(run)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"confidence": 95}, "confidence=95: expected a share"),
        ({"horizon": 0}, "horizon=0: expected a share of the tokens above 0"),
        ({"keep_ratios": (0.5, 1.0)}, r"keep_ratios=1.0: expected shares between 0 and 1"),
        ({"noise": (20,)}, "noise=20: expected shares"),
    ],
)
def test_wrong_options_are_refused(options: dict[str, float], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        CategorySurvival(**options)


def test_labels_are_mistaken_as_the_confusion_says() -> None:
    confusion = np.array([[50, 8, 2, 0], [0, 9, 0, 0], [3, 3, 0, 4], [1, 0, 0, 5]])
    errors = kinds_of_error(confusion.astype(float))
    assert errors[0].tolist() == [0, 0.8, 0.2, 0]
    assert errors[1].tolist() == pytest.approx([1 / 3, 0, 1 / 3, 1 / 3]), "never mistaken"
    labels = np.repeat(np.arange(4), 500)
    found = mislabelled(labels, errors, np.array([0, 0.1, 0.4]), repetitions=10, rng=np.random.default_rng(0))
    assert (found[0] == labels).all()
    is_wrong = found != labels
    assert is_wrong.mean(axis=(1, 2)).tolist() == pytest.approx([0, 0.1, 0.4], abs=0.01)
    assert (found[2][is_wrong[1]] == found[1][is_wrong[1]]).all(), "what is wrong stays wrong in the same way"
    of_first = found[2][:, :500][is_wrong[2][:, :500]]
    assert np.bincount(of_first, minlength=4) / len(of_first) == pytest.approx([0, 0.8, 0.2, 0], abs=0.03)


def test_many_divisions_into_two_groups_are_the_contrasts_of_each() -> None:
    rng = np.random.default_rng(3)
    outcome, is_first = rng.random(40), rng.random((3, 6, 40)) < 0.4
    is_first[0, 0], is_first[0, 1] = True, np.arange(40) < 13
    raw, given = differences(outcome, is_first), differences(outcome, is_first, position_terms(40))
    for index in np.ndindex(3, 6):
        member = np.stack([is_first[index], ~is_first[index]], axis=1)
        contrast = np.array([[1.0, -1.0]])
        np.testing.assert_allclose(raw[index], contrasts_of_means(outcome, member, contrast)[0], atol=1e-12)
        np.testing.assert_allclose(given[index], contrasts_given_position(outcome, member, contrast)[0], atol=1e-12)
    assert np.isnan(given[0, :2]).all(), f"a group that stands alone inflates the variance more than {MOST_INFLATION} times"
