"""Chains that have a page of their own, and the table of all chains that links to them."""

from collections.abc import Collection
from pathlib import Path
from typing import Final
from urllib.parse import quote

from reasoning_anatomy.run.folder import Run
from reasoning_anatomy.run.layout import file_stem
from reports._sections import Tables
from reports._style import NOT_GIVEN, number, whole
from reports._tables import Cell, TableView

_LONGEST: Final = 90
_HEADERS: Final = ("chain", "question", "reasoning tokens", "correct", "nll")
_CORRECT: Final = {True: "yes", False: "no", None: NOT_GIVEN}


def measured_chains(run: Run, tables: Tables) -> list[str]:
    """List the chains that have tokens, in the order of the run."""
    of_tokens = set(tables.tokens["chain_id"]) if len(tables.tokens) else set()
    return [chain_id for chain_id in run.chains if chain_id in of_tokens]


def chain_page(report: Path, chain_id: str) -> Path:
    """Find the page of a chain; ids are not trusted, so its name is made of letters of the id that cannot lead elsewhere."""
    return report.parent / report.stem / f"{file_stem(chain_id)}.html"


def index_of(run: Run, tables: Tables, elsewhere: Collection[str], *, folder: str) -> TableView:
    """Make the table of all chains, with a link to each.

    Parameters
    ----------
    run
        The run.
    tables
        Its tables.
    elsewhere
        Chains that have a page of their own.
    folder
        Where these pages are, seen from the report.
    """
    n_tokens = tables.tokens.groupby("chain_id", sort=False).size()
    whole_chain = tables.paths[tables.paths["deletion_step"] == 0] if "deletion_step" in tables.paths else tables.paths
    nll = whole_chain.groupby("chain_id", sort=False)["nll_answer"].first().to_dict() if len(whole_chain) else {}
    apart = set(elsewhere)
    rows = []
    for chain_id in measured_chains(run, tables):
        chain = run.chains[chain_id]
        page = f"{quote(folder)}/{quote(file_stem(chain_id))}.html"
        rows.append(
            [
                Cell(_short(chain_id), is_name=True, href=page if chain_id in apart else f"#chain={quote(chain_id, safe='')}"),
                Cell(_short(chain.question), is_name=True),
                Cell(whole(n_tokens[chain_id])),
                Cell(_CORRECT[chain.is_correct]),
                Cell(number(nll.get(chain_id))),
            ]
        )
    return TableView([Cell(name, is_name=name in _HEADERS[:2]) for name in _HEADERS], rows)


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "\N{HORIZONTAL ELLIPSIS}"
