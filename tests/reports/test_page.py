"""The page as a file: its numbers, its escaping, its bytes."""

import dataclasses
import importlib
import json
import re
import sys
from html.parser import HTMLParser
from urllib.parse import unquote

import numpy as np
import pandas as pd
import pytest

from analyses.rank_correlation import RankCorrelation
from reasoning_anatomy.categories import CATEGORIES
from reasoning_anatomy.errors import RunError
from reasoning_anatomy.plugins import load
from reasoning_anatomy.run import open_run
from reasoning_anatomy.run.manifest import Configuration
from reasoning_anatomy.run.writer import begin_run
from reasoning_anatomy.types import RESULT_COLUMNS, AnalysisResult, EncodedChain, ReasoningChain, TokenScores
from reports import _viewer, needed_analyses, write_report
from reports._figures import figures_of
from reports._sections import AnalysisView
from reports._style import LOOKS, category_name, cividis, contrast, number, p_value, whole
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


def tables_of(html):
    """Cells of every table of a page, row by row."""
    return [
        [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row) for row in re.findall(r"<tr>(.*?)</tr>", table)]
        for table in re.findall(r"<table>(.*?)</table>", html, flags=re.DOTALL)
    ]


def interval(row, low="ci_low", high="ci_high"):
    if pd.isna(row[low]):
        return "\N{EN DASH}"
    is_nothing = (row[low], row[high]) in ((0, 1), (-1, 1))
    return "says nothing" if is_nothing else f"{number(row[low])} to {number(row[high])}"


def test_the_table_of_an_analysis_is_on_the_page_row_by_row(html, full_run):
    result = full_run.analysis("rank_correlation")
    expected = [["term", "estimate", "interval", "p", "p adjusted", "questions", "chains", "tokens"]]
    for row in result.table.to_dict("records"):
        counts = [whole(row[name]) for name in ("n_questions", "n_chains", "n_tokens")]
        term = f"{row['term']}<small>{RankCorrelation.terms[row['term']].replace(chr(39), '&#39;')}</small>"
        expected.append(
            [term, number(row["estimate"]), interval(row), p_value(row["p_value"]), p_value(row["p_adjusted"]), *counts]
        )
    assert expected in tables_of(html)
    assert "scorer: <b>answer_attention</b>" in html, "what all rows share stands above the table"
    text = " ".join(Page(html).text)
    for warning in result.warnings:
        assert warning in text
    assert f"{len(full_run.tokens()):,}" in text
    assert "6 measured of 6" in text
    assert f"greedy: {full_run.tokens()['deletion_step_greedy'].isna().sum()} of" in text


def test_numbers_beside_a_figure_are_its_table_row_by_row(html, full_run):
    rows = [
        [
            category_name(row["category"]), number(row["estimate"]), interval(row), number(row["given_position"]),
            interval(row, "given_position_low", "given_position_high"),
            *(whole(row[name]) for name in ("n_questions", "n_chains", "n_tokens", "n_censored")),
        ]
        for row in load("figure", "deletion_by_category").table(full_run.analysis("deletion_by_category")).to_dict("records")
    ]  # fmt: skip
    assert rows in [[[re.sub("<.*?>", "", cell) for cell in row] for row in table[1:]] for table in tables_of(html)]
    heads = load("figure", "head_map").table(full_run.analysis("rank_correlation"))
    expected = [[whole(row["layer"]), whole(row["head"]), number(row["estimate"])] for row in heads.to_dict("records")]
    assert expected in [[row[:3] for row in table[1:]] for table in tables_of(html)]


def words_of(html):
    """Text of a page with single spaces."""
    return " ".join("".join(Page(html).text).split())


