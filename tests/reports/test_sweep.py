"""The page of a run with a sweep: its tables, what the viewer holds of it, and what becomes of hostile answers."""

import dataclasses
import json
import re
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest

from reasoning_anatomy.cli.results import analyse, report
from reasoning_anatomy.plugins import load
from reasoning_anatomy.run import open_run
from reasoning_anatomy.run.selection import Kept
from reasoning_anatomy.run.sweep import SweepFolder
from reports import needed_analyses, write_report
from reports._style import number, p_value
from reports._sweeps import RESPONSE_LENGTH, SAMPLES_SHOWN, runs_of

HOSTILE = (
    "</script><script>window.hacked=1</script>",
    "<!-- <script>",
    "<img src=x onerror='window.hacked=1'>",
    "a\u2028b\u2029c\x00\x1b",
    "{{7*7}}{% raw %}",
    "\u202e\u05e9\u05dc\u05d5\u05dd & &amp; \"'`",
)


class Page(HTMLParser):
    """Tags, attributes and the data of scripts."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.attributes, self.scripts = [], [], []
        self.inside = ""
        self.feed(html)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.attributes += [name for name, _ in attributes]
        self.inside = tag

    def handle_endtag(self, tag):
        self.inside = ""

    def handle_data(self, data):
        if self.inside == "script":
            self.scripts.append(data)


def page_of(run, path, **options):
    return write_report(run, path, **options).read_text(encoding="utf-8")


def sweeps_of(html):
    """What the viewer holds of every chain's sweep; None for a chain without one."""
    return [json.loads(text).get("sweep") for text in Page(html).scripts if text.startswith('{"ids"')]


def section_of(html, key="threshold_comparison"):
    part = html[html.index(f'<section id="{key}">') :]
    return part[: part.index("</section>")]


def tables_of(html):
    """Text of the cells of every table, row by row."""
    return [
        [[re.sub(r"<wbr>|<small></small>", "", cell) for cell in re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row)] for row in rows]
        for rows in (re.findall(r"<tr>(.*?)</tr>", table) for table in re.findall(r"<table>(.*?)</table>", html, re.DOTALL))
    ]


def with_below(value, below):
    return f"{value}<small>{below}</small>"


def kept(row):
    return f"kept {100 * row['share_of_tokens_kept']:.0f}\N{NO-BREAK SPACE}%"


def interval(low, high):
    return f"{number(low)} to {number(high)}"


@pytest.fixture(scope="module")
def html(swept_run, tmp_path_factory):
    return page_of(swept_run, tmp_path_factory.mktemp("page") / "r.html")


def test_a_run_without_a_sweep_does_not_speak_of_one(full_run, tmp_path):
    html = page_of(full_run, tmp_path / "r.html")
    for word in ("threshold_comparison", 'id="threshold"', 'id="answers"', "<h3>Sweep", '<div class="plain-only">', '"sweep"'):
        assert word not in html, word
    assert html.count("<script>") == 5
    assert "threshold_comparison" not in needed_analyses(full_run)
    assert "threshold_comparison" in needed_analyses()


def test_a_run_with_a_sweep_begins_with_what_it_found(html, swept_run):
    sections = re.findall(r'<section id="(\w+)"', html)
    assert sections[:2] == ["findings", "threshold_comparison"]
    claim = swept_run.analysis("threshold_comparison").finding.partition(":")[0]
    assert html.count(f"<strong>{claim}</strong>") == 2
    part = section_of(html)
    places = ["</strong>", "<svg", "<h3>Accuracy against tokens</h3>", "Compared with threshold 0", "Whole table of threshold"]
    assert sorted(places, key=part.index) == places
    assert '<details class="closed"><summary>Whole table of threshold comparison' in part, "the long form is closed"


