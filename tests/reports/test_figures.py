"""Figures: their data against hand computation, and the same bytes every time."""

import ast
import dataclasses
import os
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ET

import matplotlib
import matplotlib.figure
import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from PIL import Image

from analyses.deletion_by_category import DeletionByCategory
from reasoning_anatomy.categories import CATEGORIES
from reasoning_anatomy.errors import AnalysisError, PluginError, RunError
from reasoning_anatomy.plugins import available, load
from reports import Figure, figure, needed_analyses, save_figure, save_figures
from reports._figures import figures_of, loaded, source_of
from reports._style import MUTED

SHIPPED = {
    "annotator_confusion", "cache_size", "deletion_by_category", "head_map", "layer_profile", "likelihood_curve",
    "predicted_likelihood", "rank_correlation_intervals", "retention", "score_by_deletion_step", "sparsity",
    "strategy_curves", "student_accuracy", "survival_curves", "threshold_forest", "threshold_frontier", "token_strip",
}  # fmt: skip
FIGURES = tuple(available("figure"))
OF_ANOTHER_RUN = {
    "cache_size": "written_run", "student_accuracy": "taught_students", "threshold_forest": "swept_run",
    "threshold_frontier": "swept_run",
}  # fmt: skip
"""Fixtures for what `analysed_run` does not hold."""


def data_of(spec, run, **options):
    figure = loaded(spec, **options)
    return figure.data(source_of(figure, run))


def table_of(spec, run):
    figure = loaded(spec)
    return figure.table(source_of(figure, run))


@pytest.fixture
def run_for(request):
    """Give the run that a figure can be drawn of."""
    return lambda key: request.getfixturevalue(OF_ANOTHER_RUN.get(key, "analysed_run"))


def test_the_folder_lists_its_figures():
    assert set(FIGURES) >= SHIPPED


@pytest.mark.parametrize("key", FIGURES)
def test_a_figure_is_a_title_a_caption_a_place_its_data_and_a_drawing(key, run_for):
    plugin = load("figure", key)
    assert isinstance(plugin, Figure)
    assert plugin.title
    assert plugin.caption.endswith(".")
    assert plugin.analysis is None or plugin.analysis in available("analysis")
    assert len(data_of(key, run_for(key)))
    assert isinstance(figure(key, run_for(key)), matplotlib.figure.Figure)


@pytest.mark.parametrize("key", FIGURES)
@pytest.mark.parametrize(("width", "inches"), [("column", 3.35), ("double", 7.0)])
def test_a_figure_has_the_width_of_one_column_or_two_and_nothing_is_cut(key, width, inches, run_for):
    drawn = figure(key, run_for(key), width=width)
    assert drawn.get_figwidth() == inches
    FigureCanvasAgg(drawn).draw()  # lays it out
    needed = drawn.get_tightbbox()
    assert min(needed.min) >= -0.01, (key, needed)
    assert needed.x1 <= inches + 0.01, (key, needed)
    assert needed.y1 <= drawn.get_figheight() + 0.01, (key, needed)


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
    data = data_of("deletion_by_category", full_run)
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
    table = table_of("deletion_by_category", full_run)
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
    assert set(data_of("deletion_by_category", run)["annotator"]) == {"crude"}
    assert set(data_of("deletion_by_category:annotator=other", run)["annotator"]) == {"other"}
    assert set(table_of("deletion_by_category:annotator=other", run)["annotator"]) == {"other"}
    with pytest.raises(AnalysisError, match="has no annotator 'nobody' to be drawn; it has crude, other"):
        data_of("deletion_by_category:annotator=nobody", run)


