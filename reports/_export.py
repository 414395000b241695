"""Figures as files and as parts of a page: same input, same bytes."""

import io
import re
from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from markupsafe import Markup

from reasoning_anatomy.errors import AnalysisError, RunError
from reasoning_anatomy.files import write_atomic
from reasoning_anatomy.plugins import key_of
from reasoning_anatomy.run.folder import Run
from reasoning_anatomy.run.students import Students
from reasoning_anatomy.types import AnalysisResult
from reports import Figure
from reports._drawing import Width
from reports._figures import all_figures, loaded, source_of
from reports._style import figure_style, page_variables

if TYPE_CHECKING:
    import matplotlib.figure

FORMATS: Final = ("pdf", "svg", "png")

_UNDATED: Final[dict[str, dict[str, Any]]] = {
    "svg": {"Date": None, "Creator": None},
    "pdf": {"CreationDate": None, "ModDate": None, "Creator": None, "Producer": None},
    "png": {"Software": None},
}
_CAPTION: Final = {"svg": "Description", "pdf": "Subject", "png": "Description"}
_DPI: Final = 200
_WIDE: Final = 400.0  # points; wider figures scroll on a narrow screen instead of shrinking


def save_figure(
    source: Run | Students | AnalysisResult,
    figure: str,
    path: Path | None = None,
    *,
    formats: Sequence[str] = ("pdf",),
    **options: Any,
) -> list[Path]:
    """Write one figure, and its data beside it as CSV.

    Title and caption are in the properties of the file. The PDF embeds its fonts as TrueType, the SVG has its text as outlines:
    both look the same everywhere.

    Parameters
    ----------
    source
        A run or students, or the result of the analysis that the figure draws.
    figure
        Key and options of a figure: ``"head_map"``, ``"head_map:alpha=0.01"``.
    path
        The file; its suffix says whether it is SVG, PDF or PNG. ``RUN/figures/<figure>.<format>`` if None.
    formats
        ``pdf``, ``svg``, ``png``, of which one file each is written if no path is given.
    **options
        Of the figure, as values of Python: ``width="column"``.

    Returns
    -------
    The files, the CSV last.

    Raises
    ------
    PluginError
        There is no such figure, or an option is wrong.
    RunError, AnalysisError
        The source does not hold what is drawn, or there is no such format; nothing is written then.
    """
    plugin = loaded(figure, **options)
    if path is None:
        if not isinstance(source, Run | Students):
            raise AnalysisError(f"a result has no folder for the figure {key_of(plugin)!r}; name the file: path=...")
        folder, stem, wanted = source.folder / "figures", key_of(plugin), _expected(formats)
        paths = [folder / f"{stem}.{extension}" for extension in wanted]
    else:
        paths, wanted = [path], [path.suffix.removeprefix(".").lower()]
        if wanted[0] not in FORMATS:
            raise RunError(f"{path}: a figure is written as {', '.join(FORMATS)}; end the name of the file with one of them")
    return _write(plugin, source, dict(zip(paths, wanted, strict=True)))


def save_figures(
    run: Run | Students, folder: Path, *, formats: Sequence[str] = FORMATS, width: Width | None = None
) -> list[Path]:
    """Write every figure that the run has the input for, and its data as CSV.

    Parameters
    ----------
    run
        The run, or the students.
    folder
        Gets ``<figure>.<format>`` and ``<figure>.csv``.
    formats
        ``pdf``, ``svg``, ``png``.
    width
        ``column`` or ``double``; None leaves each figure as wide as it is by default.

    Returns
    -------
    The files, in alphabetical order of the figures. A figure without input is left out.
    """
    return export_figures(run, folder, formats=formats, width=width)[0]


def export_figures(
    run: Run | Students, folder: Path, *, formats: Sequence[str], width: Width | None
) -> tuple[list[Path], dict[str, str]]:
    """Do what `save_figures` does, and return also why each of the other figures was left out, by key."""
    written, skipped, wanted = [], {}, _expected(formats)
    for key, figure in all_figures().items():
        if width is not None and "width" in {field.name for field in fields(figure)}:
            figure = replace(figure, width=width)
        try:
            written += _write(figure, run, {folder / f"{key}.{extension}": extension for extension in wanted})
        except (RunError, AnalysisError) as error:
            skipped[key] = str(error)
    return written, skipped


def _write(figure: Figure, source: Run | Students | AnalysisResult, paths: dict[Path, str]) -> list[Path]:
    """Write a figure into files of these formats, and its data beside the first."""
    found = source_of(figure, source)
    data, drawn = figure.data(found), figure.draw(found)
    for path, extension in paths.items():
        write_atomic(path, _rendered(drawn, extension, _about(figure, extension)))
    table = next(iter(paths)).with_suffix(".csv")
    write_atomic(table, data.to_csv(index=False))
    return [*paths, table]


def _expected(formats: Sequence[str]) -> list[str]:
    """Return each format once; `RunError` if one is unknown, or there is none."""
    if unknown := [extension for extension in formats if extension not in FORMATS]:
        raise RunError(f"{unknown[0]!r} is no format of a figure; there are {', '.join(FORMATS)}")
    if not formats:
        raise RunError(f"no format was named; there are {', '.join(FORMATS)}")
    return list(dict.fromkeys(formats))


def _about(figure: Figure, extension: str) -> dict[str, str]:
    return {"Title": figure.title, _CAPTION[extension]: figure.caption}


def inline_svg(figure: "matplotlib.figure.Figure", name: str) -> Markup:
    """Draw a figure as an ``<svg>`` for a page.

    Its ids carry ``name``, so that figures do not collide; its inks become variables of the page, so that it
    follows the page's theme; its text is text.
    """
    text = _rendered(figure, "svg", for_page=True).decode()
    text = text[text.index("<svg") :]
    for pattern in (r"<metadata>.*?</metadata>", r"<style.*?</style>", r"<!--.*?-->"):
        text = re.sub(pattern, "", text, flags=re.DOTALL)
    return Markup(re.sub(r"<[a-zA-Z][^>]*>", lambda tag: _adapted(tag[0], name), text))


def _adapted(tag: str, name: str) -> str:
    """Prefix the ids of one tag and replace its inks."""
    tag = re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>{name}-", tag)
    for colour, variable in page_variables().items():
        tag = tag.replace(colour, f"var({variable})")
    return tag.replace("<svg ", f'<svg class="{"wide" if _width(tag) > _WIDE else "small"}" aria-hidden="true" ', 1)


def _width(tag: str) -> float:
    match = re.search(r'width="([\d.]+)pt"', tag)
    return float(match[1]) if match else 0.0


def _lay_out(figure: "matplotlib.figure.Figure") -> None:
    """Place everything once: a layout that is made again starts from the last one, and ends a little elsewhere."""
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    engine = figure.get_layout_engine()
    if isinstance(engine, ConstrainedLayoutEngine):
        engine.execute(figure)
        figure.set_layout_engine(None)  # "none" would leave a placeholder, for which all is drawn once more


def _rendered(
    figure: "matplotlib.figure.Figure", extension: str, about: dict[str, str] | None = None, *, for_page: bool = False
) -> bytes:
    import matplotlib

    buffer = io.BytesIO()
    with figure_style():
        _lay_out(figure)
        matplotlib.rcParams["svg.fonttype"] = "none" if for_page else "path"
        metadata = _UNDATED[extension] | (about or {})
        figure.savefig(buffer, format=extension, dpi=_DPI, metadata=metadata, transparent=for_page)
    return buffer.getvalue()