def test_findings_come_first_and_their_first_sentence_again_before_their_figures_and_tables(html, full_run):
    text = words_of(html)
    first_figure = text.index("One row per scorer")
    for name in ("rank_correlation", "deletion_by_category"):
        finding = " ".join(full_run.analysis(name).finding.split())
        verdict, _, said = finding.partition(": ")
        said = said[0].upper() + said[1:]
        lead = re.split(r"(?<=[.]) (?=[A-Z])", said)[0]
        assert text.index(f"{verdict} {said}") < first_figure
        _, second = (match.start() for match in re.finditer(re.escape(f"{verdict} {lead}"), text))
        assert second < text.index("Intervals stand below", second) < text.index(f"Whole table of {name.replace('_', ' ')}")


def test_a_finding_begins_with_its_verdict_and_what_it_says_stands_apart_from_its_numbers():
    view = AnalysisView("a", finding="Undecided: it is open who goes: rho 0.29 (0.21 to 0.37). Without that it is 1.\nMore: 3.")
    assert view.lead == ("Undecided", "It is open who goes", ": rho 0.29 (0.21 to 0.37).")
    assert view.further == [("", "Without that it is 1.", ""), ("", "More", ": 3.")]
    assert AnalysisView("a", finding="None differs.").lead == ("", "None differs.", "")


def test_of_several_scorers_the_page_says_first_what_the_attention_of_the_answer_does(make_planted_run, chains, tmp_path):
    run = make_planted_run(tmp_path / "run", chains, strength=0.5)
    more = run.manifest.configuration.model_copy(update={"scorers": {"another": "Another()"}, "strategies": {}})
    with begin_run(run.folder, more, chains) as writer:
        for chain_id in run.measured:
            order = run.path(chain_id, "greedy").deletion_step
            writer.add_scores(chain_id, "another", TokenScores(order))
    run = open_run(run.folder)
    run.write_analysis(load("analysis", "rank_correlation:draws=99").analyse(run))
    alone = load("analysis", "rank_correlation:draws=99,scorer=answer_attention,competitors=false").analyse(run).finding
    alone = " ".join(alone.split())
    text = words_of(write_report(run).read_text(encoding="utf-8"))
    assert text.index(alone.partition(": ")[2][1:]) < text.index(" of 2 signals ") < text.index("How to read")


def test_columns_that_differ_stay_in_the_table(make_full_run, chains, tmp_path):
    run = make_full_run(chains[:2])
    result = run.analysis("rank_correlation")
    table = pd.concat([result.table, result.table.assign(scorer="a<b>")], ignore_index=True)
    run.write_analysis(dataclasses.replace(result, table=table))
    html = report(run, tmp_path / "r.html")
    assert ["a&lt;b&gt;", "spearman<small>Spearman&#39;s rho</small>"] in [
        row[:2] for table in tables_of(html) for row in table
    ]


def test_a_long_table_is_closed_when_the_page_opens(html, full_run):
    n_rows = len(full_run.analysis("deletion_by_category").table)
    assert n_rows == 30
    assert '<details class="closed"><summary>Whole table of deletion by category, 30 rows' in html
    assert "<details><summary>3 more rows" in html, "of 15 in the order of what was found, 12 are seen at once"


def test_a_result_of_an_earlier_version_is_shown_and_its_figures_say_how_to_make_it_again(make_full_run, chains, tmp_path):
    run = make_full_run(chains[:2])
    result = run.analysis("rank_correlation")
    table = result.table.assign(term=result.table["scorer"] + ": " + result.table["term"]).drop(columns="scorer")
    run.write_analysis(dataclasses.replace(result, table=table))
    html = report(run, tmp_path / "r.html")
    assert "answer_attention: spearman" in html
    drawn = [key for key, figure in figures_of(run).items() if figure.analysis == "rank_correlation"]
    assert html.count("make it again with: python -m analyses.rank_correlation RUN") == len(drawn) > 1


