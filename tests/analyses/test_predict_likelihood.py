"""Prediction of the likelihood after a deletion: what is learned, what is known anyway, and what is left out."""

import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import pearsonr, spearmanr
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from analyses._predict_likelihood.cross_fitting import UNSEEN, cross_fit, cross_fit_ridge, folds_of, one_way
from analyses._predict_likelihood.evidence import gather, place_columns
from analyses._predict_likelihood.learners import LEARNERS, PENALTIES, Learner
from analyses.predict_likelihood import PredictLikelihood
from reasoning_anatomy.errors import AnalysisError, MissingError
from reasoning_anatomy.run import Run, open_run
from reasoning_anatomy.run.manifest import Configuration, ModelIdentity
from reasoning_anatomy.run.writer import begin_run
from reasoning_anatomy.types import EncodedChain, PathStages, ReasoningChain, TokenScores

LABEL = "candidate_nll:keep_ratios=1.0 0.7"
QUICK = {"draws": 199}
LAYERS, HEADS = 3, 2


def stages_of(rng: np.random.Generator, n: int, *, signal: float, level: float, trend: float, shape=(LAYERS, HEADS)):
    """Two stages of a chain; the nll follows the attention of head 1.0 by ``signal`` and the place by ``trend``."""
    left = np.ones((2, n), dtype=bool)
    left[1, rng.permutation(n)[: n - int(0.7 * n)]] = False
    place = np.arange(n) / n
    attention = rng.normal(-5, 1, (2, *shape, n)) - 2 * (place - 0.5)
    nll = level + signal * attention[:, 1 % shape[0], 0] + trend * place + 0.1 * rng.normal(size=(2, n))
    received = np.exp(attention).astype(np.float32)
    received[:, -1] = np.nan  # a layer without attention
    return PathStages(
        np.array([1.0, 0.7]), left.mean(axis=1), np.where(left, nll, np.nan), np.where(left[:, None, None], received, np.nan)
    )


@pytest.fixture(scope="session")
def write_stages() -> Callable[..., Run]:
    """Write a run whose candidates are drawn; ``stages`` by chain_id takes the place of what is drawn, None = no score."""

    def write(folder: Path, questions: list[str], *, n=24, seed=0, signal=0.2, trend=0.0, stages=None, shape=(LAYERS, HEADS)):
        rng = np.random.default_rng(seed)
        chains = [
            ReasoningChain(chain_id=f"c{number}", question_id=question, question=f"Q {question}", reasoning="x" * n, answer="A")
            for number, question in enumerate(questions)
        ]
        model = ModelIdentity(
            id=f"tiny-{shape}", revision="abc", architecture="none", n_layers=1, n_heads=1, weights=str(shape), template="none",
            dtype="float32", device="cpu", quantization=None,
        )  # fmt: skip
        scorers = {"recency": "Recency()", LABEL: "CandidateNll()"}
        with begin_run(folder, Configuration(model=model, encoding="ids", scorers=scorers), chains) as writer:
            for chain in chains:
                drawn = stages_of(rng, n, signal=signal, level=rng.normal(1, 1), trend=trend, shape=shape)
                made = (stages or {}).get(chain.chain_id, drawn)
                spans = np.stack([np.arange(n), np.arange(n) + 1], axis=1)
                writer.add_encoded(EncodedChain(chain, np.array([1]), np.arange(n), np.array([2]), spans))
                writer.add_scores(chain.chain_id, "recency", TokenScores(np.arange(n)))
                if made is not None:
                    writer.add_scores(chain.chain_id, LABEL, TokenScores(np.nan_to_num(made.nll[0]), stages=made))
        return open_run(folder)

    return write


QUESTIONS = [f"q{number:02}" for number in range(12) for _ in range(2)]


@pytest.fixture(scope="module")
def run(write_stages, tmp_path_factory) -> Run:
    return write_stages(tmp_path_factory.mktemp("runs") / "signal", QUESTIONS, trend=0.3)


@pytest.fixture(scope="module")
def result(run):
    return PredictLikelihood(**QUICK).analyse(run)


