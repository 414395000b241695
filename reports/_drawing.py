"""What the figures draw alike: sizes, panels, names beside lines, rows with intervals."""

import math
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np
import pandas as pd
from scipy.optimize import isotonic_regression

from reasoning_anatomy.verdicts import says_nothing
from reports._style import GRID, INK, MUTED, PAPER, SMALL_TEXT

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Width = Literal["column", "double"]
INCHES: Final[dict[Width, float]] = {"column": 3.35, "double": 7.0}
"""Widths of one and of two columns of a paper."""

NOTHING_SAID: Final = "Dotted: an interval that holds every value there can be, and says nothing."

UNKNOWN: Final = "\N{REPLACEMENT CHARACTER}"
_LONGEST: Final = 36
_LONGEST_WRAPPED: Final = 90
_LEAST_HEIGHT: Final = 2.0  # of panels: room for the name of their common axis


@dataclass(frozen=True, kw_only=True)
class Sized:
    """A figure that has the width of one column of a paper or of two.

    Attributes
    ----------
    width
        ``column`` (3.35 inches) or ``double`` (7 inches).
    """

    width: Width = "double"

    @property
    def is_narrow(self) -> bool:
        """Whether it is one column wide."""
        return self.width == "column"

    def canvas(self, height: float) -> "Figure":
        """Make an empty figure of this height in inches; use inside `figure_style`."""
        from matplotlib.figure import Figure

        return Figure(figsize=(INCHES[self.width], height), layout="constrained")

    def panels(
        self, count: int, *, height: float, across: int = 2, share_x: bool = True, share_y: bool = True
    ) -> "tuple[Figure, list[Axes]]":
        """Make a figure with panels that share their axes; use inside `figure_style`.

        Parameters
        ----------
        count
            Of the panels.
        height
            Of one row of them, in inches.
        across
            Panels in a row if the figure is double; half of it if it is one column wide.
        share_x, share_y
            Whether all have the same axis.
        """
        across = min(count, max(1, across // 2) if self.is_narrow else across)
        down = math.ceil(count / across)
        figure = self.canvas(max(_LEAST_HEIGHT, height * down))
        grid = figure.subplots(down, across, sharex=share_x, sharey=share_y, squeeze=False).ravel()
        for unused in grid[count:]:
            unused.remove()
        if share_x:
            for axis in grid[count - across : count]:  # the row above a gap has numbers, too
                axis.tick_params(axis="x", labelbottom=True)
        return figure, list(grid[:count])


def shown(text: object, longest: int = _LONGEST) -> str:
    r"""Make text fit to be drawn: what the font has, on one line, cut if it is long.

    >>> shown("a\nb"), shown("c" * 40, 4)
    ('a b', 'ccc…')
    """
    known = _characters()
    fit = "".join(letter if ord(letter) in known else _instead(letter) for letter in str(text))
    return fit if len(fit) <= longest else fit[: longest - 1] + "\N{HORIZONTAL ELLIPSIS}"


def wrapped(text: object, width: int) -> str:
    r"""Make a label fit to be drawn in full, on as many lines as it takes; lines end behind spaces and the marks of a label.

    >>> wrapped("exposure_normalised_attention", 20)
    'exposure_normalised_\nattention'
    """
    lines = [""]
    for piece in re.findall(r"[^\s_:,=]*[\s_:,=]?", shown(text, _LONGEST_WRAPPED)):
        if lines[-1] and len(lines[-1]) + len(piece.rstrip()) > width:
            lines.append("")
        lines[-1] += piece
    return "\n".join(line.rstrip() for line in lines)


def _instead(letter: str) -> str:
    return " " if letter.isspace() else UNKNOWN


@cache
def _characters() -> frozenset[int]:
    """Characters of the font that comes with matplotlib and prints something."""
    from matplotlib.font_manager import findfont, get_font

    in_font = get_font(findfont("DejaVu Sans")).get_charmap()
    return frozenset(code for code in in_font if unicodedata.category(chr(code)) not in ("Cc", "Cf", "Zl", "Zp"))


def label_lines(axis: "Axes", lines: "Mapping[str, pd.Series[float]]", colours: Mapping[str, str], *, height: float) -> None:
    """Write the name of every line on it, where the lines are farthest from one another.

    Parameters
    ----------
    axis
        Its limits are final.
    lines
        Values by place from left to right, the same places for all.
    colours
        Of each.
    height
        Of the axes in inches, about.
    """
    values = pd.DataFrame(dict(lines)).dropna()
    left, right = axis.get_xlim()
    is_inside = np.abs(values.index.to_numpy(dtype=float) - (left + right) / 2) <= 0.25 * abs(right - left)
    inside = values[is_inside] if is_inside.any() else values
    gaps = np.diff(np.sort(inside.to_numpy(), axis=1), axis=1)
    best = int(np.argmax(gaps.min(axis=1))) if gaps.size else len(inside) // 2
    low, high = axis.get_ylim()
    heights = apart(list(inside.iloc[best]), SMALL_TEXT * 1.3 / 72 / height * (high - low))
    for name, place in zip(values.columns, heights, strict=True):
        axis.text(
            float(inside.index[best]), place, shown(name), color=colours[name], fontsize=SMALL_TEXT, ha="center", va="center",
            bbox={"facecolor": PAPER, "edgecolor": "none", "pad": 0.8, "alpha": 0.85}, zorder=4,
        )  # fmt: skip


def apart(places: Sequence[float], gap: float) -> list[float]:
    """Move places as little as possible, in squares, until neighbours are at least ``gap`` apart.

    >>> apart([0.0, 0.0, 5.0], 1)
    [-0.5, 0.5, 5.0]
    """
    order = np.argsort(np.asarray(places, dtype=float), kind="stable")
    steps = gap * np.arange(len(order))
    moved = np.empty(len(order))
    moved[order] = isotonic_regression(np.asarray(places, dtype=float)[order] - steps).x + steps
    return [float(place) for place in moved]


def name_rows(axis: "Axes", names: Sequence[str]) -> None:
    """Make rows of a panel, from top to bottom, with a name each, which is fit to be drawn."""
    axis.set_yticks(range(len(names)), names)
    axis.set_ylim(len(names) - 0.45, -0.55)
    axis.tick_params(axis="y", length=0)
    axis.spines["left"].set_visible(False)
    axis.grid(axis="x", color=GRID)


def draw_intervals(
    axis: "Axes", rows: pd.DataFrame, heights: Sequence[float], colours: Sequence[str], *, hollow: bool = False, **names: str
) -> None:
    """Draw an estimate and its interval on each height; one without an end is left out, one that says nothing dotted and pale.

    Parameters
    ----------
    axis
        Panel with values from left to right.
    rows
        Columns ``estimate, ci_low, ci_high``, or what ``names`` says instead.
    heights, colours
        Of each row.
    hollow
        Whether dots are hollow.
    **names
        ``estimate="difference"``.
    """
    estimate, low, high = (rows[names.get(name, name)].to_numpy(dtype=float) for name in ("estimate", "ci_low", "ci_high"))
    has_ends = np.isfinite(low) & np.isfinite(high)
    places, inks = np.asarray(heights, dtype=float), np.asarray(colours, dtype=object)
    is_empty = says_nothing(low, high)
    for chosen, inked, width, style in (
        (has_ends & ~is_empty, list(inks[has_ends & ~is_empty]), 1.2, "solid"),
        (is_empty, [MUTED] * int(is_empty.sum()), 0.9, "dotted"),
    ):
        axis.hlines(places[chosen], low[chosen], high[chosen], color=inked, linewidth=width, linestyle=style, zorder=2)
    axis.scatter(
        estimate,
        places,
        s=np.where(is_empty, 8, 20),
        color=[PAPER] * len(inks) if hollow else list(inks),
        edgecolor=list(inks),
        linewidths=1,
        zorder=3,
    )


def nothing_said(rows: pd.DataFrame, low: str = "ci_low", high: str = "ci_high") -> list[str]:
    """Return the note on dotted intervals, if `draw_intervals` draws one for these rows."""
    return [NOTHING_SAID] if says_nothing(rows[low], rows[high]).any() else []


def draw_band(axis: "Axes", x: Any, low: Any, high: Any, colour: str) -> None:
    """Fill between two lines, where both have an end and leave out any value."""
    low, high = np.asarray(low, float), np.asarray(high, float)
    is_drawn = np.isfinite(low) & np.isfinite(high) & ~says_nothing(low, high)
    low, high = np.where(is_drawn, low, np.nan), np.where(is_drawn, high, np.nan)
    axis.fill_between(np.asarray(x, float), low, high, color=colour, alpha=0.16, linewidth=0)


def zero_line(axis: "Axes") -> None:
    """Draw where a value is zero."""
    axis.axvline(0, color=INK, linewidth=0.8, zorder=1)
