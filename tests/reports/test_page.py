"""The page as a file: its numbers, its escaping, its bytes."""

import dataclasses
import json
import re
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest

from reasoning_anatomy.errors import RunError
from reasoning_anatomy.run.manifest import read_manifest, write_manifest
from reasoning_anatomy.types import RESULT_COLUMNS, AnalysisResult, ReasoningChain
from reports import _viewer, write_report
from reports._style import CATEGORIES, cividis, contrast, number
from reports._viewer import page_json, token_markup

HOSTILE = (
    "<script>alert(1)</script>",
    "</script><script>alert(1)</script>",
    "<!-- <script>",
    "<img src=x onerror=alert(1)>",
    "a\u2028b\u2029c",
    "{{7*7}}{% raw %}",
    "w" * 3000,
    "\u202e\u05e9\u05dc\u05d5\u05dd \u0639\u0631\u0628",
    "a\rb $x^2$ & &amp; \"'`",
)


class Page(HTMLParser):
    """Elements, text and addresses of a page."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.addresses, self.text, self.data, self.attributes = [], [], [], [], []
        self.inside = ""
        self.feed(html)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.inside = tag
        for name, value in attributes:
            self.attributes.append(name)
            if name in {"src", "href", "xlink:href", "srcset", "action", "data", "poster"}:
                self.addresses.append(value)

    def handle_endtag(self, tag):
        self.inside = ""

    def handle_data(self, data):
        if self.inside == "script":
            self.data.append(data)
        elif self.inside != "style":
            self.text.append(data)


def report(run, path, **options):
    return write_report(run, path, **options).read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def html(full_run, tmp_path_factory):
    return report(full_run, tmp_path_factory.mktemp("page") / "r.html")


def test_the_page_goes_into_the_run_folder(make_full_run, chains):
    run = make_full_run(chains[:2])
    assert write_report(run) == run.folder / "report.html"
    assert not list(run.folder.glob(".tmp-*"))


def test_same_run_same_bytes(full_run, html, tmp_path):
    assert report(full_run, tmp_path / "again.html") == html


def test_numbers_are_those_of_the_tables(html, full_run):
    text = " ".join(Page(html).text)
    for shown in (
        "0.123",
        "\N{MINUS SIGN}0.0512 to 0.988",
        "< 0.001",
        "0.0346",
        "1,234",
        "Only 3 questions.",
        "2 constant attention",
    ):
        assert shown in text, shown
    assert f"{len(full_run.tokens()):,}" in text
    assert "6 measured of 6" in text
    assert f"greedy: {full_run.tokens()['deletion_step_greedy'].isna().sum()} of" in text


def test_scorers_side_by_side_are_rows_with_the_name_of_their_statistic(make_full_run, chains, tmp_path):
    run = make_full_run(chains[:2])
    result = run.analysis("rank_correlation")
    run.write_analysis(dataclasses.replace(result, table=result.table.assign(term="a<b>: " + result.table["term"])))
    html = report(run, tmp_path / "r.html")
    assert "<code>a&lt;b&gt;: spearman</code><small>Spearman&#39;s rho</small>" in html


def test_category_table_shows_the_data_of_the_figure(html, full_run):
    from reasoning_anatomy.plugins import load

    data = load("figure", "deletion_by_category").data(full_run)
    cells = re.findall(r"<td>(.*?)</td>", html)
    for row in data[data["row"] == "mean"].to_dict("records"):
        assert number(row["estimate"]) in cells
        assert f"{number(row['ci_low'])} to {number(row['ci_high'])}" in cells


def test_the_viewer_holds_the_numbers_of_the_run(html, full_run):
    data = [json.loads(text) for text in Page(html).data if text.startswith('{"ids"')]
    tokens, paths = full_run.tokens(), full_run.paths()
    assert len(data) == 6
    for numbers, (chain_id, rows) in zip(data, tokens.groupby("chain_id", sort=False), strict=True):
        assert numbers["ids"] == rows["token_id"].tolist()
        assert numbers["steps"]["greedy"] == rows["deletion_step_greedy"].fillna(0).tolist()
        np.testing.assert_allclose(numbers["scores"]["answer_attention"], rows["score_answer_attention"], rtol=6e-4)
        np.testing.assert_allclose(numbers["nll"]["greedy"], paths.loc[paths["chain_id"] == chain_id, "nll_answer"], rtol=6e-4)


def test_the_viewer_holds_no_number_where_none_was_evaluated(sparse_run, tmp_path):
    html = report(sparse_run, tmp_path / "r.html")
    first = next(json.loads(text) for text in Page(html).data if text.startswith('{"ids"'))
    nll = first["nll"]["sparse"]
    assert len(nll) == len(first["nll"]["greedy"])
    assert [step for step, value in enumerate(nll) if value is not None] == sorted({*range(0, len(nll), 5), len(nll) - 1})


def test_nothing_is_loaded_from_elsewhere(html):
    page = Page(html)
    assert all(address.startswith(("#", "data:image/png;base64,")) for address in page.addresses)
    assert re.findall(r"url\((?!#)[^)]*\)", html) == []
    assert "@import" not in html
    assert not {"link", "iframe", "img", "object", "embed", "base"} & set(page.tags)


def test_ids_are_unique(html):
    ids = re.findall(r'\bid="([^"]+)"', html)
    assert len(ids) == len(set(ids))


def test_hostile_text_stays_text(make_full_run, tmp_path):
    chains = [
        ReasoningChain(
            chain_id=text, question_id=text, question=text, reasoning=f"so {text} then 1", answer=text, gold_answer=text,
            system_prompt=text, source={text: text, "nested": {"a": [text]}},
        )
        for text in HOSTILE
    ]  # fmt: skip
    run = make_full_run(chains)
    rows = [[text, 0.5, 0.1, 0.9, 0.1, 0.1, 1, 1, 1] for text in HOSTILE]
    table = pd.DataFrame(rows, columns=list(RESULT_COLUMNS))
    run.write_analysis(AnalysisResult("other", table, {}, dict.fromkeys(HOSTILE, 1), HOSTILE, "".join(HOSTILE)))
    write_manifest(run.folder, read_manifest(run.folder).model_copy(update={"failed": {text: text for text in HOSTILE}}))
    page = Page(report(run, tmp_path / "r.html"))
    assert not {"img", "iframe", "object"} & set(page.tags)
    assert not {"onerror", "onload"} & set(page.attributes)
    assert page.tags.count("script") == len(HOSTILE) + 2, "one of numbers per chain, one of names, one of code"
    shown = "".join(page.text).replace("\u240d", "\n").replace("\r", "\n")
    for text in HOSTILE:
        assert shown.count(text.replace("\r", "\n")) >= 6, text


def test_page_json_cannot_leave_its_element():
    value = {"a": "</script><!--&\u2028\u2029é"}
    text = page_json(value)
    assert not set("<>&\u2028\u2029") & set(text)
    assert json.loads(text) == value


@pytest.mark.parametrize(
    ("reasoning", "spans", "hidden"),
    [
        ("a b", [(0, 1), (2, 3)], {}),
        ("é!", [(0, 1), (0, 1), (1, 2)], {1: "é"}),
        ("a🙂b", [(0, 1), (1, 2), (1, 2), (1, 2), (2, 3)], {2: "🙂", 3: "🙂"}),
        ("ab", [(0, 0), (0, 1), (1, 1), (1, 2)], {}),
        ("abc", [(0, 2), (1, 3)], {1: "bc"}),
        (" a\n\nb ", [(0, 2), (2, 4), (4, 5)], {}),
    ],
)
def test_every_character_is_shown_once(reasoning, spans, hidden):
    markup, found = token_markup(reasoning, spans, [None] * len(spans))
    assert "".join(Page(markup).text) == reasoning
    assert found == hidden
    assert markup.count("<span") == len(spans)
    assert markup.count("<i></i>\n") == reasoning.count("\n")


def test_missing_pieces_become_sentences(plain_run, tmp_path):
    html = report(plain_run, tmp_path / "r.html")
    assert "python -m analyses.rank_correlation RUN" in html
    assert "reasoning-anatomy annotate RUN" in html
    assert str(plain_run.folder) not in html


def test_an_unfinished_run_has_a_page(make_full_run, chains, tmp_path):
    run = make_full_run(chains[:2])
    for name in ("tokens.parquet", "paths.parquet"):
        (run.folder / name).unlink()
    assert "run the same command again" in report(run, tmp_path / "r.html")


def test_no_strategy_and_no_scorer(make_full_run, chains, tmp_path):
    run = make_full_run(chains[:2])
    tokens = pd.read_parquet(run.folder / "tokens.parquet").drop(columns=["deletion_step_greedy", "score_answer_attention"])
    tokens.to_parquet(run.folder / "tokens.parquet")
    pd.DataFrame().to_parquet(run.folder / "paths.parquet")
    html = report(run, tmp_path / "r.html")
    assert "has no pruning strategy" in html
    assert "has no pruning path" in html


def test_failed_chains_are_named_with_their_reason(make_full_run, chains, tmp_path):
    run = make_full_run(chains[:2])
    failed = {f"bad-{number}": "non-finite nll" for number in range(60)}
    write_manifest(run.folder, read_manifest(run.folder).model_copy(update={"failed": failed, "n_chains": 62}))
    html = report(type(run)(run.folder), tmp_path / "r.html")
    assert "bad-49" in html
    assert "bad-50" not in html
    assert "10 more are named in run.json" in html


def test_chains_left_out_are_counted(full_run, tmp_path):
    html = report(full_run, tmp_path / "r.html", max_chains=2)
    assert html.count('<article class="chain') == 2
    assert "2 of 6 measured chains are shown; 4 are left out" in html
    chosen = report(full_run, tmp_path / "r.html", chain_ids=["chain-4"])
    assert chosen.count('<article class="chain') == 1
    assert ">chain-4</h3>" in chosen
    with pytest.raises(RunError, match="no-such"):
        write_report(full_run, tmp_path / "r.html", chain_ids=["no-such"])


def test_the_page_stays_below_its_size(full_run, tmp_path, monkeypatch):
    monkeypatch.setattr(_viewer, "SIZE_LIMIT", 10_000)
    html = report(full_run, tmp_path / "r.html")
    assert 0 < html.count('<article class="chain') < 6
    assert "because the page would exceed 5 MB" in html


def test_many_long_chains_stay_below_five_megabytes(make_planted_run, tmp_path):
    text = "word & <x> 12 " * 600
    chains = [
        ReasoningChain(chain_id=f"c{number}", question_id=f"q{number}", question="?", reasoning=text, answer="1")
        for number in range(24)
    ]
    path = write_report(make_planted_run(tmp_path / "run", chains), tmp_path / "r.html")
    assert 3_000_000 < path.stat().st_size < 5_000_000
    assert "because the page would exceed 5 MB" in path.read_text(encoding="utf-8")


def test_text_on_every_colour_can_be_read():
    assert all(contrast(background, text) >= 4.5 for background, text in cividis())
    for category in CATEGORIES:
        assert contrast(category.fill, "#1b1c1f") >= 4.5
        assert contrast(category.dark_fill, "#e6e6e3") >= 4.5
    assert contrast("#000000", "#ffffff") == pytest.approx(21)


def test_categories_differ_without_colour():
    assert len({category.underline for category in CATEGORIES}) == len(CATEGORIES)


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0.123456, "0.123"),
        (-0.5, "\N{MINUS SIGN}0.500"),
        (0, "0"),
        (12345.6, "12,346"),
        (1.0, "1"),
        (123.4, "123"),
        (float("nan"), "\N{EN DASH}"),
        (None, "\N{EN DASH}"),
    ],
)
def test_three_significant_digits(value, shown):
    assert number(value) == shown