def test_likelihood_curve_is_read_between_deletions_and_averaged(full_run):
    data = data_of("likelihood_curve:points=11", full_run)
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
    data = data_of("likelihood_curve:points=11", sparse_run)
    assert data["nll_answer"].notna().all()
    lengths = sparse_run.tokens().groupby("chain_id").size()
    evaluated = sparse_run.paths().query("strategy == 'sparse'").dropna(subset="nll_answer")
    for chain_id, rows in data[(data["strategy"] == "sparse") & (data["curve"] == "chain")].groupby("chain_id"):
        path = evaluated[evaluated["chain_id"] == chain_id]
        expected = np.interp(rows["fraction_deleted"], path["deletion_step"] / lengths[chain_id], path["nll_answer"])
        np.testing.assert_allclose(rows["nll_answer"], expected, atol=1e-12)
    mean = data[data["curve"] == "mean"].groupby("strategy")["fraction_deleted"].agg(["min", "max"])
    assert mean.loc["sparse"].tolist() == mean.loc["greedy"].tolist()
    lines = [line.get_ydata() for axis in figure("likelihood_curve:points=11", sparse_run).axes for line in axis.lines]
    assert len(lines) == 2 * (len(lengths) + 1)
    assert all(np.isfinite(line).all() for line in lines)


def test_head_map_shows_the_table_of_the_analysis(full_run):
    data = data_of("head_map", full_run)
    per_head = full_run.analysis("rank_correlation").details["per_head"]
    wanted = per_head[per_head["term"] == "spearman"].sort_values(["layer", "head"])
    for column in ("estimate", "ci_low", "ci_high", "p_value", "p_adjusted", "p_max_t"):
        np.testing.assert_array_equal(data[column], wanted[column])
    assert set(data["term"]) == {"spearman"}
    ends = table_of("head_map", full_run)
    ordered = wanted["estimate"].sort_values(ascending=False)
    assert ends["estimate"].tolist() == [*ordered[:5], *ordered[-5:]]


def test_intervals_show_the_table_and_every_chain(full_run, chains):
    data = data_of("rank_correlation_intervals", full_run)
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
        (numbers,) = table_of("rank_correlation_intervals", full_run).to_dict("records")
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
    spec = "rank_correlation_intervals:statistics=kendall spearman"
    data = data_of(spec, two_scorers)
    keys = [(scorer, term) for term in ("kendall", "spearman") for scorer in ("surprisal", "h2o:layers=1: 2")]
    estimates = data[data["row"] == "estimate"]
    assert set(zip(estimates["scorer"], estimates["term"], strict=True)) == set(keys)
    assert data[data["row"] == "chain"].groupby(["scorer", "term"]).size().to_dict() == dict.fromkeys(sorted(keys), len(chains))
    axes = figure(spec, two_scorers).axes
    assert [axis.get_title(loc="left") or axis.get_title() for axis in axes] == ["kendall", "spearman"]
    assert [label.get_text() for label in axes[0].get_yticklabels()] == ["surprisal", "h2o:layers=1: 2"]


def test_the_map_takes_the_first_scorer_with_heads_or_the_named_one(two_scorers):
    assert set(data_of("head_map", two_scorers)["scorer"]) == {"h2o:layers=1: 2"}
    with pytest.raises(AnalysisError, match=r"has no scorer 'surprisal' to be drawn; it has h2o"):
        data_of("head_map:scorer=surprisal", two_scorers)


def test_a_scorer_without_heads_has_no_map(make_full_run, chains):
    run = make_full_run(chains[:2])
    result = run.analysis("rank_correlation")
    details = {name: table for name, table in result.details.items() if name != "per_head"}
    run.write_analysis(dataclasses.replace(result, details=details))
    with pytest.raises(AnalysisError, match=r"has no table 'per_head' \(its scorers have no value per head\); make it again"):
        data_of("head_map", run)


@pytest.mark.parametrize("key", ["rank_correlation_intervals", "head_map"])
def test_a_result_of_an_earlier_version_says_how_to_make_it_again(make_full_run, chains, key):
    run = make_full_run(chains[:2])
    result = run.analysis("rank_correlation")
    run.write_analysis(dataclasses.replace(result, table=result.table.drop(columns="scorer")))
    with pytest.raises(AnalysisError, match=r"of an earlier version .*; make it again with: python -m analyses\.rank_corr"):
        data_of(key, run)