NEW_ANALYSIS = '''
from dataclasses import dataclass
from typing import ClassVar

import pandas as pd

from reasoning_anatomy.types import RESULT_COLUMNS, AnalysisResult


@dataclass(frozen=True, kw_only=True)
class CountWords:
    """Count words."""

    title: ClassVar[str] = "How many words?"
    terms: ClassVar[dict[str, str]] = {"n": "number of words"}

    def analyse(self, run):
        """Count."""
        table = pd.DataFrame([("n", 12.0, 11.0, 13.0, 0.5, 0.5, 3, 6, 70)], columns=list(RESULT_COLUMNS))
        return AnalysisResult(name="count_words", table=table, finding="There are twelve words.")
'''

NEW_FIGURE = '''
from dataclasses import dataclass
from typing import ClassVar

from matplotlib.figure import Figure


@dataclass(frozen=True, kw_only=True)
class {name}:
    """Draw words."""

    title: ClassVar[str] = "A picture of {section}"
    caption: ClassVar[str] = "Every dot is a word of {section}."
    section: ClassVar[str] = "{section}"
    analysis: ClassVar[str | None] = {analysis!r}

    def data(self, source):
        """Return what is drawn."""
        return source.table if {analysis!r} else source.tokens()

    def draw(self, source):
        """Draw it."""
        self.data(source)
        return Figure()
'''


@pytest.fixture
def more_files(tmp_path, monkeypatch):
    """Add an analysis and three figures: of the analysis, of a part of its own, and of a part that every page has."""
    (tmp_path / "analyses").mkdir()
    (tmp_path / "analyses" / "count_words.py").write_text(NEW_ANALYSIS)
    (tmp_path / "reports.figures").mkdir()
    for key, name, section, analysis in (
        ("word_dots", "WordDots", "count_words", "count_words"),
        ("word_lines", "WordLines", "lines", None),
        ("word_chains", "WordChains", "chains", None),
    ):
        source = NEW_FIGURE.format(name=name, section=section, analysis=analysis)
        (tmp_path / "reports.figures" / f"{key}.py").write_text(source)
    for package in ("analyses", "reports.figures"):
        module = importlib.import_module(package)
        monkeypatch.setattr(module, "__path__", [*module.__path__, str(tmp_path / package)])
    yield
    for name in ("analyses.count_words", *(f"reports.figures.word_{word}" for word in ("dots", "lines", "chains"))):
        sys.modules.pop(name, None)


def test_one_file_more_is_one_part_of_the_page_more(more_files, make_full_run, chains, tmp_path):
    run = make_full_run(chains[:2])
    assert "count_words" in needed_analyses()
    before = report(run, tmp_path / "r.html")
    assert "<b>How many words?</b> <code>python -m analyses.count_words RUN</code>" in before
    assert 'id="count_words"' not in before, "there is nothing to show yet"
    run.write_analysis(load("analysis", "count_words").analyse(run))
    html = report(run, tmp_path / "r.html")
    assert '<section id="count_words">\n<h2>How many words?</h2>' in html
    assert html.count("There are twelve words") == 2
    assert "n<small>number of words</small>" in html
    for section, heading in (("count_words", "h3"), ("lines", "h2"), ("chains", "h3")):
        part = html[html.index(f'<section id="{section}">') :]
        part = part[: part.index("</section>")]
        assert f"<{heading}>A picture of {section}</{heading}>" in part
        assert f"Every dot is a word of {section}." in part
        assert html.count(f'id="{section}"') == 1
    assert '<a href="#lines">Lines</a>' in html


def test_a_result_without_its_analysis_has_its_name_for_a_heading(make_full_run, chains, tmp_path):
    run = make_full_run(chains[:2])
    result = run.analysis("rank_correlation")
    run.write_analysis(dataclasses.replace(result, name="of_a_colleague", details={}))
    assert "<h2>of a colleague</h2>" in report(run, tmp_path / "r.html")


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


