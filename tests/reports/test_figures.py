"""Figures: their data against hand computation, and the same bytes every time."""

import dataclasses
import xml.etree.ElementTree as ET

import matplotlib
import numpy as np
import pandas as pd
import pytest

from reasoning_anatomy.errors import RunError
from reasoning_anatomy.plugins import available, load
from reports import save_figures

FIGURES = ("deletion_by_category", "layer_head_map", "likelihood_curve", "rank_correlation_intervals")


def test_the_folder_lists_its_figures():
    assert tuple(key for key in available("figure") if key in FIGURES) == FIGURES


def test_mean_relative_step_is_that_of_chain_then_question(full_run):
    tokens = full_run.tokens()
    tokens["n"] = tokens.groupby("chain_id")["position"].transform("size")
    wanted = {}
    for category, rows in tokens.groupby("category_crude"):
        questions = {}
        for (question, _), chain in rows.groupby(["question_id", "chain_id"]):
            steps = [step / n for step, n in zip(chain["deletion_step_greedy"], chain["n"], strict=True) if not pd.isna(step)]
            if steps:
                questions.setdefault(question, []).append(sum(steps) / len(steps))
        wanted[category] = np.mean([np.mean(chains) for chains in questions.values()])
    data = load("figure", "deletion_by_category").data(full_run)
    means = data[data["row"] == "mean"].set_index("category")
    assert means["estimate"].to_dict() == pytest.approx(wanted, abs=1e-12)
    assert (means["ci_low"] <= means["estimate"]).all()
    assert (means["estimate"] <= means["ci_high"]).all()


def test_censored_tokens_are_counted_and_have_no_step(full_run):
    data = load("figure", "deletion_by_category").data(full_run)
    means = data[data["row"] == "mean"]
    tokens = full_run.tokens()
    assert means["n_tokens"].sum() == len(tokens)
    assert means["n_censored"].sum() == tokens["deletion_step_greedy"].isna().sum() > 0


def test_one_question_has_no_interval(make_full_run, chains):
    data = load("figure", "deletion_by_category").data(make_full_run(chains[:1]))
    assert data[["ci_low", "ci_high"]].isna().all(axis=None)


def test_likelihood_curve_is_read_between_deletions_and_averaged(full_run):
    data = load("figure", "likelihood_curve:points=11").data(full_run)
    paths = full_run.paths()
    lengths = full_run.tokens().groupby("chain_id").size()
    chains = data[data["curve"] == "chain"]
    for chain_id, rows in chains.groupby("chain_id"):
        path = paths[paths["chain_id"] == chain_id]
        expected = np.interp(rows["fraction_deleted"], path["deletion_step"] / lengths[chain_id], path["nll_answer"])
        np.testing.assert_allclose(rows["nll_answer"], expected, atol=1e-12)
    mean = data[data["curve"] == "mean"]
    assert mean["nll_answer"].iloc[0] == pytest.approx(1.0)
    assert set(mean["n_chains"]) == {paths["chain_id"].nunique()}, "the same chains stand behind each point"
    assert mean["fraction_deleted"].max() <= (paths.groupby("chain_id")["deletion_step"].max() / lengths).min() + 1e-9


def test_a_curve_evaluated_at_few_points_runs_straight_between_them(sparse_run):
    figure = load("figure", "likelihood_curve:points=11")
    data = figure.data(sparse_run)
    assert data["nll_answer"].notna().all()
    lengths = sparse_run.tokens().groupby("chain_id").size()
    evaluated = sparse_run.paths().query("strategy == 'sparse'").dropna(subset="nll_answer")
    for chain_id, rows in data[(data["strategy"] == "sparse") & (data["curve"] == "chain")].groupby("chain_id"):
        path = evaluated[evaluated["chain_id"] == chain_id]
        expected = np.interp(rows["fraction_deleted"], path["deletion_step"] / lengths[chain_id], path["nll_answer"])
        np.testing.assert_allclose(rows["nll_answer"], expected, atol=1e-12)
    mean = data[data["curve"] == "mean"].groupby("strategy")["fraction_deleted"].agg(["min", "max"])
    assert mean.loc["sparse"].tolist() == mean.loc["greedy"].tolist()
    lines = [line.get_ydata() for axis in figure.draw(sparse_run).axes for line in axis.lines]
    assert len(lines) == 2 * (len(lengths) + 1)
    assert all(np.isfinite(line).all() for line in lines)