def test_a_figure_without_input_says_what_to_do(plain_run):
    with pytest.raises(RunError, match=r"python -m analyses\.rank_correlation"):
        figure("head_map", plain_run)
    with pytest.raises(RunError, match=r"python -m analyses\.deletion_by_category"):
        figure("deletion_by_category", plain_run)


def test_an_unknown_term_lists_the_known_ones(full_run):
    with pytest.raises(AnalysisError, match="it has spearman, spearman_given_position, kendall, kendall_given_position"):
        data_of("head_map:term=pearson", full_run)
    with pytest.raises(AnalysisError, match="has no term 'pearson'; it has spearman, spearman_given_position"):
        data_of("rank_correlation_intervals:statistics=kendall pearson", full_run)


def test_the_frontier_has_the_points_of_the_analysis(swept_run):
    data = data_of("threshold_frontier", swept_run)
    table = swept_run.analysis("threshold_comparison").details["frontier"]
    pd.testing.assert_frame_equal(data.drop(columns="share_of_tokens_kept"), table[list(data.columns[:-1])])
    cell = ["strategy", "threshold"]
    kept = swept_run.analysis("threshold_comparison").details["thresholds"].groupby(cell)["share_of_tokens_kept"].agg(set)
    assert all(row["share_of_tokens_kept"] in kept[row["strategy"], row["threshold"]] for row in data.to_dict("records"))
    np.testing.assert_allclose(data["tokens"], data["tokens_kept"] + data["tokens_generated"], rtol=1e-12)
    assert data.groupby(["strategy", data["reference"].fillna("")]).size().tolist() == [3, 3, 3, 3]


def test_the_frontier_has_a_line_per_strategy_grey_ones_for_baselines_and_thresholds_beside_the_points(swept_run):
    (axis,) = figure("threshold_frontier", swept_run).axes
    colours = {line.get_label(): line.get_color() for line in axis.lines}
    assert set(colours) == {"step_percentile", "streaming", "random_steps", "truncation"}
    assert colours["random_steps"] == colours["truncation"] == MUTED
    assert len({colours["step_percentile"], colours["streaming"], MUTED}) == 3
    shown = [text.get_text().replace("\N{NO-BREAK SPACE}", " ") for text in axis.texts]
    assert sorted(text.partition(" ")[0] for text in shown) == ["0", "0", "0.3", "0.3", "0.6", "0.6"]
    assert {text for text in shown if text.startswith("0 ")} == {"0 (100 %)"}
    bars = [path.vertices for collection in axis.collections for path in collection.get_paths() if len(path.vertices) == 2]
    table = data_of("threshold_frontier", swept_run)
    own = table[table["reference"].isna()]
    drawn = {(float(x), float(low), float(high)) for (x, low), (_, high) in bars}
    assert drawn == set(zip(own["tokens"], own["accuracy_low"], own["accuracy_high"], strict=True))


def test_a_point_that_is_not_compared_is_on_no_line(make_full_run, chains, swept_run):
    run = make_full_run(chains[:2])
    result = swept_run.analysis("threshold_comparison")
    frontier = result.details["frontier"]
    refused = frontier.assign(is_compared=frontier["threshold"] < 0.5, on_frontier=False)
    run.write_analysis(dataclasses.replace(result, details={**result.details, "frontier": refused}))
    (axis,) = figure("threshold_frontier", run).axes
    assert {len(line.get_xdata()) for line in axis.lines} == {2}
    crosses = [
        tuple(point) for dots in axis.collections if len(dots.get_paths()[0].vertices) == 4 for point in dots.get_offsets()
    ]
    left_out = refused[~refused["is_compared"] & refused["reference"].isna()]
    assert sorted(crosses) == sorted(zip(left_out["tokens"], left_out["accuracy"], strict=True))


