"""The report with an index, the page of one chain and the comparison in a real browser, opened from disk."""

import pytest

from analyses.compare import RunComparison
from reasoning_anatomy.run.naming import names_of
from reports import write_comparison, write_report
from reports._index import page_name


@pytest.fixture(scope="module")
def divided(full_run, tmp_path_factory):
    """Write a report with room for two chains; four have pages of their own."""
    return write_report(full_run, tmp_path_factory.mktemp("divided") / "all & more.html", max_chains=2)


@pytest.fixture(scope="module")
def comparison(full_run, sparse_run, tmp_path_factory):
    runs = (full_run, sparse_run)
    path = tmp_path_factory.mktemp("comparison") / "compare.html"
    return write_comparison(runs, path, RunComparison(draws=99).compare(runs))


def page_of(report, chain_id):
    return report.parent / report.stem / page_name(chain_id)


def texts_of(run, chain_id):
    return run.tokens().query("chain_id == @chain_id").sort_values("position")["text"].tolist()


def test_the_index_leads_to_a_chain_and_its_page_back(divided, full_run, open_any_page):
    there = page_of(divided, "chain-4").as_uri()
    page = open_any_page(divided.as_uri(), leads_to=[there])
    page.click("nav a >> text=All chains")
    assert page.locator("#index tbody tr").count() == 6
    page.click("#index a >> text=chain-4")
    page.wait_for_url(there)
    assert page.locator(".chain.active .tokens span").all_text_contents() == texts_of(full_run, "chain-4")
    page.focus("#step")
    page.keyboard.press("End")
    assert page.inner_text("#reading").startswith(f"step {page.get_attribute('#step', 'max')} of ")
    page.click("nav a >> text=Results and all chains")
    page.wait_for_url(f"{divided.as_uri()}#index")
    assert page.is_visible("#index a >> text=chain-4")


def test_the_index_leads_to_a_chain_of_the_same_page(divided, full_run, open_any_page):
    page = open_any_page(divided.as_uri())
    page.click("#index a >> text=chain-1")
    page.wait_for_function("document.querySelector('.chain.active h3').textContent === 'chain-1'")
    assert page.locator(".chain.active .tokens span").all_text_contents() == texts_of(full_run, "chain-1")


def test_the_comparison_has_the_results_of_both_runs(comparison, full_run, sparse_run, open_any_page):
    page = open_any_page(comparison.as_uri())
    parts = page.locator("nav a")
    assert parts.count() > 2
    for link in parts.all():
        link.click()
        assert page.locator(f"section{link.get_attribute('href')} >> h2").first.is_visible()
    heads = " ".join(page.locator("#rank_correlation thead").all_inner_texts())
    assert all(name in heads for name in names_of((full_run, sparse_run)))


@pytest.mark.parametrize("look", [("light", 1200), ("dark", 400)], ids=str)
@pytest.mark.parametrize("kind", ["index", "chain", "comparison"])
def test_there_is_no_serious_obstacle_for_anyone(divided, comparison, open_any_page, kind, look):
    from axe_playwright_python.sync_playwright import Axe

    path = {"index": divided, "chain": page_of(divided, "chain-5"), "comparison": comparison}[kind]
    scheme, width = look
    page = open_any_page(path.as_uri(), bypass_csp=True, color_scheme=scheme, viewport={"width": width, "height": 900})
    violations = Axe().run(page).response["violations"]
    assert [
        (each["id"], [node["html"][:90] for node in each["nodes"][:3]])
        for each in violations
        if each["impact"] in {"serious", "critical"}
    ] == []
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"), "nothing is cut at the side"
