"""Results to figures and pages: one figure per file in ``reports/figures/``."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, runtime_checkable

from reasoning_anatomy.lazy import lazy_names
from reasoning_anatomy.plugins import Plugin

if TYPE_CHECKING:
    import matplotlib.figure
    import pandas as pd

    from reasoning_anatomy.run.folder import Run
    from reports._comparison import write_comparison
    from reports._export import save_figure, save_figures
    from reports._figures import figure, needed_analyses
    from reports._page import write_report
    from reports._server import serve
    from reports._students import write_students_report

__all__ = [
    "Figure",
    "HasNotes",
    "HasSummary",
    "HasTable",
    "IsOfSomeRuns",
    "IsOnDemand",
    "figure",
    "needed_analyses",
    "save_figure",
    "save_figures",
    "serve",
    "write_comparison",
    "write_report",
    "write_students_report",
]

__getattr__ = lazy_names(
    __name__,
    {
        "_comparison": ["write_comparison"],
        "_export": ["save_figure", "save_figures"],
        "_figures": ["figure", "needed_analyses"],
        "_page": ["write_report"],
        "_server": ["serve"],
        "_students": ["write_students_report"],
    },
)


@runtime_checkable
class Figure(Plugin, Protocol):
    """What a plugin of the kind ``figure`` is: a frozen dataclass with these class variables and methods.

    Its ``source`` is the `AnalysisResult` of the analysis that it names, or the `Run` if it names none. `HasNotes`,
    `HasTable`, `HasSummary`, `IsOfSomeRuns` and `IsOnDemand` are optional parts.

    Attributes
    ----------
    title
        Its heading.
    caption
        What a reader must know to read it.
    section
        Part of the report where it stands: the name of an analysis, ``run``, ``chains``, ``provenance``, or a word of its own,
        which makes a new part with the title of the figure.
    analysis
        The analysis whose result it draws; the report runs it if it is missing. None if it draws the tables of the run.
    """

    title: ClassVar[str]
    caption: ClassVar[str]
    section: ClassVar[str]
    analysis: ClassVar[str | None]

    def data(self, source: Any) -> "pd.DataFrame":
        """Return what is drawn.

        Raises
        ------
        AnalysisError
            The result lacks what is drawn; the message says how to make it.
        RunError
            The run does.
        """

    def draw(self, source: Any) -> "matplotlib.figure.Figure":
        """Draw `data`, inside ``reports._style.figure_style``; raises as `data` does."""


@runtime_checkable
class HasNotes(Protocol):
    """A figure whose caption says more of some drawings than of others."""

    def notes(self, source: Any) -> "Sequence[str]":
        """Return sentences for the caption: what marks mean that only some drawings have; raises as `Figure.data` does."""


@runtime_checkable
class HasTable(Protocol):
    """A figure beside which a page shows numbers."""

    def table(self, source: Any) -> "pd.DataFrame":
        """Return the rows to show; columns of a result are rounded and named as everywhere on the page."""


@runtime_checkable
class HasSummary(Protocol):
    """A figure whose part of the page begins with tables of what was found.

    Attributes
    ----------
    summary_note
        What a reader must know to read them.
    """

    summary_note: ClassVar[str]

    def summary(self, source: Any) -> "Mapping[str, Sequence[pd.DataFrame]]":
        """Return tables by heading, in the order of a hurried reader; raises as `Figure.data` does.

        Columns ``<name>_low, <name>_high`` (an interval) and ``<name>_note`` (words) stand below the value of ``<name>``. The
        words of a table's ``attrs["title"]`` stand above it; its columns in ``attrs["labels"]`` are named after plugins.
        """


@runtime_checkable
class IsOfSomeRuns(Protocol):
    """A figure that has nothing to do with most runs: their pages do not speak of it, those of the others begin with it."""

    def is_of(self, run: "Run") -> bool:
        """Whether the run has what the figure is about, be it analysed or not."""


@runtime_checkable
class IsOnDemand(Protocol):
    """A figure for which the report runs no analysis: a page shows it if the run has the result, or never if it needs none.

    Attributes
    ----------
    on_demand
        True; its presence says it.
    """

    on_demand: ClassVar[bool]