def test_students_have_a_line_per_strategy_that_ends_at_whole_chains_and_a_mark_per_control(taught_students):
    data = data_of("student_accuracy", taught_students)
    pd.testing.assert_frame_equal(data, taught_students.analysis("distillation").details["arms"][list(data.columns)])
    (axis,) = figure("student_accuracy", taught_students).axes
    lines = {line.get_label(): line.get_xydata() for line in axis.lines}
    assert {name: len(points) for name, points in lines.items()} == {
        "greedy": 3, "random_tokens": 3, "whole chains": 1, "answers only": 1, "untrained": 1,
    }  # fmt: skip
    np.testing.assert_allclose(lines["greedy"][-1], lines["whole chains"][0])
    assert sorted(text.get_text() for text in axis.texts) == ["0.7", "0.7", "0.9", "0.9"]


def test_figures_of_runs_and_of_students_refuse_the_other(taught_students, plain_run):
    with pytest.raises(AnalysisError, match="give it students"):
        figure("student_accuracy", plain_run)
    with pytest.raises(AnalysisError, match="give it a run"):
        figure("head_map", taught_students)
    assert "student_accuracy" not in figures_of(plain_run)


def test_panels_are_readings_and_forms_of_restatements(make_full_run, chains, swept_run):
    run = make_full_run(chains[:2])
    result = swept_run.analysis("threshold_comparison")
    frontier = result.details["frontier"]
    first = frontier[frontier["strategy"] != "truncation"]
    both = pd.concat([first, frontier.assign(reading="evicted", restatements="stripped")], ignore_index=True)
    run.write_analysis(dataclasses.replace(result, details={**result.details, "frontier": both}))
    drawn = figure("threshold_frontier", run)
    axes = drawn.axes
    named = [text.get_text() for text in drawn.legends[0].get_texts()]
    assert named == ["step_percentile", "streaming", "random_steps", "truncation"], "each once, in whichever panel it is"
    titles = [axis.get_title(loc="left") for axis in axes]
    assert titles == ["closed_up, restatements kept", "evicted, restatements stripped"]


@pytest.fixture(scope="module")
def files(request, tmp_path_factory):
    """Write the figures of three runs, whatever the user's settings: a folder of figures by folder of a run."""
    folders = {}
    with matplotlib.rc_context({"font.size": 30, "svg.fonttype": "none", "axes.facecolor": "red"}):
        analysed = request.getfixturevalue("analysed_run")
        folders[analysed] = tmp_path_factory.mktemp("figures")
        save_figures(analysed, folders[analysed])
        for key, fixture in OF_ANOTHER_RUN.items():
            run = request.getfixturevalue(fixture)
            folder = folders.setdefault(run, tmp_path_factory.mktemp("figures"))
            for kind in ("pdf", "svg", "png"):
                save_figure(run, key, folder / f"{key}.{kind}")
    return folders


def test_every_figure_is_written_in_every_format_with_its_data(files):
    written = {path.name: path for folder in files.values() for path in folder.iterdir()}
    assert set(written) >= {f"{key}.{kind}" for key in SHIPPED for kind in ("csv", "svg", "pdf", "png")}
    starts = {"svg": b"<?xml", "pdf": b"%PDF", "png": b"\x89PNG"}
    for name, path in written.items():
        assert path.read_bytes().startswith(starts.get(path.suffix[1:], b"")), name
        if path.suffix == ".svg":
            ET.fromstring(path.read_text())
    data = pd.read_csv(written["head_map.csv"])
    np.testing.assert_allclose(data["estimate"], data_of("head_map", next(iter(files)))["estimate"], rtol=1e-12)


def test_another_process_writes_the_same_bytes(files, tmp_path):
    script = (
        "import sys; from pathlib import Path; from reports import save_figure\n"
        "from reasoning_anatomy.cli._app import open_folder\n"
        "for line in sys.stdin:\n"
        "    run, key = line.rstrip().split('|'); save_figure(open_folder(Path(run), ()), key, formats=('png', 'svg', 'pdf'))"
    )
    copies = {run: shutil.copytree(run.folder, tmp_path / run.folder.name) for run in files}
    drawn = [(run, path.stem) for run, folder in files.items() for path in sorted(folder.glob("*.csv"))]
    lines = "\n".join(f"{copies[run]}|{key}" for run, key in drawn)
    command = [sys.executable, "-W", "error", "-c", script]
    subprocess.run(command, input=lines, text=True, check=True, timeout=120, env={**os.environ, "PYTHONHASHSEED": "1"})
    for run, folder in files.items():
        for path in folder.iterdir():
            assert path.read_bytes() == (copies[run] / "figures" / path.name).read_bytes(), path.name


