"""The figures of this package, and what they need."""

from collections import Counter
from collections.abc import Iterable

from reasoning_anatomy.errors import PluginError
from reasoning_anatomy.plugins import available, load
from reasoning_anatomy.run.folder import Run
from reports import Figure, IsOfSomeRuns


def all_figures() -> dict[str, Figure]:
    """Every figure with its default options, by key; `PluginError` if one lacks a part that figures have."""
    return {key: _expect_figure(key, load("figure", key)) for key in available("figure")}


def figures_of(run: Run) -> dict[str, Figure]:
    """Every figure by key, without those that have nothing to do with the run."""
    return {key: figure for key, figure in all_figures().items() if not isinstance(figure, IsOfSomeRuns) or figure.is_of(run)}


def needed_analyses(run: Run | None = None) -> list[str]:
    """Names of the analyses that the figures draw, those of the most figures first; the analyses are not imported.

    Parameters
    ----------
    run
        Leaves out the analyses that have nothing to do with it; None = all that there are.
    """
    figures = all_figures() if run is None else figures_of(run)
    return most_first(figure.analysis for figure in figures.values() if figure.analysis is not None)


def most_first(names: Iterable[str]) -> list[str]:
    """Return each name once, the most frequent first, equally frequent ones in the order of their appearance."""
    return [name for name, _ in Counter(names).most_common()]


def _expect_figure(key: str, plugin: object) -> Figure:
    if not isinstance(plugin, Figure):
        raise PluginError(
            f"figure {key!r}: needs the class variables title, caption, section and analysis and the methods data and draw; "
            "docs/plugins.md has an example"
        )
    return plugin