def test_hostile_text_stays_text(make_full_run, tmp_path, add_failure):
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
    for text in HOSTILE:
        add_failure(run, text, text)
    page = Page(report(run, tmp_path / "r.html"))
    assert not {"img", "iframe", "object"} & set(page.tags)
    assert not {"onerror", "onload"} & set(page.attributes)
    assert page.tags.count("script") == len(HOSTILE) + 6, "one of numbers per chain, one of words, five of code"
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
    for name in needed_analyses(plain_run):
        assert f"python -m analyses.{name} RUN" in html
    assert "reasoning-anatomy annotate RUN" in html
    assert str(plain_run.folder) not in html


def test_an_unfinished_run_has_a_page(make_full_run, chains, tmp_path):
    run = make_full_run(chains[:2])
    for name in ("tokens.parquet", "paths.parquet"):
        (run.folder / name).unlink()
    assert "run the same command again" in report(run, tmp_path / "r.html")


def test_no_strategy_and_no_scorer(chains, tmp_path):
    configuration = Configuration(model=None, encoding="words")
    with begin_run(tmp_path / "run", configuration, chains[:1]) as writer:
        spans = np.array([[0, 5], [5, 6]])
        writer.add_encoded(EncodedChain(chains[0], np.array([1]), np.arange(2), np.array([2]), spans))
    html = report(open_run(tmp_path / "run"), tmp_path / "r.html")
    assert "has no pruning strategy" in html
    assert "has no pruning path" in html


def test_failed_chains_are_named_with_their_reason(make_full_run, chains, add_failure, tmp_path):
    many = [chains[0].model_copy(update={"chain_id": f"bad-{number}"}) for number in range(60)]
    run = make_full_run([*chains[:2], *many])
    for chain in many:
        add_failure(run, chain.chain_id, "non-finite nll")
    html = report(open_run(run.folder), tmp_path / "r.html")
    named = re.findall(r"<code>(bad-\d+)</code></th><td>strategy greedy: non-finite nll</td>", html)
    assert named == [f"bad-{number}" for number in range(50)]
    assert "10 more are named in RUN/failed" in html


def test_chains_left_out_are_counted(full_run, tmp_path):
    html = report(full_run, tmp_path / "r.html", max_chains=2, single_file=True)
    assert html.count('<article class="chain') == 2
    assert "2 of 6 measured chains are shown; 4 are left out" in html
    chosen = report(full_run, tmp_path / "r.html", chain_ids=["chain-4"])
    assert chosen.count('<article class="chain') == 1
    assert ">chain-4</h3>" in chosen
    assert [path.name for path in tmp_path.iterdir()] == ["r.html"]
    with pytest.raises(RunError, match="no-such"):
        write_report(full_run, tmp_path / "r.html", chain_ids=["no-such"])


def test_further_chains_have_pages_of_their_own_that_an_index_leads_to(full_run, tmp_path):
    html = report(full_run, tmp_path / "r.html", max_chains=2)
    assert html.count('<article class="chain') == 2
    pages = {path.name: path.read_text(encoding="utf-8") for path in (tmp_path / "r").iterdir()}
    links = dict(re.findall(r'<a href="([^"]+)">(chain-\d)</a>', html))
    assert list(links.values()) == [f"chain-{number}" for number in range(6)]
    assert list(links)[:2] == ["#chain=chain-0", "#chain=chain-1"]
    assert sorted(pages) == sorted(link.removeprefix("r/") for link in list(links)[2:])
    index = next(table for table in tables_of(html) if table[0][:2] == ["chain", "question"])
    tokens, paths = full_run.tokens(), full_run.paths()
    assert [row[2:] for row in index[1:]] == [
        [
            whole((tokens["chain_id"] == chain_id).sum()),
            "yes",
            number(paths.query("chain_id == @chain_id and deletion_step == 0")["nll_answer"].iloc[0]),
        ]
        for chain_id in full_run.chains
    ]
    for link, chain_id in list(links.items())[2:]:
        page = Page(pages[link.removeprefix("r/")])
        assert f"Chain {chain_id}" in page.text
        assert page.tags.count("article") == 1
        assert page.addresses[0] == "../r.html#index"
        numbers = next(json.loads(text) for text in page.data if text.startswith('{"ids"'))
        assert numbers["ids"] == tokens.loc[tokens["chain_id"] == chain_id, "token_id"].tolist()


