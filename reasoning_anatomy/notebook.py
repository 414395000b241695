"""HTML by which runs, results and chains show themselves in a notebook; all text in it is escaped."""

from collections.abc import Iterable, Mapping
from typing import Final

import pandas as pd
from markupsafe import Markup, escape

MOST_ROWS: Final = 20
"""Of a table that is shown."""

_SHADES: Final = ("rgba(128,128,128,.10)", "rgba(128,128,128,.26)")
"""Of neighbouring tokens; both can be read on light and on dark pages."""
_TEXT: Final = "white-space:pre-wrap;overflow-wrap:anywhere;max-width:60em;margin:.4em 0"


def paragraph(text: str, *, strong: bool = False) -> Markup:
    """One paragraph with its line breaks."""
    inner = Markup("<b>{}</b>").format(text) if strong else escape(text)
    return Markup('<p style="{}" dir="auto">{}</p>').format(_TEXT, inner)


def listed(items: Iterable[str]) -> Markup:
    """Make a list; nothing if there are no items."""
    rows = Markup("").join(Markup("<li>{}</li>").format(item) for item in items)
    return Markup("<ul>{}</ul>").format(rows) if rows else Markup("")


def facts(values: Mapping[str, object]) -> Markup:
    """Name and value, one pair a line."""
    row = Markup(
        '<tr><th style="text-align:left;vertical-align:top">{}</th><td style="text-align:left;{}" dir="auto">{}</td></tr>'
    )
    return Markup("<table>{}</table>").format(Markup("").join(row.format(name, _TEXT, value) for name, value in values.items()))


def table(rows: pd.DataFrame) -> Markup:
    """Show a table with three significant digits; of a long one the first `MOST_ROWS`, and how many there are."""
    shown = Markup(rows.head(MOST_ROWS).to_html(index=False, escape=True, border=0, na_rep="", float_format="{:.3g}".format))
    return shown if len(rows) <= MOST_ROWS else shown + paragraph(f"{MOST_ROWS} of {len(rows):,} rows")


def token_strip(text: str, spans: Iterable[tuple[int, int]]) -> Markup:
    """Show a text with its tokens in two shades; every character once.

    Parameters
    ----------
    text
        Of all tokens, and what stands between them.
    spans
        Half-open character span of every token, in order; those of a character that is split between tokens overlap.
    """
    parts, cursor = [], 0
    for position, (start, end) in enumerate(spans):
        first = max(cursor, start)
        token = Markup('<span title="{}" style="background:{}">{}</span>').format(
            position, _SHADES[position % 2], text[first:end]
        )
        parts += [escape(text[cursor:first]), token]
        cursor = max(cursor, end)
    return Markup('<div style="{};line-height:1.8" dir="auto">{}</div>').format(
        _TEXT, Markup("").join([*parts, escape(text[cursor:])])
    )