def test_layer_head_map_shows_the_table_of_the_analysis(full_run):
    data = load("figure", "layer_head_map").data(full_run)
    detail = full_run.analysis("rank_correlation").details["per_head"]
    wanted = detail[detail["term"] == "spearman"].sort_values(["layer", "head"])
    np.testing.assert_array_equal(data["estimate"], wanted["estimate"])
    assert set(data["term"]) == {"spearman"}


@pytest.mark.parametrize("shape", ["wide", "long"])
def test_intervals_read_both_shapes_of_the_chain_table(full_run, make_full_run, chains, shape):
    run = make_full_run(chains, long=shape == "long")
    data = load("figure", "rank_correlation_intervals").data(run)
    table = run.analysis("rank_correlation").table
    np.testing.assert_array_equal(data.loc[data["row"] == "estimate", "estimate"], table["estimate"])
    assert (data["row"] == "chain").sum() == 2 * len(chains)


@pytest.fixture
def two_scorers(make_full_run, chains):
    """A run whose analysis sets two scorers side by side; only the second has heads."""
    run = make_full_run(chains)
    result = run.analysis("rank_correlation")
    scorers = ("surprisal", "h2o:layers=1: 2")
    table = pd.concat([result.table.assign(term=scorer + ": " + result.table["term"]) for scorer in scorers])
    details = {
        "per_chain": pd.concat([result.details["per_chain"].assign(scorer=scorer) for scorer in scorers]),
        "per_head": result.details["per_head"].assign(scorer=scorers[1]),
    }
    run.write_analysis(dataclasses.replace(result, table=table.reset_index(drop=True), details=details))
    return run


def test_several_scorers_are_rows_and_their_statistics_are_panels(two_scorers, chains):
    figure = load("figure", "rank_correlation_intervals")
    data = figure.data(two_scorers)
    table = two_scorers.analysis("rank_correlation").table
    assert data.loc[data["row"] == "estimate", "term"].tolist() == table["term"].tolist()
    assert data.loc[data["row"] == "chain"].groupby("term").size().to_dict() == dict.fromkeys(table["term"], len(chains))
    axes = figure.draw(two_scorers).axes
    assert [axis.get_title(loc="left") or axis.get_title() for axis in axes] == ["spearman", "kendall"]
    assert [label.get_text() for label in axes[0].get_yticklabels()] == ["surprisal", "h2o:layers=1: 2"]


def test_the_map_takes_the_first_scorer_with_heads_or_the_named_one(two_scorers):
    assert set(load("figure", "layer_head_map").data(two_scorers)["scorer"]) == {"h2o:layers=1: 2"}
    with pytest.raises(RunError, match=r"has no heads of scorer 'surprisal'; it has those of h2o"):
        load("figure", "layer_head_map:scorer=surprisal").data(two_scorers)


def test_a_figure_without_input_says_what_to_do(plain_run):
    with pytest.raises(RunError, match=r"python -m analyses\.rank_correlation"):
        load("figure", "layer_head_map").draw(plain_run)
    with pytest.raises(RunError, match="reasoning-anatomy annotate"):
        load("figure", "deletion_by_category").draw(plain_run)


def test_an_unknown_term_lists_the_known_ones(full_run):
    with pytest.raises(RunError, match="it has kendall, spearman"):
        load("figure", "layer_head_map:term=pearson").data(full_run)


def test_files_of_all_figures_are_written_and_the_same_whatever_the_settings(full_run, tmp_path):
    first = save_figures(full_run, tmp_path / "a")
    with matplotlib.rc_context({"font.size": 30, "svg.fonttype": "path", "axes.facecolor": "red"}):
        second = save_figures(full_run, tmp_path / "b")
    assert {path.name for path in first} == {f"{key}.{kind}" for key in FIGURES for kind in ("csv", "svg", "pdf", "png")}
    for one, other in zip(first, second, strict=True):
        assert one.read_bytes() == other.read_bytes(), one.name
    starts = {"svg": b"<?xml", "pdf": b"%PDF", "png": b"\x89PNG"}
    for path in first:
        assert path.read_bytes().startswith(starts.get(path.suffix[1:], b"")), path.name
        if path.suffix == ".svg":
            ET.fromstring(path.read_text())
    data = pd.read_csv(tmp_path / "a" / "layer_head_map.csv")
    np.testing.assert_allclose(data["estimate"], load("figure", "layer_head_map").data(full_run)["estimate"], rtol=1e-12)


def test_figures_that_lack_input_are_left_out(plain_run, tmp_path):
    assert {path.stem for path in save_figures(plain_run, tmp_path)} == {"likelihood_curve"}
