"""What the figures and the page share: names, colours and the rounding of numbers."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

from reasoning_anatomy import categories

NOT_GIVEN: Final = "\N{EN DASH}"


@dataclass(frozen=True)
class Look:
    """How a token category looks.

    Attributes
    ----------
    key
        As annotations write it.
    name
        As a reader sees it.
    underline
        CSS line style: the cue that needs no colour.
    fill, line
        Background and line on a light page.
    dark_fill, dark_line
        The same on a dark page.
    """

    key: str
    name: str
    underline: str
    fill: str
    line: str
    dark_fill: str
    dark_line: str


_LOOKS: Final = {
    look.key: look
    for look in (
        Look(categories.SYMBOLIC_MATH, "symbolic mathematics", "solid", "#d3e4f8", "#1f5fa8", "#173a60", "#7fb5f0"),
        Look(categories.VERBAL_MATH, "verbal mathematics", "double", "#cdeee6", "#0f7a66", "#0f4439", "#5fd0b6"),
        Look(categories.ENTITY_NAME, "names and story", "dashed", "#fde5c8", "#a85600", "#543107", "#f4ae5b"),
        Look(categories.META_DISCOURSE, "managing the reasoning", "wavy", "#eddcf6", "#7d3aa3", "#442458", "#cf9cea"),
        Look(categories.COREFERENCE, "pointing back", "dotted", "#fbd9e0", "#b3284b", "#561c2b", "#f291a7"),
        Look(categories.FUNCTION, "function words", "none", "#e9e9e5", "#66665f", "#35363a", "#a5a6ab"),
    )
}
LOOKS: Final = tuple(_LOOKS[category] for category in categories.CATEGORIES)
"""Of the six categories, in their order."""

OTHER: Final = Look("OTHER", "other", "none", "#ffffff", "#4a4a4a", "#1a1b1e", "#c8c8c8")
"""Of a category that is none of the six; its place is after them."""

# Ink of the figures; the page replaces each by its own variable, so that figures follow its theme.
INK: Final = "#1b1c1f"
MUTED: Final = "#62656b"
GRID: Final = "#e3e4e6"
ACCENT: Final = "#245fb0"
PAPER: Final = "#fefefe"  # behind words and in hollow dots; white itself stays white on a dark page

SERIES: Final = (ACCENT, *(LOOKS[place].line for place in (4, 1, 2, 3)))
"""Colours of lines that are no categories; a marker, a dash or a name beside the line is the cue that needs no colour.

The first four are at least 13 apart in CIELAB for readers who see no red, no green or no blue (Machado et al. 2009).
"""
DASHES: Final = ("solid", "dashed", "dashdot", "dotted", (0, (6, 1, 1, 1, 1, 1)))

TEXT: Final = 8.0
SMALL_TEXT: Final = 7.0
"""Points, at the size in which a figure is printed."""

N_BINS: Final = 9


def page_variables() -> dict[str, str]:
    """CSS variable of the page by colour of the figures."""
    inks = {INK: "--ink", MUTED: "--muted", GRID: "--grid", ACCENT: "--accent", PAPER: "--page"}
    return inks | {category.line: f"--line{index}" for index, category in enumerate(LOOKS)}


def category_index(key: object) -> int | None:
    """Place of a category in `LOOKS`; the next place for one that is none of the six; None for no label."""
    if not isinstance(key, str):
        return None
    return LOOKS.index(_LOOKS[key]) if key in _LOOKS else len(LOOKS)


def look_of(key: str) -> Look:
    """Look of a category; that of `OTHER` for one that is none of the six."""
    return _LOOKS.get(key, OTHER)


def category_name(key: str) -> str:
    """Readable name of a category; an unknown one is its own name."""
    return _LOOKS[key].name if key in _LOOKS else key


def number(value: Any) -> str:
    """Three significant digits; the only place where numbers are rounded."""
    if value is None or not math.isfinite(value := float(value)):
        return NOT_GIVEN
    if value == int(value) and abs(value) < 1000:
        return f"{int(value)}".replace("-", "\N{MINUS SIGN}")
    text = f"{value:,.0f}" if abs(value) >= 1000 else f"{value:#.3g}".rstrip(".")
    return text.replace("-", "\N{MINUS SIGN}")


def p_value(value: Any) -> str:
    """Write a p-value: three significant digits, bounded below."""
    return "< 0.001" if value is not None and float(value) < 0.001 else number(value)


def whole(value: Any) -> str:
    """Write a count, with separators of thousands."""
    return NOT_GIVEN if value is None or not math.isfinite(float(value)) else f"{int(value):,}"


def cividis() -> list[tuple[str, str]]:
    """Background and readable text colour of `N_BINS` bins, lowest first."""
    import matplotlib
    from matplotlib.colors import to_hex

    colours = [to_hex(colour) for colour in matplotlib.colormaps["cividis"]([index / (N_BINS - 1) for index in range(N_BINS)])]
    return [(colour, max(("#000000", "#ffffff"), key=lambda text: contrast(colour, text))) for colour in colours]


def contrast(first: str, second: str) -> float:
    """Contrast ratio of two colours as WCAG 2 defines it, 1 to 21."""
    low, high = sorted((_luminance(first), _luminance(second)))
    return (high + 0.05) / (low + 0.05)


@contextmanager
def figure_style() -> Iterator[None]:
    """Draw and save as this package does, whatever the user's settings: same input, same bytes."""
    import matplotlib

    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(
            {
                "font.size": TEXT,
                "axes.edgecolor": MUTED,
                "axes.labelcolor": INK,
                "axes.labelsize": TEXT,
                "axes.titlesize": TEXT,
                "axes.titlecolor": INK,
                "axes.titlelocation": "left",
                "axes.spines.top": False,
                "axes.spines.right": False,
                "axes.linewidth": 0.8,
                "axes.axisbelow": True,
                "grid.color": GRID,
                "grid.linewidth": 0.8,
                "text.color": INK,
                "text.parse_math": False,
                "figure.labelsize": TEXT,
                "legend.fontsize": TEXT,
                "xtick.labelsize": SMALL_TEXT,
                "ytick.labelsize": SMALL_TEXT,
                "xtick.color": MUTED,
                "ytick.color": MUTED,
                "xtick.labelcolor": INK,
                "ytick.labelcolor": INK,
                "legend.frameon": False,
                "svg.hashsalt": "reasoning_anatomy",
                "pdf.fonttype": 42,
                "axes.unicode_minus": True,
            }
        )
        yield


def _luminance(colour: str) -> float:
    channels = [int(colour[start : start + 2], 16) / 255 for start in (1, 3, 5)]
    linear = [value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
