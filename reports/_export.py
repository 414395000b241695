"""Figures as files and as parts of a page: same input, same bytes."""

import io
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from markupsafe import Markup

from reasoning_anatomy.errors import AnalysisError, RunError
from reasoning_anatomy.files import write_atomic
from reasoning_anatomy.plugins import key_of, load
from reasoning_anatomy.run.folder import Run
from reports._figures import all_figures
from reports._style import figure_style, page_variables

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_METADATA: Final[dict[str, dict[str, Any]]] = {
    "svg": {"Date": None, "Creator": None},
    "pdf": {"CreationDate": None, "ModDate": None, "Creator": None, "Producer": None},
    "png": {"Software": None},
}
_DPI: Final = 200
_WIDE: Final = 400.0  # points; wider figures scroll on a narrow screen instead of shrinking


def save_figure(run: Run, figure: str, path: Path | None = None) -> list[Path]:
    """Write one figure, and its data beside it as CSV.

    Parameters
    ----------
    run
        The run.
    figure
        Key and options of a figure: ``"layer_head_map"``, ``"layer_head_map:alpha=0.01"``.
    path
        The file; its suffix says whether it is SVG, PDF or PNG. ``RUN/figures/<figure>.pdf`` if None.

    Returns
    -------
    The two files.

    Raises
    ------
    PluginError
        There is no such figure, or an option is wrong.
    RunError, AnalysisError
        The run does not hold what is drawn, or the file has another suffix; nothing is written then.
    """
    plugin = load("figure", figure)
    path = path or run.folder / "figures" / f"{key_of(plugin)}.pdf"
    extension = path.suffix.removeprefix(".").lower()
    if extension not in _METADATA:
        raise RunError(f"{path}: a figure is written as {', '.join(_METADATA)}; end the name of the file with one of them")
    data, drawn = plugin.data(run), plugin.draw(run)
    write_atomic(path, _rendered(drawn, extension))
    write_atomic(path.with_suffix(".csv"), data.to_csv(index=False))
    return [path, path.with_suffix(".csv")]


def save_figures(run: Run, folder: Path) -> list[Path]:
    """Write every figure that the run has the input for as SVG, PDF and PNG, and its data as CSV.

    Parameters
    ----------
    run
        The run.
    folder
        Gets ``<figure>.svg``, ``.pdf``, ``.png`` and ``.csv``.

    Returns
    -------
    The files, in alphabetical order of the figures. A figure without input is left out.
    """
    written = []
    for key, figure in all_figures().items():
        try:
            data, drawing = figure.data(run), figure.draw(run)
        except (RunError, AnalysisError):
            continue
        write_atomic(folder / f"{key}.csv", data.to_csv(index=False))
        written.append(folder / f"{key}.csv")
        for extension in _METADATA:
            write_atomic(folder / f"{key}.{extension}", _rendered(drawing, extension))
            written.append(folder / f"{key}.{extension}")
    return written


def inline_svg(figure: "Figure", name: str) -> Markup:
    """Draw a figure as an ``<svg>`` for a page.

    Its ids carry ``name``, so that figures do not collide; its inks become variables of the page, so that it
    follows the page's theme.
    """
    text = _rendered(figure, "svg", transparent=True).decode()
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


def _rendered(figure: "Figure", extension: str, *, transparent: bool = False) -> bytes:
    buffer = io.BytesIO()
    with figure_style():
        figure.savefig(buffer, format=extension, dpi=_DPI, metadata=_METADATA[extension], transparent=transparent)
    return buffer.getvalue()
