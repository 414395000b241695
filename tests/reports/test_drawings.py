"""What stands in a figure is what the result, or the run, says: read back from its axes."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
from matplotlib.collections import LineCollection, PathCollection
from matplotlib.colors import to_hex
from matplotlib.patches import Rectangle

from reasoning_anatomy.categories import CATEGORIES
from reasoning_anatomy.errors import AnalysisError, MissingError, PluginError
from reasoning_anatomy.types import Annotation
from reports import figure
from reports._drawing import apart, shown
from reports._figures import loaded, source_of
from reports._style import LOOKS, MUTED, SERIES, category_name


def data_of(spec, run, **options):
    plugin = loaded(spec, **options)
    return plugin.data(source_of(plugin, run))


def curves(axis):
    """Points of every line with more than two."""
    return [line.get_xydata() for line in axis.lines if len(line.get_xdata()) > 2]


def whiskers(axis):
    """Both ends and the height of every horizontal line of a collection."""
    lines = [segment for found in axis.collections if isinstance(found, LineCollection) for segment in found.get_segments()]
    return sorted((round(left, 9), round(right, 9), round(height, 9)) for (left, height), (right, _) in lines)


def dots(axis):
    return [tuple(point) for found in axis.collections if isinstance(found, PathCollection) for point in found.get_offsets()]


def row_names(axis):
    return [label.get_text() for label in axis.get_yticklabels()]


def panel(drawn, title):
    (found,) = [axis for axis in drawn.axes if axis.get_title(loc="left") == title]
    return found


def test_scorers_stand_by_kind_and_size_and_competitors_are_grey(analysed_run):
    data = data_of("rank_correlation_intervals", analysed_run)
    table = analysed_run.analysis("rank_correlation").table.query("term == 'spearman_given_position'").set_index("scorer")
    scorers = list(dict.fromkeys(data["scorer"]))
    assert set(scorers) == set(table.index)
    kinds = [table.loc[scorer, "kind"] for scorer in scorers]
    assert kinds == sorted(kinds, key=["independent signal", "own first step", "trivial competitor"].index)
    assert len(set(kinds)) > 1
    for kind in set(kinds):
        sizes = [abs(table.loc[scorer, "estimate"]) for scorer in scorers if table.loc[scorer, "kind"] == kind]
        assert sizes == sorted(sizes, reverse=True)
    whole = figure("rank_correlation_intervals", analysed_run)
    axis = panel(whole, "spearman given position")
    names = row_names(whole.axes[0])
    assert [name for name in names if name in scorers] == scorers
    assert len(names) == len(scorers) + len(set(kinds)), "a heading for each kind"
    drawn = {}
    for found in axis.collections:
        if isinstance(found, PathCollection) and found.get_alpha() is None:
            ((estimate, height),) = found.get_offsets().data
            drawn[names[round(height + 0.14)]] = (estimate, to_hex(found.get_facecolor()[0]))
    for scorer, (estimate, colour) in drawn.items():
        assert estimate == pytest.approx(table.loc[scorer, "estimate"], nan_ok=True)
        assert (colour == MUTED) == (table.loc[scorer, "kind"] != "independent signal")
    assert set(drawn) == set(scorers)


@pytest.mark.parametrize("term", ["spearman", "kendall"])
def test_layers_are_lines_with_their_intervals(term, analysed_run):
    per_layer = analysed_run.analysis("rank_correlation").details["per_layer"]
    drawn = figure("layer_profile", analysed_run, term=term)
    for scorer in set(per_layer["scorer"]):
        axis = panel(drawn, shown(scorer, 26))
        raw, given = [line for line in axis.lines if str(line.get_label()) in ("raw", "given position")]
        for line, name in ((raw, term), (given, f"{term}_given_position")):
            rows = per_layer[(per_layer["scorer"] == scorer) & (per_layer["term"] == name)]
            np.testing.assert_array_equal(line.get_xydata(), rows[["layer", "estimate"]])
    with pytest.raises(AnalysisError, match="has no term 'pearson' to be drawn; it has spearman"):
        figure("layer_profile", analysed_run, term="pearson")


def test_the_map_is_of_the_scorer_that_is_named(analysed_run):
    per_head = analysed_run.analysis("rank_correlation").details["per_head"]
    scorers = list(dict.fromkeys(per_head["scorer"]))
    assert len(scorers) > 1
    for scorer in scorers:
        axis = panel(figure("head_map", analysed_run, scorer=scorer), scorer)
        rows = per_head[(per_head["scorer"] == scorer) & (per_head["term"] == "spearman")]
        np.testing.assert_array_equal(axis.collections[0].get_array().ravel(), rows["estimate"])


def test_ranks_of_scores_are_those_of_the_tokens_of_the_run(analysed_run):
    data = data_of("score_by_deletion_step", analysed_run, bins=4)
    tokens = analysed_run.tokens()
    assert set(data["scorer"]) == set(analysed_run.manifest.configuration.scorers)
    by_hand = []
    for _, rows in tokens.groupby("chain_id", sort=False):
        ranks = rows["score_recency"].rank().sub(1) / (len(rows) - 1)
        for rank, step in zip(ranks, rows["deletion_step_greedy"], strict=True):
            if pd.notna(step):
                by_hand.append((int(np.searchsorted([0.25, 0.5, 0.75], step / len(rows))), rank))
    expected = pd.DataFrame(by_hand, columns=["part", "rank"]).groupby("part")["rank"]
    rows = data[data["scorer"] == "recency"]
    np.testing.assert_allclose(rows["median"], expected.median(), atol=1e-12)
    np.testing.assert_allclose(rows["q25"], expected.quantile(0.25), atol=1e-12)
    np.testing.assert_array_equal(rows["n_tokens"], expected.size())
    (line,) = curves(panel(figure("score_by_deletion_step", analysed_run, bins=4), "recency"))
    np.testing.assert_allclose(line[:, 1], rows["median"])
    assert data["n_tokens"].sum() == 4 * tokens["deletion_step_greedy"].notna().sum(), "what is never deleted is nowhere"
    with pytest.raises(PluginError, match="bins=1: expected 2 or more"):
        figure("score_by_deletion_step", analysed_run, bins=1)


def test_every_kind_of_token_has_its_survival_curve(analysed_run):
    table = analysed_run.analysis("category_survival").details["curves"]
    first = table[(table["annotator"] == "crude") & (table["strategy"] == "greedy")].dropna(subset="estimate")
    drawn = figure("survival_curves", analysed_run)
    groups = first[first["scheme"].isin(["categories", "classes"])].groupby("group", sort=False)
    assert [axis.get_title(loc="left") for axis in drawn.axes] == [
        category_name(name).replace("_", " ") for name in groups.groups
    ]
    for (_, rows), axis in zip(groups, drawn.axes, strict=True):
        (thick,) = [line for line in axis.lines if line.get_linewidth() == 1.5]
        np.testing.assert_array_equal(thick.get_xydata()[0], [0, 1])
        np.testing.assert_array_equal(thick.get_xydata()[1:], rows[["time", "estimate"]])
    other = data_of("survival_curves", analysed_run, annotator="other", strategy="truncation")
    assert set(zip(other["annotator"], other["strategy"], strict=True)) == {("other", "truncation")}


@pytest.mark.parametrize("position", ["raw", "given_position"])
def test_bars_are_what_is_kept_beside_what_is_kept_of_all(position, analysed_run):
    ending = "" if position == "raw" else " given position"
    table = analysed_run.analysis("category_survival").details["retention"]
    rows = table[(table["annotator"] == "crude") & (table["strategy"] == "greedy") & (table["scheme"] == "categories")]
    rows = rows[rows["term"].isin([name + ending for name in CATEGORIES])].dropna(subset="kept")
    drawn = figure("retention", analysed_run, position=position)
    for ratio, of_ratio in rows.groupby("keep_ratio"):
        axis = panel(drawn, f"keep ratio {ratio:g}")
        bars = [patch.get_width() for patch in axis.patches if isinstance(patch, Rectangle)]
        assert bars == of_ratio["kept"].tolist()
        names = [" ".join(name.split()) for name in row_names(drawn.axes[0])]
        assert names == [category_name(term.removesuffix(ending)) for term in of_ratio["term"]]
        low = (of_ratio["achieved"] + of_ratio["ci_low"]).clip(0, 1)
        high = (of_ratio["achieved"] + of_ratio["ci_high"]).clip(0, 1)
        flat = [line for line in whiskers(axis) if line[0] != line[1]]
        np.testing.assert_allclose(flat, sorted(zip(low, high, range(len(low)), strict=True)), atol=1e-8)


def test_strategies_are_lines_and_baselines_are_grey(analysed_run):
    table = analysed_run.analysis("strategy_comparison").details["curves"]
    (axis,) = figure("strategy_curves", analysed_run).axes
    lines = curves(axis)
    assert len(lines) == 3
    colours = {}
    for name, rows in table.groupby("strategy", sort=False):
        (found,) = [number for number, line in enumerate(lines) if np.array_equal(line, rows[["keep_ratio", "rise"]])]
        colours[name] = [line for line in axis.lines if len(line.get_xdata()) > 2][found].get_color()
    assert colours == {"greedy": SERIES[0], "random_tokens": MUTED, "truncation": MUTED}
    assert sorted(text.get_text() for text in axis.texts) == ["greedy", "random_tokens", "truncation"]
    assert axis.get_xlim()[0] == 1, "more is deleted from left to right"


def test_many_strategies_have_a_panel_each(analysed_run):
    result = analysed_run.analysis("strategy_comparison")
    copies = {
        name: pd.concat([result.details[name].assign(strategy=result.details[name]["strategy"] + str(n)) for n in range(3)])
        for name in ("curves", "strategies")
    }
    drawn = figure("strategy_curves", dataclasses.replace(result, details={**result.details, **copies}))
    assert [axis.get_title(loc="left") for axis in drawn.axes] == copies["strategies"]["strategy"].tolist()
    assert {len(curves(axis)) for axis in drawn.axes} == {9}


def test_the_forest_has_the_differences_and_verdicts_of_the_analysis(swept_run):
    table = swept_run.analysis("threshold_comparison").details["thresholds"]
    own = table[table["reference"].isna() & (table["threshold"] > 0)]
    (axis,) = figure("threshold_forest", swept_run).axes
    names = row_names(axis)
    kept = zip(own["threshold"], own["share_of_tokens_kept"], strict=True)
    named = [f"{threshold:g} ({100 * share:.0f}\N{NO-BREAK SPACE}%)" for threshold, share in kept]
    assert [name for name in names if name] == named
    assert names.count("") == own.groupby(["strategy", "reading", "restatements"]).ngroups, "a heading each"
    places = [place for place, name in enumerate(names) if name]
    found = sorted((height, estimate) for estimate, height in dots(axis))
    assert found == list(zip(places, own["difference"], strict=True))
    verdicts = [text.get_text() for text in sorted(axis.texts, key=lambda text: text.xy[1]) if text.xy[0] == 1]
    assert verdicts == own["verdict"].tolist()
    expected = sorted(zip(own["difference_low"].round(9), own["difference_high"].round(9), places, strict=True))
    np.testing.assert_allclose(whiskers(axis), expected, atol=1e-8)


def test_chains_and_differences_in_sparsity_are_those_of_the_analysis(analysed_run):
    result = analysed_run.analysis("attention_sparsity")
    left, right = figure("sparsity", analysed_run).axes
    chains = result.details["per_chain"]
    drawn = sorted((x > 0.5, value) for x, value in dots(left))
    assert drawn == sorted(
        (not is_correct, value) for is_correct, value in zip(chains["is_correct"], chains["value"], strict=True)
    )
    joined = sorted(tuple(line.get_ydata()) for line in left.lines)
    by_question = chains.pivot_table(index="question_id", columns="is_correct", values="value")
    assert joined == sorted(zip(by_question[True], by_question[False], strict=True))
    rows = result.table[result.table["term"].str.startswith("wrong - correct")]
    assert sorted(estimate for estimate, _ in dots(right)) == sorted(rows["estimate"])
    assert len(row_names(right)) == 4


def test_cells_count_what_two_annotators_said(analysed_run):
    tokens = analysed_run.tokens()
    counted = tokens.groupby(["category_crude", "category_other"]).size()
    (axis,) = figure("annotator_confusion", analysed_run).axes
    rows, columns = ([label.get_text() for label in labels] for labels in (axis.get_yticklabels(), axis.get_xticklabels()))
    said = {(rows[round(text._y)], columns[round(text._x)]): int(text.get_text()) for text in axis.texts}
    assert {pair: count for pair, count in said.items() if count} == {
        (category_name(one), category_name(other)): count for (one, other), count in counted.items()
    }
    shares = data_of("annotator_confusion", analysed_run).groupby("category_a")["share_of_row"].sum(min_count=1).dropna()
    np.testing.assert_allclose(shares, 1)
    assert axis.get_ylabel() == "crude"
    assert axis.get_xlabel() == "other"


def test_the_cache_falls_where_something_was_evicted(written_run, plain_run):
    data = data_of("cache_size", written_run)
    transcripts = written_run.transcripts()
    for chain_id, transcript in transcripts.items():
        rows = data[data["chain_id"] == chain_id]
        assert set(rows["policy"]) == {transcript.policy}
        falls = -rows["in_cache"].diff().where(rows["written"].diff() == 0).dropna()
        assert falls.tolist() == [event.n_before - event.n_after for event in transcript.events]
        assert rows["in_cache"].iloc[0] == rows["without_evictions"].iloc[0] == transcript.n_prompt
        assert (rows["without_evictions"] - rows["in_cache"]).iloc[-1] == transcript.n_evicted
    drawn = figure("cache_size", written_run)
    assert len(drawn.axes) == len({transcript.policy for transcript in transcripts.values()})
    assert sum(len(axis.lines) - 1 for axis in drawn.axes) == len(transcripts), "and a dotted one in each panel"
    with pytest.raises(MissingError, match="has no text that was written under an eviction policy; make some with"):
        figure("cache_size", plain_run)


def test_predictions_are_dots_and_what_the_table_says_stands_above(analysed_run):
    result = analysed_run.analysis("predict_likelihood")
    predictions, table = result.details["predictions"], result.table.set_index(["predictor", "term"])["estimate"]
    drawn = figure("predicted_likelihood", analysed_run)
    assert [axis.get_title(loc="left").split("\n")[0] for axis in drawn.axes] == list(dict.fromkeys(predictions["predictor"]))
    for axis in drawn.axes:
        name, r, rho = axis.get_title(loc="left").replace("\N{MINUS SIGN}", "-").split("\n")
        assert float(r.removeprefix("r ")) == pytest.approx(table[name, "pearson"], rel=0.005)
        assert float(rho.rpartition(" ")[2]) == pytest.approx(table[name, "spearman_within_stage"], rel=0.005)
        rows = predictions[predictions["predictor"] == name]
        np.testing.assert_array_equal(dots(axis), rows[["measured", "predicted"]])


@pytest.mark.parametrize("colour", ["category", "score", "step"])
def test_a_strip_has_the_text_of_its_chain_and_colours_that_follow_the_numbers(colour, analysed_run):
    (axis,) = figure("token_strip", analysed_run, chain="q2-wrong", colour=colour).axes
    tokens = analysed_run.tokens()
    tokens = tokens[tokens["chain_id"] == "q2-wrong"]
    texts, boxes = axis.texts[-len(tokens) :], axis.patches[-len(tokens) :]
    assert [text.get_text() for text in texts] == tokens["text"].tolist()
    fills = pd.Series([box.get_facecolor() for box in boxes], index=tokens.index)
    if colour == "category":
        expected = {look.key: look.fill for look in LOOKS}
        assert [to_hex(fill) for fill in fills] == [expected[category] for category in tokens["category_crude"]]
        return
    column = "score_answer_attention" if colour == "score" else "deletion_step_greedy"
    values = tokens[column].astype(float)
    lightness = fills[values.notna()].map(lambda fill: np.dot(fill[:3], [0.2126, 0.7152, 0.0722]))
    assert lightness.corr(values.rank(), method="spearman") > 0.98, "cividis is lighter the higher"
    assert {fill[3] for fill in fills[values.isna()]} <= {0.0}, "no value, no shade"


def test_a_long_chain_is_cut_and_says_so(analysed_run):
    (axis,) = figure("token_strip", analysed_run, tokens=5).axes
    n_tokens = (analysed_run.tokens()["chain_id"] == "q0-right").sum()
    assert axis.texts[-1].get_text() == f" \N{HORIZONTAL ELLIPSIS} {n_tokens - 5} more"
    assert len(data_of("token_strip", analysed_run, tokens=5)) == 5
    with pytest.raises(MissingError, match="has no measured chain 'nobody'; the chains are named in"):
        figure("token_strip", analysed_run, chain="nobody")
    with pytest.raises(MissingError, match="has no scorer 'nobody'"):
        figure("token_strip", analysed_run, scorer="nobody")


def test_a_strip_without_labels_asks_for_them_or_shows_steps(plain_run):
    with pytest.raises(MissingError, match="has no annotator; add one: reasoning-anatomy annotate"):
        figure("token_strip", plain_run)
    assert figure("token_strip", plain_run, colour="step").axes


NASTY = "<script>alert(1)</script>", "$x_1$ \\frac", "a\nb\x00\u202e", "\U0001f600 \u6f22", "w" * 300


@pytest.mark.parametrize("name", NASTY)
def test_names_and_text_from_outside_are_drawn_as_text(name, analysed_run, tmp_path):
    result = analysed_run.analysis("rank_correlation")
    renamed = {key: table.assign(scorer=name) if "scorer" in table else table for key, table in result.details.items()}
    hostile = dataclasses.replace(result, table=result.table.assign(scorer=name), details=renamed)
    for key in ("head_map", "layer_profile"):
        drawn = figure(key, hostile)
        drawn.canvas.draw()
        assert any(shown(name, 26)[:20] in axis.get_title(loc="left") for axis in drawn.axes)
    drawn.savefig(tmp_path / "a.svg")
    assert b"<script" not in (tmp_path / "a.svg").read_bytes()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain", "plain"), ("a\tb\n", "a b "), ("\x00\u202e", "\ufffd\ufffd"), ("\U0001f9ff", "\ufffd"), ("\ud800", "\ufffd"),
        ("x" * 40, "x" * 35 + "\N{HORIZONTAL ELLIPSIS}"),
    ],
)  # fmt: skip
def test_text_is_made_fit_for_the_font(text, expected):
    assert shown(text) == expected


@pytest.mark.parametrize(
    ("places", "moved"), [([3.0, 0.0], [3.0, 0.0]), ([1.0, 1.0, 1.0], [0.0, 1.0, 2.0]), ([0.0, 0.5, 9.0], [-0.25, 0.75, 9.0])]
)
def test_names_keep_apart_and_in_order(places, moved):
    assert apart(places, 1.0) == pytest.approx(moved)


def test_a_category_that_is_none_of_the_six_is_drawn_as_other(make_planted_run, chains, tmp_path):
    run = make_planted_run(tmp_path / "run", chains[:1])
    n_tokens = len(run.tokens())
    run.write_annotations("mine", {chains[0].chain_id: Annotation("M()", (None,) * n_tokens)})
    (axis,) = figure("token_strip", run).axes
    assert {to_hex(box.get_facecolor()) for box in axis.patches} == {"#ffffff"}
