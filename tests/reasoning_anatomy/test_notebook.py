"""What runs, results and chains show of themselves in a notebook."""

from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from analyses.rank_correlation import RankCorrelation
from reasoning_anatomy import notebook
from reasoning_anatomy.run import Run
from reasoning_anatomy.types import AnalysisResult, ReasoningChain

HOSTILE = "<script>alert(1)</script>&amp;\"'"


class Shown(HTMLParser):
    """Text of a piece of HTML, and the names of its elements."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.text, self.elements = "", set[str]()
        self.feed(str(html))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.add(tag)

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture
def run(make_planted_run: Callable[..., Run], tmp_path: Path) -> Run:
    chains = [
        ReasoningChain(
            chain_id=f"c{number}{HOSTILE}", question_id=f"q{number}", question=f"Why {HOSTILE}?", answer=HOSTILE,
            reasoning=f"First {HOSTILE} add three and four to get seven apples in all, {number} times.",
        )
        for number in range(3)
    ]  # fmt: skip
    return make_planted_run(tmp_path / "run", chains, strength=0.5)


@pytest.fixture
def result(run: Run) -> AnalysisResult:
    result = RankCorrelation(draws=99).analyse(run)
    run.write_analysis(result)
    return result


def test_a_chain_shows_its_text_and_nothing_of_it_becomes_markup(run: Run) -> None:
    chain = next(iter(run.chains.values()))
    shown = Shown(chain._repr_html_())
    assert all(text in shown.text for text in (chain.chain_id, chain.question, chain.reasoning, chain.answer))
    assert "script" not in shown.elements


def test_an_encoded_chain_shows_its_tokens_as_a_strip_of_its_whole_reasoning(run: Run) -> None:
    encoded = run.encoded(run.measured[0])
    html = encoded._repr_html_()
    assert encoded.chain.reasoning in Shown(html).text
    assert html.count("<span title=") == encoded.n_reasoning
    assert "script" not in Shown(html).elements


def test_the_tokens_of_a_split_character_do_not_repeat_it() -> None:
    assert Shown(notebook.token_strip("a \N{GRINNING FACE}b", [(0, 1), (2, 3), (2, 3), (3, 4)])).text == "a \N{GRINNING FACE}b"


def test_a_result_shows_its_finding_and_its_table(result: AnalysisResult) -> None:
    shown = Shown(result._repr_html_())
    assert result.finding in shown.text
    assert all(warning in shown.text for warning in result.warnings)
    assert result.printed is not None
    assert all(cell in shown.text for cell in result.printed["rho"])
    assert "table" in shown.elements


def test_a_run_shows_what_was_measured_and_what_was_found(run: Run, result: AnalysisResult) -> None:
    shown = Shown(Run(run.folder)._repr_html_())
    assert "3 measured of 3, 0 failed" in shown.text
    assert result.finding in shown.text
    assert all(chain_id in shown.text for chain_id in run.chains)
    assert "script" not in shown.elements


def test_a_finding_that_is_older_than_the_run_is_not_shown(run: Run, result: AnalysisResult) -> None:
    tokens = run.folder / "tokens.parquet"
    changed = run.tokens().assign(score_answer_attention=np.float64(1))
    changed.to_parquet(tokens)
    assert result.finding not in Shown(Run(run.folder)._repr_html_()).text


def test_of_a_long_table_the_first_rows_are_shown(result: AnalysisResult) -> None:
    many = result.table.loc[np.repeat(result.table.index, 30)]
    shown = Shown(notebook.table(many))
    assert f"{notebook.MOST_ROWS} of {len(many)} rows" in shown.text
