"""The pages that show a run: each opens from disk, without a server and without a network."""

import base64
import hashlib
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any
from urllib.parse import quote

import jinja2
from markupsafe import Markup, escape

from reasoning_anatomy.errors import RunError
from reasoning_anatomy.files import write_atomic
from reasoning_anatomy.run.folder import Run
from reasoning_anatomy.run.layout import REPORT_NAME
from reports import _sections, _summary
from reports._data import BLOCK_PREFIX, CATEGORY_PREFIX, ROLE_PREFIX, SCORE_PREFIX, STEP_PREFIX, names
from reports._index import index_of, measured_chains, page_name
from reports._sections import Tables
from reports._style import LOOKS, OTHER, cividis
from reports._sweeps import RESPONSE_LENGTH, SweepChoices, choices_of
from reports._tables import with_minus
from reports._viewer import CLASS_NAMES, ChainView, chain_views, words
from reports._words import Glossary
from reports._writing import Writings, writings_of

_FOLDER = Path(__file__).parent / "page"
_OPTION = re.compile(r"(?<![\w-])--[a-z][a-z-]*")


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
    report = Report(
        run,
        front=target.name,
        folder=target.stem,
        max_chains=max_chains,
        chain_ids=chain_ids,
        single_file=single_file,
        skipped=skipped,
    )
    write_atomic(target, report.front())
    for chain_id, page in report.chain_pages(report.others):
        write_atomic(target.parent / target.stem / page_name(chain_id), page)
    return target


class Report:
    """The pages of a run, made when they are asked for: the results, and one for each chain that has no room there.

    Parameters
    ----------
    run, max_chains, chain_ids, single_file, skipped
        As for `write_report`.
    front
        Address of the results, seen from the folder that holds them.
    folder
        Name of the folder of the other pages, which is beside the results.

    Attributes
    ----------
    others
        Chains that have a page of their own.
    """

    def __init__(
        self,
        run: Run,
        *,
        front: str,
        folder: str,
        max_chains: int,
        chain_ids: Sequence[str] | None = None,
        single_file: bool = False,
        skipped: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self._run, self._tables, self._writings = run, _sections.read_tables(run), writings_of(run)
        viewer = _viewer(run, self._tables, self._writings, max_chains=max_chains, chain_ids=chain_ids)
        shown = {view.chain.chain_id for view in viewer["views"]}
        is_whole = not single_file and chain_ids is None
        self.others = [each for each in measured_chains(run, self._tables) if is_whole and each not in shown]
        self._back = f"../{quote(front)}#index"
        self._context = {
            **frame(),
            **_results(run, self._tables, skipped),
            "evictions": _sections.evictions(self._writings),
            **viewer,
            "n_elsewhere": len(self.others),
            "index": index_of(run, self._tables, self.others, folder=folder) if self.others else None,
            "back": "",
        }

    def front(self) -> bytes:
        """Make the page of the results."""
        return rendered("report.html.j2", self._context)

    def chain_pages(self, chain_ids: Sequence[str]) -> Iterator[tuple[str, bytes]]:
        """Make the page of each of these chains, which are among `others`."""
        views = chain_views(self._run, self._tables.tokens, self._tables.paths, self._writings, chain_ids, room=math.inf)
        for view in views:
            of_chain = {
                "title": f"Chain {view.chain.chain_id}",
                "views": [view],
                "back": self._back,
                "parts": _parts([view], self._context["sweep"]),
                "own_figures": {part: () for part in _sections.OWN_PARTS},
            }
            yield view.chain.chain_id, rendered("chain.html.j2", self._context | of_chain)


def rendered(template: str, context: Mapping[str, Any]) -> bytes:
    """Make a page of one of the templates."""
    # half of a surrogate pair can come in through a file name or an id, and has no UTF-8
    return _environment().get_template(template).render(context).encode("utf-8", errors="replace")


@cache
def _environment() -> jinja2.Environment:
    loader = jinja2.FileSystemLoader(_FOLDER)
    environment = jinja2.Environment(
        loader=loader, autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["said"] = said
    return environment


def said(text: str) -> Markup:
    """Escape a sentence; an option such as ``--margin`` never breaks, and a difference has a minus sign."""
    text = with_minus(text)
    return Markup(_OPTION.sub(r'<span class="whole">\g<0></span>', str(escape(text))))


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
    """Leave out what only those who read the source need: indentation, empty lines and comments, which begin with ``// ``."""
    lines = (re.sub(r"(^|\s+)// .*", "", line).strip() for line in script.splitlines())
    return "\n".join(filter(None, lines))


def _digest(script: str) -> str:
    """By which the policy of the page lets the script run."""
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


def _results(run: Run, tables: Tables, skipped: Mapping[str, str]) -> dict[str, Any]:
    """Everything that is known about the run as a whole."""
    failed, n_more_failed = _sections.failures(run)
    sections = _sections.sections(run)
    own_figures = {part: _sections.figure_views(run, part) for part in _sections.OWN_PARTS}
    glossary, experiment = Glossary(run), _summary.experiment(run, tables)
    experiment_words = glossary.first_used_in(" ".join(experiment))
    return {
        "title": _sections.title(run),
        "overview": _sections.overview(run, tables),
        "provenance": _sections.provenance(run),
        "configuration": run.manifest.configuration,
        "swept": _sections.swept(run),
        "failed": failed,
        "n_more_failed": n_more_failed,
        "ran": _summary.run_in_two_lines(run, tables),
        "experiment": experiment,
        "experiment_words": experiment_words,
        "left_out": _summary.left_out(run),
        "folder": run.folder.resolve().name,
        "findings": _summary.findings(sections, glossary),
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
    views = chain_views(run, tokens, tables.paths, writings, wanted)
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
