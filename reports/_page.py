"""One HTML file that shows a run: no server, no network, nothing beside it."""

import base64
import hashlib
import math
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any
from urllib.parse import quote

import jinja2
from markupsafe import Markup

from reasoning_anatomy.errors import RunError
from reasoning_anatomy.files import write_atomic
from reasoning_anatomy.run.folder import Run
from reasoning_anatomy.run.layout import REPORT_NAME
from reports import _sections, _summary
from reports._data import BLOCK_PREFIX, CATEGORY_PREFIX, ROLE_PREFIX, SCORE_PREFIX, STEP_PREFIX, names
from reports._index import chain_page, index_of, measured_chains
from reports._sections import Tables
from reports._style import LOOKS, OTHER, cividis
from reports._sweeps import RESPONSE_LENGTH, SweepChoices, choices_of
from reports._viewer import CLASS_NAMES, ChainView, chain_views, words
from reports._writing import Writings, writings_of

_FOLDER = Path(__file__).parent / "page"


def write_report(
    run: Run,
    path: Path | None = None,
    *,
    max_chains: int = 50,
    chain_ids: Sequence[str] | None = None,
    single_file: bool = False,
    skipped: Mapping[str, str] = MappingProxyType({}),
) -> Path:
    """Write the report of a run: one self-contained HTML file, and one more for each chain that it has no room for.

    The same run gives the same bytes. What the run does not hold yet becomes a sentence with the command that
    makes it.

    Parameters
    ----------
    run
        The run.
    path
        Target; ``report.html`` in the run folder if None. The pages of further chains go into a folder beside it, which is
        named like it: ``report/``.
    max_chains
        Number of chains in the token viewer, from the first; fewer if they would make the page larger than 5 MB. Each of the
        others gets a page of its own, and the page a table of all chains with links.
    chain_ids
        Chains for the viewer instead of the first ones; the others are left out, and the page says how many.
    single_file
        Write no further pages: chains beyond the first are left out, and the page says how many.
    skipped
        Why analyses could not be run, by name: what the page says in place of the command that runs them.

    Returns
    -------
    The file.

    Raises
    ------
    RunError
        The folder holds no run, or no such chain, or the target has no suffix.
    """
    target = path or run.folder / REPORT_NAME
    if not target.suffix:
        raise RunError(f"{target}: a folder of this name may be needed for further chains; call it {target}.html")
    tables, writings = _sections.read_tables(run), writings_of(run)
    viewer = _viewer(run, tables, writings, max_chains=max_chains, chain_ids=chain_ids)
    shown = {view.chain.chain_id for view in viewer["views"]}
    others = (
        [] if single_file or chain_ids is not None else [each for each in measured_chains(run, tables) if each not in shown]
    )
    page = {
        **frame(),
        **_results(run, tables, skipped),
        "evictions": _sections.evictions(writings),
        **viewer,
        "n_elsewhere": len(others),
        "index": index_of(run, tables, others, folder=target.stem) if others else None,
        "back": "",
    }
    write_page(target, "report.html.j2", page)
    for view in chain_views(run, tables.tokens, tables.paths, writings, others, room=math.inf) if others else ():
        of_chain = {"title": f"Chain {view.chain.chain_id}", "views": [view], "back": f"../{quote(target.name)}#index"}
        of_chain["parts"] = _parts([view], viewer["sweep"])
        own_figures = {part: () for part in _sections.OWN_PARTS}
        write_page(chain_page(target, view.chain.chain_id), "chain.html.j2", page | of_chain | {"own_figures": own_figures})
    return target


def write_page(path: Path, template: str, context: Mapping[str, Any]) -> None:
    """Write a page of one of the templates."""
    # half of a surrogate pair can come in through a file name or an id, and has no UTF-8
    write_atomic(path, _environment().get_template(template).render(context).encode("utf-8", errors="replace"))


@cache
def _environment() -> jinja2.Environment:
    loader = jinja2.FileSystemLoader(_FOLDER)
    return jinja2.Environment(
        loader=loader, autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )


def frame() -> dict[str, Any]:
    """Look and behaviour, the same for every run."""
    scripts = {path.stem: _lean(path.read_text(encoding="utf-8")) for path in sorted(_FOLDER.glob("*.js"))}
    return {
        "style": Markup("".join((_FOLDER / f"{name}.css").read_text(encoding="utf-8") for name in ("report", "viewer"))),
        "scripts": {name: Markup(script) for name, script in scripts.items()},
        "digests": {name: _digest(script) for name, script in scripts.items()},
        "response_length": RESPONSE_LENGTH,
        "looks": [*LOOKS, OTHER],
        "n_categories": len(LOOKS),
        "classes": CLASS_NAMES,
        "bins": cividis(),
    }


def _lean(script: str) -> str:
    """Leave out what only those who read the source need: indentation, and lines that are comments."""
    lines = (line.strip() for line in script.splitlines())
    return "\n".join(line for line in lines if not line.startswith("//"))


def _digest(script: str) -> str:
    """By which the policy of the page lets the script run."""
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


def _results(run: Run, tables: Tables, skipped: Mapping[str, str]) -> dict[str, Any]:
    """Everything that is known about the run as a whole."""
    failed, n_more_failed = _sections.failures(run)
    sections = _sections.sections(run)
    own_figures = {part: _sections.figure_views(run, part) for part in _sections.OWN_PARTS}
    return {
        "title": _sections.title(run),
        "overview": _sections.overview(run, tables),
        "provenance": _sections.provenance(run),
        "configuration": run.manifest.configuration,
        "swept": _sections.swept(run),
        "failed": failed,
        "n_more_failed": n_more_failed,
        "ran": _summary.run_in_two_lines(run, tables),
        "findings": _summary.findings(sections),
        "missing": _summary.missing(run, sections, own_figures, tables, skipped),
        "sections": [section for section in sections if section.has_something],
        "own_figures": own_figures,
    }


def _viewer(
    run: Run, tables: Tables, writings: Writings, *, max_chains: int, chain_ids: Sequence[str] | None
) -> dict[str, Any]:
    """Return the chains of the token viewer, and what it can switch between."""
    tokens = tables.tokens
    available = measured_chains(run, tables)
    if chain_ids is not None and (unknown := [chain_id for chain_id in chain_ids if chain_id not in available]):
        raise RunError(f"{run.folder}: has no measured chain {unknown[0]!r}; the chains are named in chains.jsonl")
    wanted = available[: max(0, max_chains)] if chain_ids is None else list(dict.fromkeys(chain_ids))
    views = chain_views(run, tokens, tables.paths, writings, wanted) if wanted else []
    sweep = choices_of(run)
    choices = {
        "strategies": names(tokens, STEP_PREFIX),
        "scorers": names(tokens, SCORE_PREFIX),
        "annotators": names(tokens, CATEGORY_PREFIX),
        "roles": names(tokens, ROLE_PREFIX),
        "segmenters": names(tokens, BLOCK_PREFIX),
    }
    return {
        **choices,
        "sweep": sweep,
        "parts": _parts(views, sweep),
        "views": views,
        "n_chains": len(available),
        "n_left_out": len(available) - len(views),
        "n_too_large": len(wanted) - len(views),
        "words": words(),
    }


def _parts(views: Sequence[ChainView], sweep: SweepChoices) -> list[str]:
    """Scripts that a page with these chains needs, in the order in which they run."""
    if not views:
        return ["report"]
    is_needed = {"sweep": bool(sweep.strategies), "written": any(view.is_written for view in views)}
    parts = ("report", "viewer", "tools", "sweep", "written", "copy", "link")
    return [part for part in parts if is_needed.get(part, True)]