def test_a_sweep_that_is_not_analysed_yet_says_how(make_planted_run, chains, add_sweep, tmp_path):
    run = add_sweep(make_planted_run(tmp_path / "run", chains[:2]), lambda *_: ("5", "eos"))
    assert needed_analyses(run)[-1] == "threshold_comparison"
    part = section_of(page_of(run, tmp_path / "r.html"), "findings")
    assert part.count("<code>python -m analyses.threshold_comparison RUN</code>") == 1


def test_every_threshold_has_its_row_and_every_baseline_its_column(html, swept_run):
    details = swept_run.analysis("threshold_comparison").details
    thresholds = details["thresholds"]
    found = tables_of(section_of(html))
    for strategy in ("step_percentile", "streaming"):
        rows = [["threshold", "accuracy", "steps kept", "tokens kept", "difference from threshold 0", "p adjusted", "verdict"]]
        for row in thresholds[(thresholds["strategy"] == strategy) & thresholds["reference"].isna()].to_dict("records"):
            is_zero = row["threshold"] == 0
            ends = interval(row["difference_low"], row["difference_high"])
            rows.append(
                [
                    with_below(f"{row['threshold']:g}", kept(row)),
                    with_below(number(row["accuracy"]), interval(row["accuracy_low"], row["accuracy_high"])),
                    number(row["steps_kept"]),
                    number(row["tokens_kept"]),
                    "\N{EN DASH}" if is_zero else with_below(number(row["difference"]), ends),
                    p_value(row["p_adjusted"]),
                    "\N{EN DASH}" if is_zero else row["verdict"],
                ]
            )
        assert len(rows) == 4
        assert rows in found
    baselines = details["baselines"].set_index(["baseline", "threshold"])
    own = thresholds[(thresholds["strategy"] == "step_percentile") & thresholds["reference"].isna()].set_index("threshold")
    rows = [["threshold", "tokens kept", "accuracy", "random_steps", "truncation"]]
    for threshold in (0.3, 0.6):
        cells = []
        for name in ("random_steps", "truncation"):
            row = baselines.loc[(name, threshold)]
            said = f"{row['verdict']}, p {p_value(row['p_adjusted'])}" if pd.notna(row["p_adjusted"]) else row["verdict"]
            cells.append(with_below(number(row["accuracy_of_baseline"]), said))
        rows.append(
            [
                with_below(f"{threshold:g}", kept(own.loc[threshold])),
                number(row["tokens_kept"]),
                number(row["accuracy"]),
                *cells,
            ]
        )
    assert rows in found


def test_truncation_is_shown_where_it_forbids_a_comparison(make_full_run, chains, swept_run, tmp_path):
    run = make_full_run(chains[:2])
    result = swept_run.analysis("threshold_comparison")
    details = dict(result.details)
    is_refused = (details["truncation"]["strategy"] == "streaming") & (details["truncation"]["threshold"] == 0.6)
    details["truncation"] = details["truncation"].assign(differs=is_refused)
    thresholds = details["thresholds"].assign(truncated=0.25)
    refused = (thresholds["strategy"] == "streaming") & (thresholds["threshold"] == 0.6)
    thresholds.loc[refused, ["truncated", "difference", "difference_low", "difference_high", "p_adjusted"]] = [
        0.75,
        *[np.nan] * 4,
    ]
    thresholds.loc[refused, "verdict"] = "not compared: truncation differs"
    run.write_analysis(dataclasses.replace(result, details={**details, "thresholds": thresholds}))
    (run.folder / "evaluations.parquet").write_bytes((swept_run.folder / "evaluations.parquet").read_bytes())
    tables = tables_of(section_of(page_of(run, tmp_path / "r.html")))
    with_rates = [table for table in tables if "share cut off" in table[0]]
    assert len(with_rates) == 1
    place = with_rates[0][0].index("share cut off")
    assert [row[place] for row in with_rates[0][1:]] == ["0.250", "0.250", "0.750"]
    assert with_rates[0][3][-1] == "not compared: truncation differs"
    assert with_rates[0][3][4] == "\N{EN DASH}"


