"""The parts of the page as plain values, ready for the template."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import pandas as pd
from markupsafe import Markup

from reasoning_anatomy.errors import AnalysisError, RunError
from reasoning_anatomy.plugins import available, load, load_class
from reasoning_anatomy.run.folder import Run
from reasoning_anatomy.run.manifest import Configuration
from reports._data import CATEGORY_PREFIX, STEP_PREFIX, annotator_of, names
from reports._export import inline_svg
from reports._style import NOT_GIVEN, category_index, category_name, number, p_value, whole

_FAILED_SHOWN: Final = 50
_TERMS: Final = {
    "spearman": "Spearman's rho",
    "spearman_given_position": "Spearman's rho, position held constant",
    "kendall": "Kendall's tau-b",
    "kendall_given_position": "Kendall's tau, position held constant",
}


@dataclass(frozen=True)
class Tables:
    """The tables of a run, or the sentence that says why they are missing."""

    tokens: pd.DataFrame
    paths: pd.DataFrame
    missing: str = ""


@dataclass(frozen=True)
class FigureView:
    """A drawn figure, or the sentence that says what it needs."""

    key: str
    summary: str
    svg: Markup | None = None
    missing: str = ""


@dataclass(frozen=True)
class AnalysisView:
    """An analysis, rounded for the page, or the sentence that says how to make it."""

    name: str
    rows: list[dict[str, str]] = field(default_factory=list)
    config: str = ""
    warnings: tuple[str, ...] = ()
    exclusions: Mapping[str, int] = field(default_factory=dict)
    missing: str = ""


def read_tables(run: Run) -> Tables:
    """Read the tables; a run that is not finished has none yet."""
    try:
        return Tables(run.tokens(), run.paths())
    except RunError as error:
        return Tables(pd.DataFrame(), pd.DataFrame(), plain(run, error))


def plain(run: Run, error: Exception) -> str:
    """Message for the page, which travels without the folder: its path becomes ``RUN``."""
    return str(error).removeprefix(f"{run.folder}: ").replace(str(run.folder), "RUN")


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
        ("token categories by", ", ".join(names(tokens, CATEGORY_PREFIX)) or "nobody yet"),
    ]


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


def analysis_view(run: Run, name: str) -> AnalysisView:
    """Read one analysis for the page."""
    try:
        result = run.analysis(name)
    except RunError as error:
        return AnalysisView(name, missing=plain(run, error))
    rows = [_row({str(name): value for name, value in row.items()}) for row in result.table.to_dict("records")]
    return AnalysisView(name, rows, result.config, result.warnings, result.exclusions)


def head_extremes(run: Run) -> list[dict[str, str]]:
    """Return the five heads with the highest and the five with the lowest estimate; none where there are none."""
    try:
        data = load("figure", "layer_head_map").data(run).dropna(subset="estimate")
    except (RunError, AnalysisError):
        return []
    data = data.sort_values("estimate", ascending=False, kind="stable")
    ends = data if len(data) <= 10 else pd.concat([data.head(5), data.tail(5)])
    return [_row(row) | {"layer": whole(row["layer"]), "head": whole(row["head"])} for row in ends.to_dict("records")]


def category_table(run: Run, tokens: pd.DataFrame) -> list[dict[str, str]]:
    """Mean relative deletion step by category, strategy and annotator; the numbers of the figure."""
    rows: list[dict[str, str]] = []
    if not names(tokens, STEP_PREFIX):
        return rows
    plugin_class = load_class("figure", "deletion_by_category")
    for annotator in names(tokens, CATEGORY_PREFIX):
        data = plugin_class(annotator=annotator).data(run)
        for row in data[data["row"] == "mean"].to_dict("records"):
            about = {"strategy": row["strategy"], "annotator": annotator, "category": category_name(row["category"])}
            counts = {name: whole(row[name]) for name in ("n_questions", "n_chains", "n_tokens", "n_censored")}
            index = category_index(row["category"])
            rows.append(about | {"estimate": number(row["estimate"]), "interval": _interval(row), "index": str(index)} | counts)
    return rows


def censoring(run: Run, tokens: pd.DataFrame) -> str:
    """Sentence that counts the tokens that were never deleted, and those without a category."""
    parts = []
    for strategy in names(tokens, STEP_PREFIX):
        n_censored = int(tokens[STEP_PREFIX + strategy].isna().sum())
        parts.append(f"{strategy}: {n_censored:,} of {len(tokens):,} tokens were never deleted")
    if names(tokens, CATEGORY_PREFIX):
        annotator = annotator_of(run, tokens, "")
        n_unlabelled = int(tokens[CATEGORY_PREFIX + annotator].isna().sum())
        parts.append(f"{annotator}: {n_unlabelled:,} tokens have no category")
    return "; ".join(parts)


def figure_views(run: Run) -> dict[str, FigureView]:
    """Every figure by key, drawn where the run has its input."""
    views = {}
    for key, info in available("figure").items():
        try:
            views[key] = FigureView(key, info.summary, inline_svg(load("figure", key).draw(run), key))
        except (RunError, AnalysisError) as error:
            views[key] = FigureView(key, info.summary, missing=plain(run, error))
    return views


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


def _row(row: Mapping[str, Any]) -> dict[str, str]:
    """One row of a result table, rounded."""
    term = str(row.get("term", ""))
    shown = {
        "term": term,
        "name": _TERMS.get(term.rpartition(": ")[2], ""),
        "estimate": number(row["estimate"]),
        "interval": _interval(row),
    }
    shown |= {name: p_value(row[name]) for name in ("p_value", "p_adjusted") if name in row}
    return shown | {name: whole(row[name]) for name in ("n_questions", "n_chains", "n_tokens") if name in row}


def _interval(row: Mapping[str, Any]) -> str:
    low, high = number(row["ci_low"]), number(row["ci_high"])
    return NOT_GIVEN if NOT_GIVEN in (low, high) else f"{low} to {high}"