def estimates(table: pd.DataFrame, term: str) -> dict[str, float]:
    rows = table[table["term"] == term]
    return dict(zip(rows["predictor"], rows["estimate"], strict=True))


def test_every_term_has_every_predictor_and_only_models_are_tested(result):
    table = result.table
    assert table.groupby("term", sort=False)["predictor"].agg(list).to_dict() == {
        "pearson": ["stage", "position", "level, told", "ridge", "gradient_boosting", "mlp"],
        "pearson_within_stage": ["stage", "position", "level, told", "ridge", "gradient_boosting", "mlp"],
        "spearman_within_stage": ["stage", "position", "level, told", "ridge", "gradient_boosting", "mlp"],
        "spearman_within_stage_given_position": ["ridge", "gradient_boosting", "mlp"],
        "spearman_within_stage - position": ["ridge", "gradient_boosting", "mlp"],
    }
    assert set(PredictLikelihood.terms) == set(table["term"])
    tested = table["predictor"].isin(["ridge", "gradient_boosting", "mlp"]) & (table["term"] != "pearson")
    assert (table["p_value"].notna() == tested).all()
    assert (table["n_questions"] == 12).all()
    assert (table["n_chains"] == 24).all()
    assert (table["n_tokens"] == 24 * (24 + 16)).all()


def test_what_attention_tells_is_found_within_the_stage(result):
    within, gain = estimates(result.table, "spearman_within_stage"), estimates(result.table, "spearman_within_stage - position")
    # The nll is 0.2 times a standard normal plus 0.1 times another: at best r = 0.2 / sqrt(0.05) = 0.89, without the trend.
    assert 0.7 < within["ridge"] < 0.95
    assert min(gain.values()) > 0.2
    assert "Corrected for their number, 3 of 3 models rank better than position" in result.finding
    tested = result.table[result.table["term"] == "spearman_within_stage - position"]
    assert (tested["p_adjusted"] <= 0.05).all()


def test_the_level_alone_gives_a_high_pooled_r_and_orders_nothing(result):
    # Levels have a standard deviation of 1, everything else about 0.3.
    assert estimates(result.table, "pearson")["level, told"] > 0.9
    for term in ("pearson_within_stage", "spearman_within_stage"):
        found = estimates(result.table, term)
        assert (found["level, told"], found["stage"]) == (0, 0)
    assert f"reaches {estimates(result.table, 'pearson')['level, told']:.2f}" in result.finding


def test_estimates_are_those_of_plain_loops(run, result):
    """Ridge by scikit-learn in nested folds written out, judged by SciPy stage by stage."""
    candidates = gather(run, LABEL, features="heads", rows=10**6, seed=0).candidates
    folds = folds_of(candidates.question_ids, 5, seed=0)
    fold = np.array([folds[question] for question in candidates.question_ids])[candidates.chain]
    design = candidates.design().astype(np.float64)
    predicted = np.empty(len(design))
    for outer in range(5):
        learned_from = [(outer + 1) % 5, (outer + 2) % 5]
        errors = np.zeros(len(PENALTIES))
        for known, judged in (learned_from, learned_from[::-1]):
            known, judged = fold == known, fold == judged
            for number, penalty in enumerate(PENALTIES):
                model = make_pipeline(StandardScaler(), Ridge(alpha=known.sum() * penalty))
                errors[number] += (
                    (model.fit(design[known], candidates.nll[known]).predict(design[judged]) - candidates.nll[judged]) ** 2
                ).sum()
        known, judged = np.isin(fold, learned_from), fold == outer
        model = make_pipeline(StandardScaler(), Ridge(alpha=known.sum() * PENALTIES[errors.argmin()]))
        predicted[judged] = (
            model.fit(design[known], candidates.nll[known]).predict(design[judged]) - candidates.nll[known].mean()
        )
    stages = [candidates.stage == number for number in range(len(candidates.chain_of_stage))]
    of_stage = pd.Series([spearmanr(predicted[rows], candidates.nll[rows]).statistic for rows in stages])
    of_chain = of_stage.groupby(candidates.chain_of_stage).mean()
    expected = of_chain.groupby(list(candidates.question_ids)).mean().mean()
    assert estimates(result.table, "spearman_within_stage")["ridge"] == pytest.approx(expected, abs=1e-6)
    assert estimates(result.table, "pearson")["ridge"] == pytest.approx(pearsonr(predicted, candidates.nll).statistic, abs=1e-6)
    frame = pd.DataFrame({"predicted": predicted, "nll": candidates.nll, "stage": candidates.stage})
    left = frame - frame.groupby("stage").transform("mean").assign(stage=0)
    expected = pearsonr(left["predicted"], left["nll"]).statistic
    assert estimates(result.table, "pearson_within_stage")["ridge"] == pytest.approx(expected, abs=1e-6)


