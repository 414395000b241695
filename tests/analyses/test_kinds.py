"""Two kinds of chains compared: against statsmodels and pandas, and by hand."""

import numpy as np
import pandas as pd
import pytest
import statsmodels.formula.api as smf

from analyses._statistics.kinds import all_questions, within_questions

SIZES = (2, 3, 4, 5, 6, 7, 8)


@pytest.fixture(scope="module")
def chains() -> pd.DataFrame:
    """Seven questions with both kinds; wrong chains are longer, and longer chains have higher values."""
    rng = np.random.default_rng(0)
    rows = pd.DataFrame({"question": np.repeat(range(7), SIZES), "wrong": rng.integers(0, 2, sum(SIZES)).astype(float)})
    first = rows.groupby("question").cumcount()
    rows.loc[first < 2, "wrong"] = first[first < 2].astype(float)
    rows["length"] = rng.normal(5, 0.5, len(rows)) + 0.3 * rows["wrong"]
    rows["value"] = rng.normal(0, 1, len(rows)) + rows["question"] + 0.5 * rows["length"]
    return rows


def found(rows: pd.DataFrame, function=within_questions):
    wrong, length, value = (rows[[name]].to_numpy() for name in ("wrong", "length", "value"))
    measured = function(value, wrong, length, pd.factorize(rows["question"])[0])
    return {name: (each.estimate[0], each.of_questions[:, 0]) for name, each in measured.items()}


def within_by_statsmodels(rows: pd.DataFrame):
    weight = 1 / rows.groupby(["question", "wrong"])["value"].transform("size")
    model = smf.wls("value ~ C(question) + wrong + length", rows, weights=weight)
    return model.fit(cov_type="cluster", cov_kwds={"groups": rows["question"]})


def all_by_statsmodels(rows: pd.DataFrame):
    return smf.wls("value ~ wrong + length", rows, weights=1 / rows.groupby("question")["value"].transform("size")).fit()


def test_given_length_is_least_squares_with_fixed_effects_in_which_kinds_count_the_same(chains: pd.DataFrame) -> None:
    measured, model = found(chains), within_by_statsmodels(chains)
    assert measured["given_length"][0] == pytest.approx(model.params["wrong"], abs=1e-12)
    assert measured["slope"][0] == pytest.approx(model.params["length"], abs=1e-12)
    error = measured["given_length"][1].std(ddof=1) / np.sqrt(7)
    assert error == pytest.approx(model.bse["wrong"], rel=0.05)  # cluster-robust: near, and a jackknife's is exact below


def test_raw_is_the_mean_of_differences_within_questions(chains: pd.DataFrame) -> None:
    means = chains.pivot_table(index="question", columns="wrong", values="value")
    estimate, of_questions = found(chains)["raw"]
    np.testing.assert_allclose(of_questions, means[1] - means[0], atol=1e-12)
    assert estimate == pytest.approx((means[1] - means[0]).mean(), abs=1e-12)


@pytest.mark.parametrize(
    ("function", "model"), [(within_questions, within_by_statsmodels), (all_questions, all_by_statsmodels)]
)
def test_pseudo_values_are_those_of_refitting_without_each_question(chains: pd.DataFrame, function, model) -> None:
    whole = model(chains).params["wrong"]
    without = np.array([model(chains[chains["question"] != number]).params["wrong"] for number in range(7)])
    pull = 6 * (whole - without)
    estimate, of_questions = found(chains, function)["given_length"]
    assert estimate == pytest.approx(whole, abs=1e-12)
    np.testing.assert_allclose(of_questions, whole + pull - pull.mean(), atol=1e-10)


def test_the_effect_size_is_in_standard_deviations_between_chains_of_one_kind_on_one_question(chains: pd.DataFrame) -> None:
    measured, cells = found(chains), chains.groupby(["question", "wrong"])["value"]
    sd = np.sqrt(((chains["value"] - cells.transform("mean")) ** 2).sum() / (len(chains) - 14))
    for name in ("raw", "given_length"):
        assert measured[f"effect_{name}"][0] == pytest.approx(measured[name][0] / sd, abs=1e-12)


def test_the_effect_size_has_the_error_of_both_its_parts_to_first_order() -> None:
    rng = np.random.default_rng(1)
    rows = pd.DataFrame({"question": np.repeat(range(400), 6), "wrong": np.tile([0.0, 1.0], 1200)})
    rows["length"], rows["value"] = rng.normal(5, 1, 2400), rng.normal(0, 1, 2400) + rows["wrong"]
    _, of_questions = found(rows)["effect_raw"]
    d = 1.0
    assert of_questions.std(ddof=1) / 20 == pytest.approx(np.sqrt(4 / 2400 + d**2 / (2 * 1600)), rel=0.08)  # Cohen's d


@pytest.mark.parametrize("function", [within_questions, all_questions])
def test_without_variation_in_length_there_is_nothing_to_hold_constant(chains: pd.DataFrame, function) -> None:
    measured = found(chains.assign(length=np.log(151)), function)
    assert measured["given_length"][0] == measured["raw"][0]
    np.testing.assert_array_equal(measured["given_length"][1], measured["raw"][1])
    assert np.isnan(measured.get("slope", [np.nan])[0])


def test_a_length_that_varies_on_one_question_alone_leaves_the_others_as_they_are(chains: pd.DataFrame) -> None:
    measured = found(chains.assign(length=np.where(chains["question"] == 6, chains["length"], np.log(151))))
    assert np.isfinite(measured["given_length"][1]).all()
    whole, without = measured["given_length"][0], found(chains[chains["question"] != 6])["raw"][0]
    pull = measured["given_length"][1][6] - measured["given_length"][1].mean()
    others = [
        found(chains[chains["question"] != number].assign(
            length=lambda rows: np.where(rows["question"] == 6, rows["length"], np.log(151))
        ))["given_length"][0]
        for number in range(6)
    ]  # fmt: skip
    pulls = 6 * (whole - np.array([*others, without]))
    assert pull == pytest.approx(pulls[6] - pulls.mean(), abs=1e-9)


def test_a_kind_that_fixes_the_length_cannot_be_told_from_it(chains: pd.DataFrame) -> None:
    measured = found(chains.assign(length=5 + chains["wrong"]))
    assert np.isfinite(measured["raw"][0])
    assert np.isnan(measured["given_length"][0])


def test_two_chains_on_one_question_have_a_difference_and_nothing_else(chains: pd.DataFrame) -> None:
    pair = chains[chains["question"] == 0]
    measured = found(pair)
    assert measured["raw"][0] == pytest.approx(pair["value"].iloc[1] - pair["value"].iloc[0])
    assert all(np.isnan(of_questions).all() for _, of_questions in measured.values())
    assert all(np.isnan(measured[name][0]) for name in measured.keys() - {"raw"})


def test_chains_that_are_there_twice_do_not_count_as_more_questions(chains: pd.DataFrame) -> None:
    for function in (within_questions, all_questions):
        once, twice = found(chains, function), found(pd.concat([chains, chains]), function)
        for name in ("raw", "given_length"):
            np.testing.assert_allclose(twice[name][1], once[name][1], atol=1e-10)
