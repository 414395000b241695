"""Figures: their data against hand computation, and the same bytes every time."""

import ast
import dataclasses
import subprocess
import sys
import xml.etree.ElementTree as ET

import matplotlib
import matplotlib.figure
import numpy as np
import pandas as pd
import pytest

from analyses.deletion_by_category import DeletionByCategory
from reasoning_anatomy.categories import CATEGORIES
from reasoning_anatomy.errors import RunError
from reasoning_anatomy.plugins import available, load
from reports import Figure, save_figures
from reports._style import MUTED

SHIPPED = {"deletion_by_category", "layer_head_map", "likelihood_curve", "rank_correlation_intervals", "threshold_frontier"}
FIGURES = tuple(available("figure"))


def test_the_folder_lists_its_figures():
    assert set(FIGURES) >= SHIPPED


@pytest.mark.parametrize("key", FIGURES)
def test_a_figure_is_a_title_a_caption_a_place_its_data_and_a_drawing(key, swept_run):
    figure = load("figure", key)
    assert isinstance(figure, Figure)
    assert figure.title
    assert figure.caption.endswith(".")
    assert figure.analysis is None or figure.analysis in available("analysis")
    assert list(figure.data(swept_run).columns)
    assert isinstance(figure.draw(swept_run), matplotlib.figure.Figure)