def test_only_the_layer_that_tells_something_is_missed_when_shuffled(result):
    layers = result.details["per_layer"]
    assert list(layers.columns) == [
        "predictor", "layer", "drop", "ci_low", "ci_high", "p_value", "p_adjusted", "n_questions", "n_chains", "n_tokens",
    ]  # fmt: skip
    assert set(layers["layer"]) == {0, 1}  # layer 2 does not attend
    by_layer = layers.pivot_table(index="predictor", columns="layer", values="drop")
    assert (by_layer[1] > 0.3).all()
    assert (by_layer[0].abs() < 0.1).all()


def test_details_and_provenance(result):
    assert {"per_layer", "predictions", "settings", "between_questions", "per_chain", "left_out"} == set(result.details)
    assert len(result.details["settings"]) == 3 * 5
    assert len(result.details["per_chain"]) == 24
    assert f"scorer={LABEL!r}" in result.config
    assert "scikit-learn" in result.provenance["versions"]
    assert any("12 questions are few" in warning for warning in result.warnings)


def test_predictions_are_of_all_candidates_if_these_are_few_and_correlate_as_the_table_says(result, run):
    predictions = result.details["predictions"]
    candidates = gather(run, LABEL, features="heads", rows=100_000, seed=0).candidates
    for name, rows in predictions.groupby("predictor", sort=False):
        np.testing.assert_array_equal(rows["measured"], candidates.nll)
        np.testing.assert_array_equal(rows["place"], candidates.place)
        stage = rows.groupby(["chain_id", "kept"], sort=False)
        within = [spearmanr(of["measured"], of["predicted"]).statistic for _, of in stage if np.ptp(of["predicted"]) > 0]
        of_chains = pd.Series(within).groupby(np.arange(len(within)) // 2).mean()  # 2 stages a chain, 2 chains a question
        assert of_chains.mean() == pytest.approx(estimates(result.table, "spearman_within_stage")[name], abs=1e-9)
    assert list(dict.fromkeys(predictions["predictor"])) == ["position", "ridge", "gradient_boosting", "mlp"]
    assert set(predictions["target"]) == {"nll"}


def test_attention_that_tells_nothing_beyond_position_is_not_said_to(write_stages, tmp_path):
    found = PredictLikelihood(**QUICK).analyse(write_stages(tmp_path / "run", QUESTIONS, signal=0.0, trend=0.5, seed=3))
    given = found.table[found.table["term"] == "spearman_within_stage_given_position"]
    assert (given["p_adjusted"] > 0.05).all()
    assert estimates(found.table, "spearman_within_stage")["position"] > 0.5
    assert "it is open whether attention says more than position" in found.finding
    assert "0 of 3 models rank better than position" in found.finding


def test_the_order_of_chains_does_not_matter(write_stages, tmp_path):
    rng = np.random.default_rng(5)
    made = {f"c{number}": stages_of(rng, 24, signal=0.2, level=number, trend=0) for number in range(6)}
    runs = []
    for name, order in (("one", range(6)), ("two", [3, 0, 5, 1, 4, 2])):
        run = write_stages(tmp_path / name, [f"q{number}" for number in range(6)], stages=made)
        lines = (run.folder / "chains.jsonl").read_text().splitlines()
        (run.folder / "chains.jsonl").write_text("".join(f"{lines[number]}\n" for number in order))
        runs.append(PredictLikelihood(**QUICK).analyse(open_run(run.folder)))
    pd.testing.assert_frame_equal(runs[0].table, runs[1].table)


def test_monotone_changes_of_the_attention_matter_to_no_tree(run):
    """Trees see only the order of each column, so that their bins and predictions are the same."""
    candidates = gather(run, LABEL, features="heads", rows=10**6, seed=0).candidates
    fold = candidates.question % 5
    learner = LEARNERS["gradient_boosting"]
    for_any = [
        cross_fit(learner, design, candidates.nll, fold, one_way(5), most=500, seed=0).predict(design, fold)
        for design in (candidates.design(), np.exp(candidates.design().astype(np.float64)))
    ]
    assert np.corrcoef(for_any)[0, 1] > 0.999


def test_without_levels_to_learn_a_model_orders_the_candidates_of_few_questions_better(write_stages, tmp_path):
    run = write_stages(tmp_path / "run", [f"q{number}" for number in range(6)], seed=7)
    by_target = {
        target: estimates(PredictLikelihood(**QUICK, target=target).analyse(run).table, "spearman_within_stage")["ridge"]
        for target in ("nll", "within_stage")
    }
    assert by_target["within_stage"] > by_target["nll"] + 0.1
    assert by_target["within_stage"] > 0.8  # of 0.89, see above


# --- what can be used, and what is left out


def test_stages_and_chains_that_say_nothing_are_counted(write_stages, tmp_path):
    rng = np.random.default_rng(0)
    equal, short, same = (stages_of(rng, 24, signal=0.2, level=0, trend=0) for _ in range(3))
    flat = np.where(equal.is_left, 0.5, np.nan)
    few = np.stack([short.nll[0], np.where(np.arange(24) < 4, 1.0, np.nan)])
    given = {
        "c0": None,
        "c1": PathStages(equal.keep_ratios, equal.achieved, flat, equal.received),
        "c2": PathStages(short.keep_ratios, np.array([1, 4 / 24]), few, short.received[[0, 0]]),
        "c3": PathStages(np.array([1.0, 0.99]), np.ones(2), same.nll[[0, 0]], same.received[[0, 0]]),
    }
    run = write_stages(tmp_path / "run", QUESTIONS, stages=given)
    found = gather(run, LABEL, features="layers", rows=10**6, seed=0)
    assert found.exclusions == {
        "no_stage_can_be_used": 1, "scorer_not_measured": 1, "stage_is_the_one_before": 1, "stage_of_equal_candidates": 2,
        "stage_of_fewer_than_5_tokens": 1,
    }  # fmt: skip
    assert len(found.candidates.chain_ids) == 22


def test_candidates_are_drawn_evenly_if_there_are_too_many(write_stages, tmp_path):
    run = write_stages(tmp_path / "run", QUESTIONS[:12], n=60)
    whole = gather(run, LABEL, features="heads", rows=10**6, seed=0).candidates
    assert np.bincount(whole.stage).tolist() == [60, 42] * 12
    some = gather(run, LABEL, features="heads", rows=24 * 30, seed=0).candidates
    assert np.bincount(some.stage).tolist() == [30] * 24
    assert np.bincount(gather(run, LABEL, features="heads", rows=1, seed=0).candidates.stage).tolist() == [20] * 24
    drawn = set(zip(some.chain, some.kept, some.place, some.nll, strict=True))
    assert drawn < set(zip(whole.chain, whole.kept, whole.place, whole.nll, strict=True))


@pytest.mark.parametrize(("features", "columns"), [("heads", 4), ("layers", 2), ("mean", 1)])
def test_features_are_logarithms_of_attention_in_layers_that_attend(run, features, columns):
    candidates = gather(run, LABEL, features=features, rows=10**6, seed=0).candidates
    first = run.token_scores(candidates.chain_ids[0], LABEL).stages
    received = first.received[0, :2]
    by_feature = {"heads": received.reshape(4, -1), "layers": received.mean(axis=1), "mean": received.mean(axis=(0, 1))[None]}
    np.testing.assert_allclose(candidates.attention[:24], np.log(by_feature[features]).T, rtol=1e-5)
    assert candidates.attention.shape[1] == columns
    assert candidates.shape == (2, 2)
    np.testing.assert_allclose(candidates.design()[:, columns:], place_columns(candidates.place, candidates.kept), rtol=1e-6)


def test_too_few_questions_are_refused_with_the_number_needed(write_stages, tmp_path):
    run = write_stages(tmp_path / "run", ["a", "b", "c", "d"] * 3)
    with pytest.raises(AnalysisError, match=r"has candidates on 4 questions, but .*; measure 5 questions or more"):
        PredictLikelihood(**QUICK).analyse(run)


def test_a_run_without_the_scorer_is_told_how_to_measure_it(make_run, tmp_path):
    run = make_run(tmp_path / "run", [("q", np.ones((1, 1, 6), dtype=np.float32), [0, 1])])
    with pytest.raises(MissingError, match=r"have not been measured; add them with: .* --scorers candidate_nll"):
        PredictLikelihood().analyse(run)


def test_a_label_that_is_not_there_is_refused(run):
    with pytest.raises(MissingError, match="has no candidate_nll with the label 'candidate_nll'; it has candidate_nll:keep"):
        PredictLikelihood(scorer="candidate_nll").analyse(run)


def test_no_chain_that_can_be_used(write_stages, tmp_path):
    run = write_stages(tmp_path / "run", ["a", "b"], stages={"c0": None, "c1": None})
    with pytest.raises(AnalysisError, match=r"none of 2 chains can be used \(2 scorer_not_measured\)"):
        PredictLikelihood().analyse(run)


@pytest.mark.parametrize("options", [{"folds": 4}, {"rows": 0}, {"training_rows": 99}, {"draws": 3}])
def test_options_out_of_their_range_are_refused(options):
    with pytest.raises(ValueError, match=r"expected|needs"):
        PredictLikelihood(**options)


# --- another run


def test_models_of_another_run_predict_the_questions_of_this_one(run, write_stages, tmp_path):
    other = write_stages(tmp_path / "other", [f"p{name}" for name in QUESTIONS], seed=7, trend=0.3)
    found = PredictLikelihood(**QUICK, train=str(other.folder)).analyse(run)
    assert estimates(found.table, "spearman_within_stage")["ridge"] > 0.7
    assert (found.table["n_questions"] == 12).all()
    assert set(found.details["settings"]["fold"]) == {"none"}
    assert found.provenance["train"]["run"] == "other"


def test_questions_of_both_runs_are_predicted_without_them(run, write_stages, tmp_path):
    other = write_stages(tmp_path / "other", [f"q{number:02}" for number in range(6)], seed=7, shape=(LAYERS, 5))
    found = PredictLikelihood(**QUICK, train=str(other.folder), features="layers").analyse(run)
    assert set(found.details["settings"]["fold"]) == {"none", "0", "1", "2", "3", "4"}
    assert any("6 of 12 questions are in both runs" in warning for warning in found.warnings)
    with pytest.raises(AnalysisError, match=r"2 layers of 5 heads in the run to fit on, 2 of 2 .*; --features layers"):
        PredictLikelihood(**QUICK, train=str(other.folder)).analyse(run)
    deep = write_stages(tmp_path / "deep", QUESTIONS, shape=(5, HEADS))
    for features in ("heads", "layers"):
        with pytest.raises(AnalysisError, match=r"4 layers of 2 heads in the run to fit on, 2 of 2 .*; --features mean"):
            PredictLikelihood(**QUICK, train=str(deep.folder), features=features).analyse(run)
    assert "per_layer" not in PredictLikelihood(**QUICK, train=str(deep.folder), features="mean").analyse(run).details


def test_one_question_is_predicted_without_an_interval(run, write_stages, tmp_path):
    one = write_stages(tmp_path / "one", ["alone"], seed=9)
    found = PredictLikelihood(**QUICK, train=str(run.folder)).analyse(one)
    assert found.table["estimate"].notna().all()
    assert found.table[["ci_low", "p_value"]].isna().all(axis=None)
    assert "one question, which has no interval" in found.finding


def test_the_command_line_names_the_run_to_fit_on(run, capsys, monkeypatch):
    import sys

    from reasoning_anatomy.cli import analysis_main

    arguments = [str(run.folder), "--train", str(run.folder / "nothing"), "--features", "mean"]
    monkeypatch.setattr(sys, "argv", ["analyses.predict_likelihood", *arguments])
    with pytest.raises(SystemExit):
        analysis_main("analyses.predict_likelihood")
    assert "nothing" in capsys.readouterr().err


# --- parts


def test_folds_do_not_depend_on_the_order_of_questions():
    names = [f"q{number}" for number in range(11)]
    folds = folds_of(names, 4, seed=1)
    assert folds == folds_of([*reversed(names), *names], 4, seed=1)
    assert sorted(np.bincount(list(folds.values()))) == [2, 3, 3, 3]
    assert folds != folds_of(names, 4, seed=2)


def test_no_two_folds_are_predicted_from_each_other():
    for n_folds in (5, 6, 9):
        learn_from = one_way(n_folds)
        assert {len(folds) for folds in learn_from.values()} == {(n_folds - 1) // 2}
        for fold, folds in learn_from.items():
            assert all(fold not in learn_from[other] for other in {fold, *folds})


def test_models_learn_from_the_folds_that_they_are_given():
    rng = np.random.default_rng(0)
    rows, fold = rng.normal(size=(150, 3)), np.arange(150) % 5
    outcome = rng.normal(size=150) + 100.0 * fold
    fit = cross_fit_ridge(rows, outcome, fold, one_way(5) | {UNSEEN: frozenset(range(5))})
    # The levels of the folds are 0, 100, 200, 300 and 400; fold 0 is predicted from 1 and 2, fold 3 from 4 and 0.
    expected = {0: 150, 1: 250, 2: 350, 3: 200, 4: 50, UNSEEN: 200}
    assert {each: round(float(model(rows).mean()), -1) for each, model in fit.models.items()} == expected
    assert {each: round(mean, -1) for each, mean in fit.means.items()} == expected
    for learner in LEARNERS.values():
        fit = cross_fit(learner, rows, outcome, fold, {0: frozenset({1, 2}), 3: frozenset({0, 4})}, most=1000, seed=0)
        assert 100 < fit.models[0](rows).mean() < 200
        assert {each: round(mean, -1) for each, mean in fit.means.items()} == {0: 150, 3: 200}


def test_a_model_that_knows_nothing_predicts_the_same_for_all_folds():
    outcome, fold = np.repeat([1.0, 2.0, 4.0, 8.0, 9.0], 4), np.repeat(np.arange(5), 4)
    fit = cross_fit_ridge(np.ones((20, 1)), outcome, fold, one_way(5))
    np.testing.assert_allclose(fit.predict(np.ones((20, 1)), fold), 0, atol=1e-12)


def test_a_model_that_stops_before_it_converges_warns_nobody():
    rng = np.random.default_rng(0)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        LEARNERS["mlp"].fit(rng.normal(size=(50, 3)), rng.normal(size=50), {"alpha": 1.0, "max_iter": 2}, 0)
    assert caught == []


def test_a_column_that_hardly_varies_where_a_model_learns_does_not_make_it_run_away():
    rng = np.random.default_rng(0)
    rows = np.column_stack([rng.normal(size=200), np.full(200, -13.8), -13.8 + 1e-9 * rng.normal(size=200)]).astype(np.float32)
    rows[:5, 1] += 0.01
    for name, learner in LEARNERS.items():
        predict = learner.fit(rows, rows[:, 0].astype(np.float64), learner.settings[0], 0)
        far = predict(np.array([[0.0, -3.0, -3.0]], dtype=np.float32))
        assert abs(far[0]) < 3, name


def test_at_most_so_many_rows_are_learned_from():
    seen = []

    def fit(rows, outcome, setting, seed):
        seen.append(len(rows))
        return lambda more: np.zeros(len(more))

    fold = np.repeat([0, 1, 2], [50, 60, 70])
    cross_fit(Learner(fit, ({},)), np.zeros((180, 1)), np.zeros(180), fold, {2: frozenset({0, 1})}, most=55, seed=0)
    assert sorted(seen) == [50, 55, 55]  # fold 0, fold 1, both
