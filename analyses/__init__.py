"""Tables to statistics: one analysis per file, run as ``python -m analyses.<name> RUN``."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar, Protocol, runtime_checkable

from reasoning_anatomy.plugins import Plugin

if TYPE_CHECKING:
    from reasoning_anatomy.run.folder import Run
    from reasoning_anatomy.types import AnalysisResult

__all__ = ["Analysis", "HasSubject", "HasTerms", "HasTitle", "OpensAFolder"]


@runtime_checkable
class Analysis(Plugin, Protocol):
    """What a plugin of the kind ``analysis`` is: a frozen dataclass with this method.

    Its file is ``analyses/<name>.py`` and ends with the four lines that make it a program; see ``rank_correlation.py``.
    `HasTitle`, `HasTerms` and `HasSubject` are optional parts, for the report, and `OpensAFolder` one for what reads no run.
    They are literals: they are read without importing the analysis.
    """

    def analyse(self, run: "Run") -> "AnalysisResult":
        """Compute the result from the tables of a run.

        Parameters
        ----------
        run
            Opened for reading; the caller writes the result.

        Raises
        ------
        AnalysisError
            The tables do not hold what the analysis needs.
        MissingError
            The run has no such scorer, strategy or annotator.
        """


@runtime_checkable
class HasTitle(Protocol):
    """An analysis whose part of the report has a heading of its own; without one, it is the name of the analysis."""

    title: ClassVar[str]


@runtime_checkable
class HasTerms(Protocol):
    """An analysis whose terms are explained in the report."""

    terms: ClassVar[Mapping[str, str]]


@runtime_checkable
class HasSubject(Protocol):
    """An analysis whose finding has a place in the report: ``subject`` is one of `reasoning_anatomy.plugin_files.SUBJECTS`."""

    subject: ClassVar[str]


@runtime_checkable
class OpensAFolder(Protocol):
    """An analysis of something else than a run: ``opens`` is one of `reasoning_anatomy.plugin_files.FOLDERS`.

    ``students``: its argument is a `reasoning_anatomy.run.students.Students`, which has `write_analysis` as a run has.
    """

    opens: ClassVar[str]
