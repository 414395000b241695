"""One chain, token by token, coloured by category, score or deletion step."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal

import numpy as np
import pandas as pd

from reasoning_anatomy.errors import MissingError
from reasoning_anatomy.run.folder import Run
from reports._data import CATEGORY_PREFIX, SCORE_PREFIX, STEP_PREFIX
from reports._drawing import INCHES, Sized, shown
from reports._style import GRID, INK, MUTED, N_BINS, NOT_GIVEN, OTHER, TEXT, cividis, figure_style, look_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLUMNS = ("chain_id", "position", "text", "category", "score", "score_rank", "deletion_step", "n_tokens")
_LINE: Final = 15.0
_MARGIN: Final = 4.0
_DASHES: Final[dict[str, Any]] = {
    "solid": "solid",
    "double": (0, (6, 1)),
    "dashed": "dashed",
    "wavy": "dashdot",
    "dotted": "dotted",
}


@dataclass(frozen=True)
class _Box:
    """A piece of text on a line, and how it looks; ``line`` counts from 0, ``left`` and ``width`` are in points."""

    text: str
    line: int
    left: float
    width: float
    fill: str
    ink: str
    edge: str
    dash: Any


@dataclass(frozen=True, kw_only=True)
class TokenStrip(Sized):
    """Reasoning tokens of one chain as text, coloured by category, by the rank of a score, or by deletion step.

    Attributes
    ----------
    chain
        Its chain_id; the first that was measured if None.
    colour
        ``category``, ``score`` or ``step``.
    annotator
        Whose categories; the first of the run if None.
    scorer
        Label of the scorer; the first of the run if None.
    strategy
        Label of the strategy; the first of the run if None.
    tokens
        Tokens that are drawn at most, from the first.
    """

    title: ClassVar[str] = "A chain, token by token"
    caption: ClassVar[str] = (
        "The reasoning of one chain as its tokens; \N{DOWNWARDS ARROW WITH CORNER LEFTWARDS} is a line break. Colour and line "
        "below a token: its category. Or, if asked for, nine shades: the rank of its score within the chain, or its place in "
        "the order of deletion; tokens that were never deleted, or have no value, have a frame and no shade."
    )
    section: ClassVar[str] = "chains"
    analysis: ClassVar[str | None] = None
    on_demand: ClassVar[bool] = True

    chain: str | None = None
    colour: Literal["category", "score", "step"] = "category"
    annotator: str | None = None
    scorer: str | None = None
    strategy: str | None = None
    tokens: int = 400

    def __post_init__(self) -> None:
        if self.tokens < 1:
            raise ValueError(f"tokens={self.tokens}: expected 1 or more")

    def data(self, source: Run) -> pd.DataFrame:
        """Return what is drawn.

        Returns
        -------
        Columns ``chain_id, position, text, category, score, score_rank`` (0..1 within the chain, 1 = highest),
        ``deletion_step`` (1 = first), ``n_tokens`` (of the chain). What the colour does not need and the run does not have is
        missing.
        """
        known = list(dict.fromkeys(source.tokens(columns=["chain_id"])["chain_id"]))
        if self.chain is not None and self.chain not in known:
            raise MissingError(f"{source.folder}: has no measured chain {self.chain!r}; the chains are named in chains.jsonl")
        if not known:
            raise MissingError(f"{source.folder}: has no measured chain; run the command that made it again")
        rows = source.tokens(chains=[self.chain or known[0]])
        columns = self._columns(source)
        score = rows[columns["score"]] if "score" in columns else pd.Series(np.nan, index=rows.index)
        found = rows[["chain_id", "position", "text"]].assign(
            category=rows[columns["category"]] if "category" in columns else None,
            score=score,
            score_rank=(score.rank() - 1) / max(1, score.count() - 1),
            deletion_step=rows[columns["step"]] if "step" in columns else None,
            n_tokens=len(rows),
        )
        return found.head(self.tokens).reset_index(drop=True)[list(COLUMNS)]

    def _columns(self, run: Run) -> dict[str, str]:
        """Column of the tokens for each colour; `MissingError` if the run lacks that which is asked for."""
        named = {
            "category": (CATEGORY_PREFIX, run.annotator_named, self.annotator),
            "score": (SCORE_PREFIX, run.scorer_named, self.scorer),
            "step": (STEP_PREFIX, run.strategy_named, self.strategy),
        }
        found = {}
        for colour, (prefix, name, wanted) in named.items():
            try:
                found[colour] = prefix + name(wanted)
            except MissingError:
                if colour == self.colour or wanted is not None:
                    raise
        return found

    def draw(self, source: Run) -> "Figure":
        """Draw a line that says what the colours mean, and below it the tokens."""
        data = self.data(source)
        width = INCHES[self.width] * 72 - 2 * _MARGIN
        with figure_style():
            key = list(_laid_out(self._key(source, data), width, gap=3.0))
            first = 1.35 + (key[-1].line if key else 0)
            boxes = list(_laid_out(self._pieces(data), width))
            n_lines = first + boxes[-1].line + 1
            figure = self.canvas((n_lines * _LINE + 2 * _MARGIN) / 72)
            figure.set_layout_engine("none")
            axis = figure.add_axes((0, 0, 1, 1))
            axis.set_axis_off()
            axis.set_xlim(-_MARGIN, width + _MARGIN)
            axis.set_ylim(n_lines * _LINE + _MARGIN, -_MARGIN)
            for box in key:
                _draw_box(axis, box, box.line)
            for box in boxes:
                _draw_box(axis, box, first + box.line)
        return figure

    def _pieces(self, data: pd.DataFrame) -> Iterator[tuple[str, tuple[str, str, str, Any]]]:
        """Texts and looks of all tokens, and how many are left out."""
        looks = self._looks(data)
        for text, look in zip(data["text"], looks, strict=True):
            for number, part in enumerate(text.split("\n")):
                if number:
                    yield "\N{DOWNWARDS ARROW WITH CORNER LEFTWARDS}\n", look
                if part:
                    yield shown(part, 10_000), look
        if n_left := int(data["n_tokens"].iloc[0]) - len(data):
            yield f" \N{HORIZONTAL ELLIPSIS} {n_left:,} more", ("none", MUTED, "none", None)

    def _looks(self, data: pd.DataFrame) -> list[tuple[str, str, str, Any]]:
        """Background, ink, line and dash of every token."""
        if self.colour == "category":
            return [_look_of_category(category) for category in data["category"]]
        if self.colour == "score":
            return [_shade(rank) for rank in data["score_rank"]]
        steps = data["deletion_step"].astype("Float64").to_numpy(dtype=float, na_value=np.nan)
        return [_shade((step - 1) / max(1, n - 1)) for step, n in zip(steps, data["n_tokens"], strict=True)]

    def _key(self, run: Run, data: pd.DataFrame) -> list[tuple[str, tuple[str, str, str, Any]]]:
        """Say what the colours mean."""
        plain = ("none", INK, "none", None)
        if self.colour == "category":
            used = list(dict.fromkeys(category for category in data["category"] if isinstance(category, str)))
            return [(f" {shown(look_of(category).name)} ", _look_of_category(category)) for category in used]
        shades = [(" " * (2 if self.is_narrow else 3), _shade(number / (N_BINS - 1))) for number in range(N_BINS)]
        if self.colour == "score":
            return [(f"{shown(run.scorer_named(self.scorer))}:  lowest ", plain), *shades, (" highest ", plain)]
        never = [(f" never {NOT_GIVEN} ", _shade(np.nan))] if data["deletion_step"].isna().any() else []
        return [(f"{shown(run.strategy_named(self.strategy))}:  deleted first ", plain), *shades, (" last ", plain), *never]


def _look_of_category(category: object) -> tuple[str, str, str, Any]:
    look = look_of(category) if isinstance(category, str) else OTHER
    return look.fill, INK, look.line, _DASHES.get(look.underline)


def _shade(share: float) -> tuple[str, str, str, Any]:
    """Look of a place between 0 and 1; a frame if there is none."""
    if not np.isfinite(share):
        return "none", INK, GRID, "frame"
    fill, ink = cividis()[min(N_BINS - 1, int(share * N_BINS))]
    return fill, ink, "none", None


def _laid_out(pieces: Any, width: float, *, gap: float = 0.0) -> Iterator[_Box]:
    """Set pieces of text into lines of so many points; one that ends in a line break is the last of its line."""
    line, left = 0, 0.0
    for text, (fill, ink, edge, dash) in pieces:
        drawn = text.removesuffix("\n")
        size = _text_width(drawn)
        if left and left + size > width:
            line, left = line + 1, 0.0
        yield _Box(drawn, line, left, size, fill, ink, edge, dash)
        line, left = (line + 1, 0.0) if text.endswith("\n") else (line, left + size + gap)


@cache
def _text_width(text: str) -> float:
    """Width in points, whatever the resolution of a picture."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import TextToPath

    return float(TextToPath().get_text_width_height_descent(f"{text}|", FontProperties(size=TEXT), ismath=False)[0]) - _bar()


@cache
def _bar() -> float:
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import TextToPath

    return float(TextToPath().get_text_width_height_descent("|", FontProperties(size=TEXT), ismath=False)[0])


def _draw_box(axis: "Axes", box: _Box, line: float) -> None:
    from matplotlib.patches import Rectangle

    top = line * _LINE
    frame = {"edgecolor": box.edge, "linewidth": 0.6} if box.dash == "frame" else {"linewidth": 0}
    axis.add_patch(Rectangle((box.left + 0.2, top + 1), box.width - 0.4, _LINE - 3, facecolor=box.fill, **frame))
    axis.text(box.left, top + _LINE - 5, box.text, fontsize=TEXT, color=box.ink, va="baseline", ha="left")
    if box.dash not in (None, "frame"):
        ends = [box.left + 0.6, box.left + box.width - 0.6]
        axis.plot(ends, [top + _LINE - 2] * 2, color=box.edge, linewidth=1, linestyle=box.dash, solid_capstyle="butt")
