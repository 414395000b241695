"""The page that sets runs side by side."""

import dataclasses
import html
import re

import pytest

from analyses.compare import RunComparison
from analyses.rank_correlation import RankCorrelation
from reasoning_anatomy.cli import main
from reasoning_anatomy.run.writer import begin_run
from reasoning_anatomy.types import ReasoningChain
from reports import write_comparison
from reports._style import number

HOSTILE = "<img src=x onerror=alert(1)></script><script>alert(1)</script>"


@pytest.fixture(scope="session")
def pair(make_planted_run, make_full_run, chains, tmp_path_factory):
    """Two runs on the same chains; the second has an annotation, another analysis and another scorer more."""
    first = make_planted_run(tmp_path_factory.mktemp("runs") / "first", chains, strength=0.1, seed=1)
    first.write_analysis(RankCorrelation(draws=99).analyse(first))
    second = make_full_run(chains)
    more = second.manifest.configuration.model_copy(update={"scorers": {"another": "Another(option=3)"}, "strategies": {}})
    with begin_run(second.folder, more, chains):
        pass
    return first, type(second)(second.folder)


@pytest.fixture(scope="session")
def differences(pair):
    return RunComparison(draws=99).compare(pair)


@pytest.fixture(scope="session")
def page(pair, differences, tmp_path_factory):
    return write_comparison(pair, tmp_path_factory.mktemp("page") / "c.html", differences).read_text(encoding="utf-8")


def words_of(page):
    return " ".join(html.unescape(re.sub("<[^>]+>", "", re.sub("<(script|style)>.*?</>", "", page))).split())


def rows_of(page, section):
    part = page[page.index(f'<section id="{section}">') :]
    part = part[: part.index("</section>")].replace("<wbr>", "")
    return [[re.sub("<.*?>", " ", cell).split() for cell in re.findall(r"<td.*?</td>", row)] for row in part.split("<tr>")]


def claim_of(finding):
    """How a finding begins, without the word of its verdict, which the page sets apart."""
    return re.sub("^(Clear|Against|Undecided): ", "", " ".join(finding.split()))[:40].casefold()


def test_what_differs_comes_first_then_what_each_found_then_the_configuration(page, pair, differences):
    text = words_of(page)
    findings = [claim_of(run.analysis("rank_correlation").finding) for run in pair]
    places = [text.casefold().index(each) for each in (claim_of(differences.finding), *findings)]
    assert places == sorted(places)
    assert places[-1] < text.index("What differs in the configuration")


def test_every_difference_has_its_row(page, differences):
    rows = rows_of(page, "differences")
    for row in differences.table.to_dict("records"):
        if "given" not in row["term"]:
            found = next(cells for cells in rows if cells and cells[0] == row["term"].split())
            assert found[1][0] == number(row["estimate"])


def test_an_analysis_has_a_column_of_each_run(page, pair):
    rows = rows_of(page, "rank_correlation")
    found = next(cells for cells in rows if cells and cells[0] == ["answer_attention"])
    values = [run.analysis("rank_correlation").table.set_index(["scorer", "term"])["estimate"] for run in pair]
    expected = [
        number(of_run["answer_attention", term]) for of_run in values for term in ("spearman", "spearman_given_position")
    ]
    assert [cell[0] for cell in found[1:] if cell[0] in expected] == expected
    assert "first: Spearman&#39;s rho" in page


def test_an_analysis_of_one_run_alone_is_not_compared(page):
    assert 'id="deletion_by_category"' not in page


def test_only_what_differs_of_the_configuration_is_there(page):
    rows = rows_of(page, "configuration")
    names = [" ".join(cells[0]) for cells in rows if cells]
    assert "scorer another" in names
    assert "annotator crude" in names
    assert not {"encoding", "scorer answer_attention", "model: id"} & set(names)


def test_the_page_loads_nothing_and_has_unique_ids(page):
    assert re.findall(r'(?:src|href)="(?!#)', page) == []
    ids = re.findall(r'\bid="([^"]+)"', page)
    assert len(ids) == len(set(ids))
    assert page.count("<script>") == 1


def test_same_runs_same_bytes(page, pair, differences, tmp_path):
    assert write_comparison(pair, tmp_path / "again.html", differences).read_text(encoding="utf-8") == page


def test_hostile_text_stays_text(make_planted_run, tmp_path):
    chain = ReasoningChain(
        chain_id=HOSTILE, question_id=HOSTILE, question=HOSTILE, reasoning="so it is one and two and 3", answer="1"
    )
    runs = [make_planted_run(tmp_path / name, [chain]) for name in ("a", "b<script>")]
    for run in runs:
        result = RankCorrelation(draws=99).analyse(run)
        run.write_analysis(dataclasses.replace(result, finding=f"{HOSTILE}: {run.folder.name}", warnings=(HOSTILE,)))
    result = dataclasses.replace(RunComparison(draws=99).compare(runs), finding=HOSTILE, warnings=(HOSTILE,))
    page = write_comparison(runs, tmp_path / "c.html", result).read_text(encoding="utf-8")
    assert "<img" not in page
    assert page.count("<script>") == 1
    assert html.escape(HOSTILE) in page


def test_report_of_several_runs_writes_the_page_and_the_result(pair, tmp_path, monkeypatch, capsys):
    out = tmp_path / "c.html"
    monkeypatch.setattr("sys.argv", ["reasoning-anatomy", "report", *(str(run.folder) for run in pair), "--out", str(out)])
    main()
    assert capsys.readouterr().out.splitlines()[-1] == f"Open the comparison: {out}"
    assert out.exists()
    assert {path.name for path in (tmp_path / "c").iterdir()} == {"result.json", "table.csv", "levels.csv", "per_chain.csv"}


def test_a_page_that_would_have_the_name_of_its_folder_is_refused(pair, tmp_path, monkeypatch, capsys):
    folders = [str(run.folder) for run in pair]
    monkeypatch.setattr("sys.argv", ["reasoning-anatomy", "report", *folders, "--out", str(tmp_path / "c")])
    with pytest.raises(SystemExit):
        main()
    assert "call the page" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_runs_that_share_no_chain_are_shown_side_by_side_and_nothing_is_estimated(
    pair, make_planted_run, chains, tmp_path, monkeypatch, capsys
):
    other = make_planted_run(
        tmp_path / "other", [chain.model_copy(update={"chain_id": f"x{chain.chain_id}"}) for chain in chains]
    )
    other.write_analysis(RankCorrelation(draws=99).analyse(other))
    folders = [str(run.folder) for run in (pair[0], other)]
    monkeypatch.setattr("sys.argv", ["reasoning-anatomy", "report", *folders, "--out", str(tmp_path / "c.html")])
    main()
    assert "note: no difference is estimated: first and other share no chain" in capsys.readouterr().out
    page = (tmp_path / "c.html").read_text(encoding="utf-8")
    assert "This is not known: first and other share no chain" in page
    assert len(rows_of(page, "rank_correlation")) > 1
    assert not (tmp_path / "c").exists()