def test_the_first_two_strategies_are_open(make_full_run, chains, swept_run, tmp_path):
    run = make_full_run(chains[:2])
    result = swept_run.analysis("threshold_comparison")
    details = {
        name: pd.concat([table, table.assign(reading="evicted")], ignore_index=True) for name, table in result.details.items()
    }
    run.write_analysis(dataclasses.replace(result, details=details))
    (run.folder / "evaluations.parquet").write_bytes((swept_run.folder / "evaluations.parquet").read_bytes())
    part = section_of(page_of(run, tmp_path / "r.html"))
    heads = re.findall(r'<details class="summary"( open)?><summary>(.*?)</summary>', part)
    assert heads == [
        (" open", "step_percentile (closed_up, restatements kept)"),
        (" open", "streaming (closed_up, restatements kept)"),
        ("", "step_percentile (evicted, restatements kept)"),
        ("", "streaming (evicted, restatements kept)"),
    ]


def test_texts_that_were_written_anew_have_their_peak_and_their_length(make_full_run, chains, swept_run, tmp_path):
    run = make_full_run(chains[:2])
    result = swept_run.analysis("threshold_comparison")
    details = {name: table.assign(reading="live") for name, table in result.details.items()}
    details["thresholds"] = details["thresholds"].assign(peak_cache_tokens=100 - 50 * details["thresholds"]["threshold"])
    run.write_analysis(dataclasses.replace(result, details=details))
    (run.folder / "evaluations.parquet").write_bytes((swept_run.folder / "evaluations.parquet").read_bytes())
    html = page_of(run, tmp_path / "r.html")
    compared = [table for table in tables_of(section_of(html)) if "peak cache tokens" in table[0]]
    assert len(compared) == 2
    place = compared[0][0].index("peak cache tokens")
    assert compared[0][0][place - 1 : place + 2] == ["tokens kept", "peak cache tokens", "tokens generated"]
    assert [row[place] for row in compared[0][1:]] == ["100", "85", "70"]
    assert "baselines that evict at the same budget" in html
    assert "baselines that keep as many tokens; below" not in html


def test_the_page_says_what_was_swept(html):
    part = section_of(html, "provenance")
    assert "<b>step_percentile</b> <code>step_percentile()</code>" in part
    assert "<b>baselines of the same length</b> <code>random_steps, truncation</code>" in part
    assert "<b>thresholds</b> <code>0, 0.3, 0.6</code>" in part
    assert "<b>answers</b> <code>Answering(segmenter=&#39;sentences&#39;)</code>" in part


@pytest.mark.parametrize(
    ("positions", "runs"),
    [([0, 1, 2, 3], [4]), ([1, 2], [0, 1, 2, 1]), ([0, 3], [1, 2, 1]), ([3], [0, 3, 1]), ([0], [1, 3]), ([], [0, 4])],
)
def test_what_is_kept_is_written_as_runs(positions, runs):
    assert runs_of(Kept(np.array(positions, dtype=np.int64), 4)) == runs


def test_the_viewer_holds_what_is_kept_and_what_was_answered(html, swept_run):
    folder = SweepFolder(swept_run, swept_run.manifest.configuration)
    table = swept_run.evaluations().set_index(["chain_id", "strategy", "threshold", "sample"]).sort_index()
    sweeps = dict(zip(swept_run.measured, sweeps_of(html), strict=True))
    assert len(sweeps) == 6
    for chain_id, sweep in sweeps.items():
        assert set(sweep["rows"]) == {"step_percentile", "streaming"}, "baselines are not in the viewer"
        for condition in swept_run.manifest.configuration.conditions.values():
            if condition.reference:
                continue
            rows = {row[0]: row for row in sweep["rows"][condition.strategy]["closed_up"]["kept"]}
            assert list(rows) == [0, 0.3, 0.6]
            _, kept, steps, places = rows[condition.threshold]
            flags = np.concatenate([np.full(length, run % 2 == 0) for run, length in enumerate(sweep["kept"][kept])])
            expected = folder.kept(chain_id, condition)
            np.testing.assert_array_equal(np.flatnonzero(flags), expected.positions)
            assert len(flags) == expected.n_reasoning
            for sample, place in enumerate(places):
                answer = table.loc[(chain_id, condition.strategy, condition.threshold, sample)]
                text, extracted, verdict, reason, length = sweep["answers"][place]
                assert sweep["texts"][text] == answer["response"]
                assert (extracted, verdict, reason) == tuple(answer[["extracted", "verdict", "finish_reason"]])
                assert (length, steps, sweep["steps"]) == tuple(answer[["tokens_generated", "steps_after", "steps_before"]])


