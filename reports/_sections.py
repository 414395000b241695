"""The parts of the page as plain values, ready for the template."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, NamedTuple

import pandas as pd
from markupsafe import Markup

from reasoning_anatomy.errors import AnalysisError, RunError
from reasoning_anatomy.plugin_files import SUBJECTS, PluginInfo
from reasoning_anatomy.plugins import available
from reasoning_anatomy.run.folder import Run
from reasoning_anatomy.run.manifest import Configuration
from reasoning_anatomy.run.students import Students
from reasoning_anatomy.verdicts import VERDICTS
from reports import Figure, HasNotes, HasSummary, HasTable
from reports._data import CATEGORY_PREFIX, STEP_PREFIX, has_answers, names
from reports._drawing import Sized
from reports._export import inline_svg
from reports._figures import figures_of, source_of
from reports._ordering import OrderedView, ordered_view
from reports._style import number, whole
from reports._tables import TableView, stacked_view, table_view
from reports._writing import Writings, eviction_table

OWN_PARTS: Final = ("run", "chains", "provenance")
"""Parts that every page has, whatever was analysed."""

_FAILED_SHOWN: Final = 50
_VERDICT: Final = re.compile(rf"({'|'.join(VERDICTS)}): ")
_BETWEEN_SENTENCES: Final = re.compile(r"(?<=[.]) +(?=[A-Z\d])")


@dataclass(frozen=True)
class Tables:
    """The tables of a run, or the sentence that says why they are missing."""

    tokens: pd.DataFrame
    paths: pd.DataFrame
    missing: str = ""


@dataclass(frozen=True)
class FigureView:
    """A drawn figure with its numbers, or the sentence that says what it needs; ``narrow``: drawn for a narrow screen."""

    key: str
    title: str
    caption: str
    svg: Markup | None = None
    narrow: Markup | None = None
    table: TableView | None = None
    missing: str = ""


@dataclass(frozen=True)
class AnalysisView:
    """An analysis, rounded for the page, or the sentence that says how to make it.

    ``has_interval``: its table says something about other questions. ``is_older``: the run has changed since.
    ``place``: what commands call its folder.
    """

    name: str
    finding: str = ""
    subject: str = ""
    ordered: OrderedView = field(default_factory=OrderedView)
    table: TableView = field(default_factory=TableView)
    has_interval: bool = False
    is_older: bool = False
    place: str = "RUN"
    config: str = ""
    warnings: tuple[str, ...] = ()
    exclusions: Mapping[str, int] = field(default_factory=dict)
    missing: str = ""

    @property
    def lead(self) -> "Lead":
        """The first sentence, taken apart."""
        return _lead(_BETWEEN_SENTENCES.split(self.finding.partition("\n")[0])[0])

    @property
    def further(self) -> list["Lead"]:
        """What the finding says more, a paragraph for each of its lines, whose first sentence is taken apart."""
        first, *lines = self.finding.split("\n")
        rest = " ".join(_BETWEEN_SENTENCES.split(first)[1:])
        return [_lead(line) for line in (rest, *lines) if line]


class Lead(NamedTuple):
    """A sentence of a finding: its verdict, if it begins with one, what it says, and the numbers for it."""

    verdict: str
    claim: str
    numbers: str


def _lead(sentence: str) -> Lead:
    match = _VERDICT.match(sentence)
    verdict, said = (match[1], sentence[match.end() :]) if match else ("", sentence)
    said = said[:1].upper() + said[1:] if verdict else said
    claim = re.split(": ", said)[0]
    return Lead(verdict, claim, said[len(claim) :])


@dataclass(frozen=True)
class SummaryView:
    """Tables of what was found, by heading, and what a reader must know to read them."""

    note: str
    tables: Mapping[str, Sequence[TableView]]


@dataclass(frozen=True)
class Section:
    """A part of the page: an analysis, or none, with the figures that stand there.

    ``twin``: a part before it that asks the same by another measure.
    """

    key: str
    title: str
    figures: Sequence[FigureView]
    analysis: AnalysisView | None = None
    summaries: Sequence[SummaryView] = ()
    twin: "Section | None" = None

    @property
    def has_something(self) -> bool:
        """Whether there is a result or a figure."""
        has_result = self.analysis is not None and not self.analysis.missing
        return has_result or any(view.svg for view in self.figures)

    @property
    def name(self) -> str:
        """What the table of contents calls it."""
        return self.key.replace("_", " ")


def read_tables(run: Run) -> Tables:
    """Read the tables; a run that is not finished has none yet."""
    try:
        return Tables(run.tokens(), run.paths())
    except RunError as error:
        return Tables(pd.DataFrame(), pd.DataFrame(), plain(run, str(error)))


def plain(run: Run | Students, message: str) -> str:
    """Message for the page, which travels without the folder: its path becomes ``RUN``, or ``STUDENTS``."""
    return message.replace(f"{run.folder}: ", "").replace(str(run.folder), place_of(run))


def place_of(run: Run | Students) -> str:
    """Name a folder in commands: ``RUN``, or ``STUDENTS``."""
    return "RUN" if isinstance(run, Run) else "STUDENTS"


def title(run: Run) -> str:
    """Name the page."""
    configuration = run.manifest.configuration
    if configuration.model is None:
        return f"Reasoning anatomy, {configuration.encoding}"
    return f"Reasoning anatomy of {configuration.model.id}"


def overview(run: Run, tables: Tables) -> list[tuple[str, str]]:
    """Say what was run on what."""
    status = run.status()
    tokens = tables.tokens
    n_tokens = len(tokens) if len(tokens) else None
    n_questions = tokens["question_id"].nunique() if len(tokens) else None
    counts = f"{status.n_done:,} measured of {status.n_chains:,}"
    if status.failed or status.n_left:
        counts += f" ({len(status.failed):,} failed, {status.n_left:,} left to do)"
    return [
        *_model_rows(run.manifest.configuration),
        ("chains", counts),
        ("questions", whole(n_questions)),
        ("reasoning tokens", whole(n_tokens)),
        *_missing_by_column(tokens, STEP_PREFIX, "tokens that were never deleted"),
        ("token categories by", ", ".join(names(tokens, CATEGORY_PREFIX)) or "nobody yet"),
        *_missing_by_column(tokens, CATEGORY_PREFIX, "tokens without a category"),
    ]


def swept(run: Run) -> list[tuple[str, str]]:
    """List what was swept and how the model answers, by label; nothing if the run has no answers at thresholds."""
    configuration = run.manifest.configuration
    if not has_answers(run) or not configuration.conditions:
        return []
    conditions = configuration.conditions.values()
    of_pruned = [condition for condition in conditions if not condition.is_live]
    own = {condition.strategy: condition.plugins[0] for condition in of_pruned if not condition.reference}
    baselines = list(dict.fromkeys(condition.strategy for condition in of_pruned if condition.reference))
    policies = list(dict.fromkeys(condition.strategy for condition in conditions if condition.is_live))
    thresholds = sorted({condition.threshold for condition in conditions})
    return [
        *own.items(),
        *([("baselines of the same length", ", ".join(baselines))] if baselines else []),
        ("thresholds", ", ".join(f"{threshold:g}" for threshold in thresholds)),
        ("answers", configuration.answering or ""),
        *([("eviction while writing", ", ".join(policies))] if policies else []),
        *([("texts written anew", configuration.writing)] if configuration.writing else []),
    ]


def evictions(writings: Writings) -> TableView | None:
    """Sum up the texts that were written under eviction policies; None if there are none."""
    table = eviction_table([each.transcript for of_chain in writings.values() for each in of_chain])
    if table.empty:
        return None
    view = table_view(table)
    named = [policy.text.partition("(") for policy, *_ in view.rows]  # its options in small print
    rows = [
        [replace(row[0], text=name, words=options.removesuffix(")")), *row[1:]]
        for row, (name, _, options) in zip(view.rows, named, strict=True)
    ]
    return replace(view, rows=rows)


def provenance(run: Run) -> list[tuple[str, str]]:
    """List what a repetition of the run needs to know."""
    manifest = run.manifest
    configuration = manifest.configuration
    model = configuration.model
    digests = [] if model is None else [("weights", model.weights), ("chat template", model.template)]
    return [
        *((f"digest of the {name}", digest) for name, digest in digests),
        ("encoding", configuration.encoding),
        ("reasoning_anatomy", manifest.package),
        *((f"version of {name}", version) for name, version in sorted(manifest.versions.items())),
        *((f"check: {name}", number(value)) for name, value in sorted(manifest.checks.items())),
        *((f"seconds: {name}", number(value)) for name, value in manifest.seconds.items()),
    ]


def failures(run: Run) -> tuple[list[tuple[str, str]], int]:
    """Chains that could not be measured with the reason, and how many more there are."""
    failed = [
        (chain_id, f"{plugin}: {reason}")
        for chain_id, reasons in run.status().failed.items()
        for plugin, reason in reasons.items()
    ]
    return failed[:_FAILED_SHOWN], max(0, len(failed) - _FAILED_SHOWN)


def sections(run: Run) -> list[Section]:
    """Make the parts of the page, those of analyses and those that figures open, in the order of what they are about.

    Those that have nothing to show are among them: they say how to make it.
    """
    figures = figures_of(run)
    needed = {figure.analysis for figure in figures.values()}
    titles = available("analysis")
    found = []
    for key in sorted({*run.analyses, *(figure.section for figure in figures.values())} - {*OWN_PARTS}):
        views = figure_views(run, key)
        if key in needed or key in run.analyses:
            heading = titles[key].title if key in titles else ""
            summaries = [view for figure in figures.values() if figure.section == key for view in summary_views(run, figure)]
            found.append(Section(key, heading or key.replace("_", " "), views, analysis_view(run, key), summaries))
        else:
            found.append(Section(key, views[0].title, views))
    return list(_with_twins(sorted(found, key=_place)))


def _with_twins(found: Sequence[Section]) -> Iterator[Section]:
    """Point from each part to the one before it that has the same subject."""
    of_subject: dict[str, Section] = {}
    for section in found:
        subject = section.analysis.subject if section.analysis and not section.analysis.missing else ""
        twin = of_subject.setdefault(subject, section) if subject else section
        yield section if twin is section else replace(section, twin=twin)


def _place(section: Section) -> tuple[bool, bool, int]:
    """Sort what says something about other questions first, then by subject; figures without an analysis come last."""
    analysis = section.analysis
    if analysis is None:
        return True, True, len(SUBJECTS)
    place = SUBJECTS.index(analysis.subject) if analysis.subject else len(SUBJECTS)
    return False, not analysis.has_interval, place


def figure_views(run: Run, section: str) -> list[FigureView]:
    """Draw the figures of a part of the page, those named after it first."""
    views = [figure_view(run, key, figure) for key, figure in figures_of(run).items() if figure.section == section]
    return sorted(views, key=lambda view: not view.key.startswith(section))


def analysis_view(run: Run | Students, name: str) -> AnalysisView:
    """Read one analysis for the page."""
    info = available("analysis").get(name, PluginInfo(name, "", "", ""))
    try:
        result = run.analysis(name)
    except RunError as error:
        return AnalysisView(name, subject=info.subject, missing=plain(run, str(error)))
    return AnalysisView(
        name=name,
        finding=result.finding,
        subject=info.subject,
        ordered=ordered_view(result.table, info.terms),
        table=table_view(result.table, info.terms),
        has_interval=bool(result.table["ci_low"].notna().any()),
        is_older=not run.is_current(name),
        place=place_of(run),
        config=result.config,
        warnings=tuple(plain(run, warning) for warning in result.warnings),
        exclusions=result.exclusions,
    )


def figure_view(run: Run | Students, key: str, figure: Figure) -> FigureView:
    """Draw one figure for the page; what it needs if it cannot be drawn."""
    try:
        source = source_of(figure, run)
        table = table_view(figure.table(source)) if isinstance(figure, HasTable) else None
        notes = figure.notes(source) if isinstance(figure, HasNotes) else ()
        narrow = (
            inline_svg(replace(figure, width="column").draw(source), f"{key}-narrow") if isinstance(figure, Sized) else None
        )
        caption = " ".join([figure.caption, *notes])
        return FigureView(key, figure.title, caption, inline_svg(figure.draw(source), key), narrow, table)
    except (RunError, AnalysisError) as error:
        return FigureView(key, figure.title, figure.caption, missing=plain(run, str(error)))


def summary_views(run: Run | Students, figure: Figure) -> list[SummaryView]:
    """Make the view of the summary of a figure, if it has one; why there is nothing to show stands where the figure would."""
    if not isinstance(figure, HasSummary):
        return []
    try:
        tables = figure.summary(source_of(figure, run))
    except (RunError, AnalysisError):
        return []
    views = {heading: [stacked_view(table) for table in under] for heading, under in tables.items()}
    return [SummaryView(figure.summary_note, views)]


def _missing_by_column(tokens: pd.DataFrame, prefix: str, what: str) -> list[tuple[str, str]]:
    """Count the tokens without a value in every column of a kind."""
    counts = [(name, int(tokens[prefix + name].isna().sum())) for name in names(tokens, prefix)]
    text = "; ".join(f"{name}: {count:,} of {len(tokens):,}" for name, count in counts)
    return [(what, text)] if counts else []


def _model_rows(configuration: Configuration) -> list[tuple[str, str]]:
    model = configuration.model
    if model is None:
        return [("model", f"none; {configuration.encoding}")]
    revision = f", revision {model.revision}" if model.revision else ""
    return [
        ("model", model.id + revision),
        ("architecture", f"{model.architecture}, {model.n_layers} layers with {model.n_heads} heads each"),
        ("weights held as", f"{model.dtype}, {model.quantization or 'not quantized'}, on {model.device}"),
    ]
