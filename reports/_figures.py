"""The figures of this package, what they need, and drawing one from a run or a result."""

from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from reasoning_anatomy.errors import AnalysisError, PluginError
from reasoning_anatomy.plugins import available, key_of, load
from reasoning_anatomy.run.folder import Run
from reasoning_anatomy.run.students import Students
from reasoning_anatomy.types import AnalysisResult
from reports import Figure, IsOfSomeRuns, IsOnDemand

if TYPE_CHECKING:
    import matplotlib.figure


def figure(spec: str, source: Run | Students | AnalysisResult, **options: Any) -> "matplotlib.figure.Figure":
    """Draw a figure.

    Parameters
    ----------
    spec
        Key of a figure, with options if needed: ``"head_map"``, ``"head_map:width=column"``.
    source
        A run or students, whose written result is drawn, or the result of the analysis that the figure is about.
    **options
        Of the figure, as values of Python: ``width="column"``.

    Returns
    -------
    It belongs to no window: ``.savefig("head_map.pdf")`` writes it, and a notebook shows it. `save_figure` writes the same
    bytes every time.

    Raises
    ------
    PluginError
        There is no such figure, or an option is wrong.
    RunError, AnalysisError
        The run does not hold what is drawn, or the result is of another analysis or an earlier version.

    Examples
    --------
    ``figure("head_map", RankCorrelation().analyse(run))``
    """
    plugin = loaded(spec, **options)
    return plugin.draw(source_of(plugin, source))


def loaded(spec: str, **options: Any) -> Figure:
    """Make a figure; `PluginError` if there is none, an option is wrong, or it lacks a part that figures have."""
    plugin = load("figure", spec, **options)
    if not isinstance(plugin, Figure):
        raise PluginError(
            f"figure {key_of(plugin)!r}: needs the class variables title, caption, section and analysis and the methods data "
            "and draw; docs/plugins.md has an example"
        )
    return plugin


def source_of(figure: Figure, source: Run | Students | AnalysisResult) -> Run | AnalysisResult:
    """Return what a figure draws: its analysis' result, which is read if it is that of a run, or the run."""
    key, name = key_of(figure), figure.analysis
    if name is None:
        if not isinstance(source, Run):
            raise AnalysisError(f"figure {key!r} draws the tables of a run, not a result; give it open_run(FOLDER)")
        return source
    if isinstance(source, Run | Students):
        info = available("analysis").get(name)
        wanted = Students if info is not None and info.opens == "students" else Run
        if not isinstance(source, wanted):
            raise AnalysisError(
                f"{source.folder}: figure {key!r} draws what {name} found, which is not about a folder of this kind; give it "
                f"{'students' if wanted is Students else 'a run'}"
            )
        return source.analysis(name)
    if source.name != name:
        raise AnalysisError(f"figure {key!r} draws the result of {name}, not of {source.name}; give it that result, or a run")
    return source


def all_figures() -> dict[str, Figure]:
    """Every figure with its default options, by key; `PluginError` if one lacks a part that figures have."""
    return {key: loaded(key) for key in available("figure")}


def figures_of(run: Run) -> dict[str, Figure]:
    """Every figure by key of which the page of a run speaks."""
    return {key: figure for key, figure in all_figures().items() if _is_on_page(figure, run)}


def _is_on_page(figure: Figure, run: Run) -> bool:
    if isinstance(figure, IsOnDemand) and figure.analysis not in run.analyses:
        return False
    return not isinstance(figure, IsOfSomeRuns) or figure.is_of(run)


def analyses_not_about(run: Run) -> set[str]:
    """Names of the analyses that have nothing to do with a run, as the figures say that draw their results."""
    figures = [figure for figure in all_figures().values() if isinstance(figure, IsOfSomeRuns) and not figure.is_of(run)]
    return {figure.analysis for figure in figures if figure.analysis is not None}


def needed_analyses(run: Run | None = None) -> list[str]:
    """Names of the analyses that the figures draw, those of the most figures first; the analyses are not imported.

    Parameters
    ----------
    run
        Leaves out the analyses that have nothing to do with it; None = all that there are. Analyses that nobody asked for
        are never among them (`reports.IsOnDemand`), unless the run has their result.
    """
    if run is None:
        figures = [figure for figure in all_figures().values() if not isinstance(figure, IsOnDemand)]
    else:
        figures = list(figures_of(run).values())
    return most_first(figure.analysis for figure in figures if figure.analysis is not None)


def most_first(names: Iterable[str]) -> list[str]:
    """Return each name once, the most frequent first, equally frequent ones in the order of their appearance."""
    return [name for name, _ in Counter(names).most_common()]