def test_what_thresholds_share_is_there_once(html):
    for sweep in sweeps_of(html):
        for name in ("texts", "kept", "answers"):
            stored = [json.dumps(value) for value in sweep[name]]
            assert len(stored) == len(set(stored))
        assert len(sweep["texts"]) == 2, "one right and one wrong answer"
        assert len(sweep["kept"]) == 5, "all of it, and two thresholds of two strategies"


def test_without_scripts_every_chain_has_the_answers_of_the_first_strategy(html, swept_run):
    table = swept_run.evaluations()
    chain = table[(table["chain_id"] == "chain-1") & (table["strategy"] == "step_percentile")]
    first = chain[chain["sample"] == 0].set_index("threshold")
    correct = (chain["verdict"] == "correct").groupby(chain["threshold"]).sum()
    header = ["threshold", "tokens kept", "steps kept", "answer", "verdict", "finish reason", "correct"]
    rows = [
        [
            f"{threshold:g}", str(row["tokens_after"]), number(row["steps_after"]), row["extracted"], row["verdict"],
            row["finish_reason"], f"{correct[threshold]} of 2",
        ]
        for threshold, row in first.iterrows()
    ]  # fmt: skip
    assert [header, *rows] in tables_of(html)
    assert html.count('<div class="plain-only">') == 6
    assert "Answers from what step_percentile leaves, the first of each threshold" in html


def test_a_chain_without_answers_has_no_sweep(make_planted_run, chains, add_sweep, tmp_path):
    run = add_sweep(make_planted_run(tmp_path / "run", chains[:3]), lambda *_: ("5", "eos"), samples=1)
    for path in (run.layout.evaluations("chain-1")).glob("answers-*"):
        path.unlink()
    table = run.evaluations()
    table[table["chain_id"] != "chain-1"].to_parquet(run.folder / "evaluations.parquet")
    html = page_of(run, tmp_path / "r.html")
    assert [sweep is None for sweep in sweeps_of(html)] == [False, True, False]
    assert html.count('<div class="plain-only">') == 2
    assert "the first of each threshold" not in html, "there is one"


def test_hostile_answers_stay_text(make_planted_run, chains, add_sweep, tmp_path):
    many = [chains[0].model_copy(update={"chain_id": f"c{number}"}) for number in range(len(HOSTILE))]

    def respond(chain, strategy, share, sample):
        text = HOSTILE[int(chain.chain_id[1:])]
        return f"{text} \\boxed{{{text}}}", "loop"

    run = add_sweep(make_planted_run(tmp_path / "run", many), respond, samples=1)
    html = page_of(run, tmp_path / "r.html")
    page = Page(html)
    assert page.tags.count("script") == len(HOSTILE) + 7, "one of numbers per chain, one of words, six of code"
    assert not {"img", "iframe", "object"} & set(page.tags)
    assert not {"onerror", "onload"} & set(page.attributes)
    for text, sweep in zip(HOSTILE, sweeps_of(html), strict=True):
        visible = text.replace("\x00", "\u2400").replace("\x1b", "\u241b")
        assert sweep["texts"] == [f"{visible} \\boxed{{{visible}}}"]