def test_no_id_of_a_chain_leads_out_of_the_folder(make_planted_run, tmp_path):
    hostile = ("../../up", "/etc/passwd", "a/b", "..", "a?b#c", "\u202e", "con", 'x" onclick="alert(1)', *HOSTILE)
    chains = [
        ReasoningChain(chain_id=text, question_id="q", question="?", reasoning="so 1", answer="1")
        for text in dict.fromkeys(hostile)
    ]
    path = tmp_path / "out" / "all chains & more.html"
    html = report(make_planted_run(tmp_path / "run", chains), path, max_chains=0)
    written = [each for each in tmp_path.glob("out/**/*") if each.is_file() and each != path]
    assert len(written) == len(chains)
    assert {each.parent for each in written} == {tmp_path / "out" / "all chains & more"}
    addresses = [unquote(address) for address in Page(html).addresses if not address.startswith("#")]
    assert {path.parent / address for address in addresses} == set(written)
    assert "onclick" not in Page(html).attributes


def test_a_page_without_a_suffix_is_refused(full_run, tmp_path):
    with pytest.raises(RunError, match=r"page: .* call it .*page\.html"):
        write_report(full_run, tmp_path / "page")


def test_the_page_stays_below_its_size(full_run, tmp_path, monkeypatch):
    monkeypatch.setattr(_viewer, "SIZE_LIMIT", 10_000)
    html = report(full_run, tmp_path / "r.html", single_file=True)
    assert 0 < html.count('<article class="chain') < 6
    assert "because the page would exceed 5 MB" in html
    divided = report(full_run, tmp_path / "r.html")
    assert divided.count('<article class="chain') + len(list((tmp_path / "r").iterdir())) == 6


def test_many_long_chains_stay_below_five_megabytes(make_planted_run, tmp_path):
    text = "word & <x> 12 " * 600
    chains = [
        ReasoningChain(chain_id=f"c{number}", question_id=f"q{number}", question="?", reasoning=text, answer="1")
        for number in range(24)
    ]
    path = write_report(make_planted_run(tmp_path / "run", chains), tmp_path / "r.html", single_file=True)
    assert 3_000_000 < path.stat().st_size < 5_000_000
    assert "because the page would exceed 5 MB" in path.read_text(encoding="utf-8")


def test_a_hundred_chains_of_200_tokens_take_less_than_five_megabytes(make_planted_run, tmp_path):
    text = "so we have 12 + 3 = 15 " * 25
    chains = [
        ReasoningChain(chain_id=f"c{number}", question_id=f"q{number}", question="?", reasoning=text, answer="1")
        for number in range(100)
    ]
    run = make_planted_run(tmp_path / "run", chains)
    assert len(run.tokens()) == 100 * 200
    assert write_report(run, tmp_path / "one.html", max_chains=100).stat().st_size < 2_000_000
    assert not (tmp_path / "one").exists()
    write_report(run, tmp_path / "many" / "r.html")
    files = [path for path in (tmp_path / "many").glob("**/*") if path.is_file()]
    assert len(files) == 51
    assert sum(path.stat().st_size for path in files) < 5_000_000


def test_text_on_every_colour_can_be_read():
    assert all(contrast(background, text) >= 4.5 for background, text in cividis())
    for look in LOOKS:
        assert contrast(look.fill, "#1b1c1f") >= 4.5
        assert contrast(look.dark_fill, "#e6e6e3") >= 4.5
    assert contrast("#000000", "#ffffff") == pytest.approx(21)


def test_categories_differ_without_colour():
    assert [look.key for look in LOOKS] == list(CATEGORIES)
    assert len({look.underline for look in LOOKS}) == len(LOOKS)


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