@pytest.mark.parametrize("key", ["head_map", "token_strip"])
def test_files_carry_their_caption_and_need_no_font(key, analysed_run, tmp_path):
    plugin = load("figure", key)
    svg, pdf, png, table = save_figure(analysed_run, key, formats=("svg", "pdf", "png"))
    assert [path.suffix for path in (svg, pdf, png, table)] == [".svg", ".pdf", ".png", ".csv"]
    root = ET.fromstring(svg.read_text())
    said = " ".join("".join(root.itertext()).split())
    assert plugin.title in said
    assert plugin.caption in said
    assert not root.findall(".//{http://www.w3.org/2000/svg}text"), "outlines, which need no font"
    assert b"/FontFile2" in pdf.read_bytes(), "TrueType, embedded"
    assert b"/Type3" not in pdf.read_bytes()
    with Image.open(png) as picture:
        assert picture.text["Title"] == plugin.title
        assert picture.text["Description"] == plugin.caption


def test_figures_that_lack_input_are_left_out(plain_run, tmp_path):
    drawn = {path.stem for path in save_figures(plain_run, tmp_path)}
    assert {"likelihood_curve", "score_by_deletion_step"} <= drawn
    assert drawn.isdisjoint(SHIPPED - {"likelihood_curve", "score_by_deletion_step"})


def test_a_result_is_drawn_without_its_run(analysed_run, tmp_path):
    result = analysed_run.analysis("rank_correlation")
    (of_result, table), (of_run, _) = (
        save_figure(source, "head_map", tmp_path / f"{number}.svg") for number, source in enumerate((result, analysed_run))
    )
    assert of_result.read_bytes() == of_run.read_bytes()
    assert table == tmp_path / "0.csv"
    assert isinstance(figure("head_map", result, width="column"), matplotlib.figure.Figure)


def test_a_figure_says_what_it_wants_instead(analysed_run, plain_run, tmp_path):
    result = analysed_run.analysis("rank_correlation")
    with pytest.raises(AnalysisError, match="'survival_curves' draws the result of category_survival, not of rank_correlation"):
        figure("survival_curves", result)
    with pytest.raises(AnalysisError, match=r"'likelihood_curve' draws the tables of a run, not a result; give it open_run\("):
        figure("likelihood_curve", result)
    with pytest.raises(RunError, match="has no analysis 'category_survival'; make it with: python -m analyses"):
        figure("survival_curves", plain_run)
    with pytest.raises(AnalysisError, match="name the file: path="):
        save_figure(result, "head_map")
    with pytest.raises(RunError, match="'jpg' is no format of a figure; there are pdf, svg, png"):
        save_figures(plain_run, tmp_path, formats=("jpg",))
    with pytest.raises(PluginError, match=r"'head_map': width='wide': Input should be 'column' or 'double'"):
        figure("head_map", result, width="wide")
    with pytest.raises(PluginError, match="head_map has no option colour; it has alpha, scorer, term, width"):
        figure("head_map", result, colour="red")
    assert list(tmp_path.iterdir()) == []


def test_figures_on_demand_ask_for_no_analysis_and_are_shown_where_the_result_is(plain_run, analysed_run):
    assert "category_survival" not in needed_analyses()
    assert "category_survival" not in needed_analyses(plain_run)
    assert "category_survival" in needed_analyses(analysed_run)
    assert "survival_curves" not in figures_of(plain_run)
    assert "survival_curves" in figures_of(analysed_run)
    assert "token_strip" not in figures_of(analysed_run)