def test_long_responses_and_many_samples_are_cut(make_planted_run, chains, add_sweep, tmp_path):
    def respond(chain, strategy, share, sample):
        return f"{sample} " + "w" * RESPONSE_LENGTH, "length"

    run = add_sweep(make_planted_run(tmp_path / "run", chains[:2]), respond, samples=SAMPLES_SHOWN + 2)
    html = page_of(run, tmp_path / "r.html")
    for sweep in sweeps_of(html):
        assert sweep["texts"] == [
            f"{n} " + "w" * (RESPONSE_LENGTH - 2) + "\N{HORIZONTAL ELLIPSIS}" for n in range(SAMPLES_SHOWN)
        ]
        (rows,) = (rows for strategy, rows in sweep["rows"].items() if strategy == "streaming")
        assert all(len(row[3]) == SAMPLES_SHOWN for row in rows["closed_up"]["kept"])
    assert "Responses are cut after 1,500 characters; the first 8 of 10 samples are here" in html


def test_the_sweep_of_a_long_chain_takes_little_room(make_planted_run, chains, add_sweep, tmp_path):
    text = "word " * 5000
    run = make_planted_run(tmp_path / "run", [chains[0].model_copy(update={"reasoning": text})])
    before = len(page_of(run, tmp_path / "r.html"))
    run = add_sweep(run, lambda *_: ("\\boxed{5}", "eos"), thresholds=tuple(np.linspace(0, 0.9, 10)))
    assert len(page_of(run, tmp_path / "r.html")) - before < 20_000, "5,000 flags for each of 20 conditions would be 200,000"


def test_same_sweep_same_bytes(swept_run, html, tmp_path):
    assert page_of(open_run(swept_run.folder), tmp_path / "again.html") == html


def test_only_named_strategies_of_a_sweep_are_shown(swept_run, tmp_path):
    run = open_run(swept_run.folder, only=["streaming"])
    assert set(run.evaluations()["strategy"]) == {"streaming"}
    assert not run.is_current("threshold_comparison")
    html = page_of(run, tmp_path / "r.html")
    assert all(set(sweep["rows"]) == {"streaming"} for sweep in sweeps_of(html))
    assert '<input type="hidden" id="swept" value="streaming">' in html
    assert "<b>step_percentile</b>" not in html
    assert "baselines of the same length" not in html


@pytest.mark.parametrize(
    ("only", "shown"),
    [
        (["step_percentile"], {"step_percentile", "random_steps", "truncation"}),  # its baselines come along
        (["step_percentile", "truncation"], {"step_percentile", "truncation"}),
        (["random_steps"], {"step_percentile", "streaming", "random_steps"}),  # of the strategies none is named
        (["greedy"], {"step_percentile", "streaming", "random_steps", "truncation"}),
    ],
)
def test_swept_strategies_and_their_baselines_are_two_kinds(swept_run, only, shown):
    run = open_run(swept_run.folder, only=only)
    assert set(run.evaluations()["strategy"]) == shown
    assert {condition.strategy for condition in run.manifest.configuration.conditions.values()} == shown


def test_report_and_analyse_compare_the_thresholds_of_a_sweep(make_planted_run, chains, add_sweep, tmp_path, capsys):
    run = add_sweep(make_planted_run(tmp_path / "run", chains[:4]), lambda *_: ("\\boxed{5}", "eos"))
    assert "threshold_comparison" not in run.analyses
    report(run.folder)
    said = capsys.readouterr().out.partition("\nthreshold_comparison: ")[2]
    assert "% of the chain kept)" in said.partition(": by step_percentile (closed_up, restatements kept), accuracy ")[0]
    assert '<section id="threshold_comparison">' in (run.folder / "report.html").read_text(encoding="utf-8")
    report(run.folder)
    assert "threshold_comparison:" not in capsys.readouterr().out, "the result is current"
    analyse(run.folder)
    assert "\nthreshold_comparison: " in capsys.readouterr().out
    assert load("figure", "threshold_frontier").data(run.analysis("threshold_comparison"))["strategy"].nunique() == 4