def test_what_the_figures_need_is_known_without_importing_an_analysis():
    script = (
        "import sys; from reports import needed_analyses; print(needed_analyses());"
        "print(sorted(name for name in sys.modules if name.startswith('analyses.')))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=120)
    needed, imported = done.stdout.splitlines()
    assert set(ast.literal_eval(needed)) >= {"rank_correlation", "deletion_by_category"}
    assert imported == "[]"


def test_categories_are_drawn_as_the_analysis_has_them(full_run):
    data = load("figure", "deletion_by_category").data(full_run)
    result = full_run.analysis("deletion_by_category")
    table = result.table[result.table["scheme"] == "categories"].set_index("term")
    for row, ending in (("mean", ""), ("given_position", " given position")):
        drawn = data[data["row"] == row].set_index("category")
        assert set(drawn.index) == set(CATEGORIES)
        for category, values in drawn.iterrows():
            expected = table.loc[f"{category}{ending}"]
            for column in ("estimate", "ci_low", "ci_high", "n_questions", "n_chains", "n_tokens"):
                assert values[column] == pytest.approx(expected[column], nan_ok=True)
    dots = data[data["row"] == "question"]
    for category, rows in dots.groupby("category"):
        assert rows["estimate"].mean() == pytest.approx(table.loc[category, "estimate"])
        assert len(rows) == table.loc[category, "n_questions"]


def test_the_table_of_categories_counts_what_was_never_deleted(full_run):
    table = load("figure", "deletion_by_category").table(full_run)
    tokens = full_run.tokens()
    assert table["category"].tolist() == [category for category in CATEGORIES if category in set(tokens["category_crude"])]
    for row in table.to_dict("records"):
        of_category = tokens[tokens["category_crude"] == row["category"]]
        assert row["n_tokens"] == len(of_category)
        assert row["n_censored"] == of_category["deletion_step_greedy"].isna().sum()
    assert table["n_censored"].sum() == tokens["deletion_step_greedy"].isna().sum() > 0


def test_one_annotator_is_drawn_the_first_or_the_named_one(make_full_run, chains, annotate):
    run = make_full_run(chains[:2])
    annotate(run, "other", shift=1)
    run.write_analysis(DeletionByCategory(draws=99).analyse(run))
    assert set(load("figure", "deletion_by_category").data(run)["annotator"]) == {"crude"}
    named = load("figure", "deletion_by_category:annotator=other")
    assert set(named.data(run)["annotator"]) == {"other"}
    assert set(named.table(run)["annotator"]) == {"other"}
    with pytest.raises(RunError, match="has no annotator 'nobody'; it has crude, other; make it again with: python -m"):
        load("figure", "deletion_by_category:annotator=nobody").data(run)


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
    figure = load("figure", "layer_head_map")
    data = figure.data(full_run)
    per_head = full_run.analysis("rank_correlation").details["per_head"]
    wanted = per_head[per_head["term"] == "spearman"].sort_values(["layer", "head"])
    for column in ("estimate", "ci_low", "ci_high", "p_value", "p_adjusted", "p_max_t"):
        np.testing.assert_array_equal(data[column], wanted[column])
    assert set(data["term"]) == {"spearman"}
    ends = figure.table(full_run)
    ordered = wanted["estimate"].sort_values(ascending=False)
    assert ends["estimate"].tolist() == [*ordered[:5], *ordered[-5:]]


def test_intervals_show_the_table_and_every_chain(full_run, chains):
    data = load("figure", "rank_correlation_intervals").data(full_run)
    result = full_run.analysis("rank_correlation")
    table = result.table.set_index("term")
    for term in ("spearman", "spearman_given_position"):
        (estimate,) = data[(data["row"] == "estimate") & (data["term"] == term)].to_dict("records")
        for column in ("scorer", "estimate", "ci_low", "ci_high"):
            assert estimate[column] == table.loc[term, column]
        dots = data[(data["row"] == "chain") & (data["term"] == term)].set_index("chain_id")["estimate"]
        expected = result.details["per_chain"].set_index("chain_id")[term]
        assert dots.to_dict() == expected.to_dict()
        assert len(dots) == len(chains)
        (numbers,) = load("figure", "rank_correlation_intervals").table(full_run).to_dict("records")
        for column, ending in (("estimate", ""), ("ci_low", "_low"), ("ci_high", "_high"), ("p_adjusted", "_p_adjusted")):
            assert numbers[term + ending] == table.loc[term, column]


@pytest.fixture(scope="module")
def two_scorers(make_full_run, chains):
    """A run with two scorers; only the second has heads."""
    run = make_full_run(chains)
    result = run.analysis("rank_correlation")
    scorers = ("surprisal", "h2o:layers=1: 2")
    details = {
        name: pd.concat([table.assign(scorer=scorer) for scorer in (scorers if name == "per_chain" else scorers[1:])])
        for name, table in result.details.items()
    }
    table = pd.concat([result.table.assign(scorer=scorer) for scorer in scorers], ignore_index=True)
    run.write_analysis(dataclasses.replace(result, table=table, details=details))
    return run


def test_scorers_are_rows_and_statistics_are_panels(two_scorers, chains):
    figure = load("figure", "rank_correlation_intervals:statistics=kendall spearman")
    data = figure.data(two_scorers)
    keys = [(scorer, term) for term in ("kendall", "spearman") for scorer in ("surprisal", "h2o:layers=1: 2")]
    estimates = data[data["row"] == "estimate"]
    assert set(zip(estimates["scorer"], estimates["term"], strict=True)) == set(keys)
    assert data[data["row"] == "chain"].groupby(["scorer", "term"]).size().to_dict() == dict.fromkeys(sorted(keys), len(chains))
    axes = figure.draw(two_scorers).axes
    assert [axis.get_title(loc="left") or axis.get_title() for axis in axes] == ["kendall", "spearman"]
    assert [label.get_text() for label in axes[0].get_yticklabels()] == ["surprisal", "h2o:layers=1: 2"]


def test_the_map_takes_the_first_scorer_with_heads_or_the_named_one(two_scorers):
    assert set(load("figure", "layer_head_map").data(two_scorers)["scorer"]) == {"h2o:layers=1: 2"}
    with pytest.raises(RunError, match=r"has no heads of scorer 'surprisal'; it has those of h2o"):
        load("figure", "layer_head_map:scorer=surprisal").data(two_scorers)


def test_a_scorer_without_heads_has_no_map(make_full_run, chains):
    run = make_full_run(chains[:2])
    result = run.analysis("rank_correlation")
    details = {name: table for name, table in result.details.items() if name != "per_head"}
    run.write_analysis(dataclasses.replace(result, details=details))
    with pytest.raises(RunError, match=r"has no table 'per_head' .*; make it again with a scorer that has"):
        load("figure", "layer_head_map").data(run)


@pytest.mark.parametrize("key", ["rank_correlation_intervals", "layer_head_map"])
def test_a_result_of_an_earlier_version_says_how_to_make_it_again(make_full_run, chains, key):
    run = make_full_run(chains[:2])
    result = run.analysis("rank_correlation")
    run.write_analysis(dataclasses.replace(result, table=result.table.drop(columns="scorer")))
    with pytest.raises(RunError, match=r"of an earlier version .*; make it again with: python -m analyses\.rank_correlation "):
        load("figure", key).data(run)


def test_a_figure_without_input_says_what_to_do(plain_run):
    with pytest.raises(RunError, match=r"python -m analyses\.rank_correlation"):
        load("figure", "layer_head_map").draw(plain_run)
    with pytest.raises(RunError, match=r"python -m analyses\.deletion_by_category"):
        load("figure", "deletion_by_category").draw(plain_run)


def test_an_unknown_term_lists_the_known_ones(full_run):
    with pytest.raises(RunError, match="it has kendall, kendall_given_position, spearman"):
        load("figure", "layer_head_map:term=pearson").data(full_run)
    with pytest.raises(RunError, match="has no term 'pearson'; it has spearman, spearman_given_position"):
        load("figure", "rank_correlation_intervals:statistics=kendall pearson").data(full_run)


def test_the_frontier_has_the_points_of_the_analysis(swept_run):
    data = load("figure", "threshold_frontier").data(swept_run)
    table = swept_run.analysis("threshold_comparison").details["frontier"]
    pd.testing.assert_frame_equal(data, table[list(data.columns)])
    np.testing.assert_allclose(data["tokens"], data["tokens_kept"] + data["tokens_generated"], rtol=1e-12)
    assert data.groupby(["strategy", data["reference"].fillna("")]).size().tolist() == [3, 3, 3, 3]


def test_the_frontier_has_a_line_per_strategy_grey_ones_for_baselines_and_thresholds_beside_the_points(swept_run):
    (axis,) = load("figure", "threshold_frontier").draw(swept_run).axes
    colours = {line.get_label(): line.get_color() for line in axis.lines}
    assert set(colours) == {"step_percentile", "streaming", "random_steps", "truncation"}
    assert colours["random_steps"] == colours["truncation"] == MUTED
    assert len({colours["step_percentile"], colours["streaming"], MUTED}) == 3
    assert sorted(text.get_text() for text in axis.texts) == ["0", "0", "0.3", "0.3", "0.6", "0.6"]
    bars = [path.vertices for collection in axis.collections for path in collection.get_paths() if len(path.vertices) == 2]
    table = load("figure", "threshold_frontier").data(swept_run)
    own = table[table["reference"].isna()]
    drawn = {(float(x), float(low), float(high)) for (x, low), (_, high) in bars}
    assert drawn == set(zip(own["tokens"], own["accuracy_low"], own["accuracy_high"], strict=True))


def test_a_point_that_is_not_compared_is_on_no_line(make_full_run, chains, swept_run):
    run = make_full_run(chains[:2])
    result = swept_run.analysis("threshold_comparison")
    frontier = result.details["frontier"]
    refused = frontier.assign(is_compared=frontier["threshold"] < 0.5, on_frontier=False)
    run.write_analysis(dataclasses.replace(result, details={**result.details, "frontier": refused}))
    (axis,) = load("figure", "threshold_frontier").draw(run).axes
    assert {len(line.get_xdata()) for line in axis.lines} == {2}
    crosses = [
        tuple(point) for dots in axis.collections if len(dots.get_paths()[0].vertices) == 4 for point in dots.get_offsets()
    ]
    left_out = refused[~refused["is_compared"] & refused["reference"].isna()]
    assert sorted(crosses) == sorted(zip(left_out["tokens"], left_out["accuracy"], strict=True))


def test_panels_are_readings_and_forms_of_restatements(make_full_run, chains, swept_run):
    run = make_full_run(chains[:2])
    result = swept_run.analysis("threshold_comparison")
    frontier = result.details["frontier"]
    first = frontier[frontier["strategy"] != "truncation"]
    both = pd.concat([first, frontier.assign(reading="evicted", restatements="stripped")], ignore_index=True)
    run.write_analysis(dataclasses.replace(result, details={**result.details, "frontier": both}))
    figure = load("figure", "threshold_frontier").draw(run)
    axes = figure.axes
    named = [text.get_text() for text in figure.legends[0].get_texts()]
    assert named == ["step_percentile", "streaming", "random_steps", "truncation"], "each once, in whichever panel it is"
    titles = [axis.get_title(loc="left") for axis in axes]
    assert titles == ["closed_up, restatements kept", "evicted, restatements stripped"]


def test_files_of_all_figures_are_written_and_the_same_whatever_the_settings(swept_run, tmp_path):
    first = save_figures(swept_run, tmp_path / "a")
    with matplotlib.rc_context({"font.size": 30, "svg.fonttype": "path", "axes.facecolor": "red"}):
        second = save_figures(swept_run, tmp_path / "b")
    assert {path.name for path in first} >= {f"{key}.{kind}" for key in SHIPPED for kind in ("csv", "svg", "pdf", "png")}
    for one, other in zip(first, second, strict=True):
        assert one.read_bytes() == other.read_bytes(), one.name
    starts = {"svg": b"<?xml", "pdf": b"%PDF", "png": b"\x89PNG"}
    for path in first:
        assert path.read_bytes().startswith(starts.get(path.suffix[1:], b"")), path.name
        if path.suffix == ".svg":
            ET.fromstring(path.read_text())
    data = pd.read_csv(tmp_path / "a" / "layer_head_map.csv")
    np.testing.assert_allclose(data["estimate"], load("figure", "layer_head_map").data(swept_run)["estimate"], rtol=1e-12)


def test_figures_that_lack_input_are_left_out(plain_run, tmp_path):
    drawn = {path.stem for path in save_figures(plain_run, tmp_path)}
    assert "likelihood_curve" in drawn
    assert drawn.isdisjoint(SHIPPED - {"likelihood_curve"})
