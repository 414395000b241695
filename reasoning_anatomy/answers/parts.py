r"""Answers that have parts: tuples, intervals, sets, lists, unions, matrices, ratios."""

import re
from dataclasses import dataclass
from typing import Final, Literal

from reasoning_anatomy.answers.formulas import named

Kind = Literal["bracketed", "set", "list", "union", "matrix", "ratio"]

_MOST_PARTS: Final = 64
_LONGEST: Final = 5000
_MATRIX: Final = re.compile(
    r"[(\[]?\s*\\begin\{(?P<kind>(?:[pbvBV]|small)?matrix|array)\}(?:\{[lcr|\s]*\})?(?P<body>.*)\\end\{(?P=kind)\}\s*[)\]]?",
    re.DOTALL,
)
_BOUND: Final = r"(?:[^<>=\\]|\\(?!(?:le|ge|ne|in)(?![A-Za-z])).)*"
_BETWEEN: Final = re.compile(rf"({_BOUND})(<|\\le|>|\\ge)\s*(\\?[A-Za-z](?:_\w)?)\s*(<|\\le|>|\\ge)({_BOUND})")
_BEYOND: Final = re.compile(rf"(\\?[A-Za-z](?:_\w)?)\s*(<|\\le|>|\\ge)({_BOUND})")
_BEFORE: Final = re.compile(rf"({_BOUND})(<|\\le|>|\\ge)\s*(\\?[A-Za-z](?:_\w)?)\s*")
_FLIPPED: Final = {"<": ">", ">": "<", r"\le": r"\ge", r"\ge": r"\le"}
_REALS: Final = re.compile(r"\\mathbb\{R\}|(?:all\s+)?real(?:\s+numbers)?|all\s+reals", re.IGNORECASE)
_AND: Final = re.compile(r",?\s*(?<![A-Za-z\\])(?:and|or)(?![A-Za-z])\s*")
_INFINITE: Final = re.compile(r"[+-]?\s*\\infty")


@dataclass(frozen=True)
class Parts:
    r"""Parts in their order.

    Attributes
    ----------
    kind
        ``"bracketed"`` for tuples, points and intervals.
    items
        The parts, normalised; those of a matrix row by row.
    brackets
        What is around them: ``()``, ``[)``, ...; the shape of a matrix; empty for lists.
    name
        Of what the parts are values, if it is said.
    """

    kind: Kind
    items: tuple[str, ...]
    brackets: str = ""
    name: str = ""


def parts_of(text: str) -> Parts | None:
    r"""Divide a normalised answer into its parts; None if it has none.

    >>> parts_of(r"x \ge 3")
    Parts(kind='bracketed', items=('3', '\\infty'), brackets='[)', name='x')
    >>> parts_of("[0, 1)").items, parts_of("x = 2 or x = 3").items, parts_of(r"\pm\sqrt{2}").items, parts_of("5")
    (('0', '1'), ('2', '3'), ('\\sqrt{2}', '-\\sqrt{2}'), None)
    """
    name, text = named(text)
    if len(text) > _LONGEST or re.search(r"(?:[(\[{][^()\[\]{}]*){20}", text):
        return None
    if _REALS.fullmatch(text):
        return Parts("bracketed", (r"-\infty", r"\infty"), "()", name)
    readers = (_matrix, _united, _inequality, _bracketed, _ratio, _plus_minus, _listed)
    found = next((parts for read in readers if (parts := read(text))), None)
    if found is None or not 0 < len(found.items) <= _MOST_PARTS or not all(found.items):
        return None
    return found if found.name or not name else Parts(found.kind, found.items, found.brackets, name)


def is_interval(parts: Parts) -> bool:
    """Whether two parts in round or square brackets can only be the ends of an interval."""
    infinite = any(_INFINITE.fullmatch(item) for item in parts.items)
    return parts.kind == "bracketed" and len(parts.items) == 2 and (infinite or parts.brackets in ("[)", "(]"))


def split_list(text: str, separators: str = ",;") -> list[str]:
    """Split at separators outside brackets. If a comma is followed by a space somewhere, only such commas separate."""
    depth, start, items, spaced = 0, 0, [], ", " in text
    for index, character in enumerate(text):
        escaped = index > 0 and text[index - 1] == "\\" and character in "{}"
        depth += 0 if escaped else (character in "([{") - (character in ")]}")
        if depth <= 0 and character in separators:
            if character == "," and spaced and text[index + 1 : index + 2] != " ":
                continue
            items.append(text[start:index])
            start = index + 1
    return [item.strip() for item in (*items, text[start:])]


def _bracketed(text: str) -> Parts | None:
    if text.startswith(r"\{") and text.endswith(r"\}"):
        inside = text[2:-2].strip()
        if re.search(r"\||\\mid|:|\\cup", inside):
            return None
        return Parts("set", tuple(split_list(inside)), "{}") if inside else None
    if len(text) < 3 or text[0] not in "([{])" or text[-1] not in ")]}[" or not _is_outer(text):
        return None
    inside, brackets = text[1:-1].strip(), text[0] + text[-1]
    if brackets == "{}":
        return Parts("set", tuple(split_list(inside)), "{}")
    if text[0] == "]" or text[-1] == "[":
        brackets = ("(" if text[0] == "]" else text[0]) + (")" if text[-1] == "[" else text[-1])
    items = split_list(inside)
    if len(items) < 2:
        return None
    if len(items) == 2:
        brackets = _open_at_infinity(items, brackets)
    return Parts("bracketed", tuple(items), brackets)


def _is_outer(text: str) -> bool:
    """Whether the first and the last character are brackets around all that is between them."""
    if text[0] == "]" or text[-1] == "[":
        return not set(text[1:-1]) & set("()[]")
    depth = 0
    for index, character in enumerate(text):
        depth += (character in "([{") - (character in ")]}")
        if depth == 0:
            return index == len(text) - 1
    return False


def _open_at_infinity(items: list[str], brackets: str) -> str:
    left = "(" if _INFINITE.fullmatch(items[0]) else brackets[0]
    right = ")" if _INFINITE.fullmatch(items[1]) else brackets[1]
    return left + right


def _inequality(text: str) -> Parts | None:
    if match := _BETWEEN.fullmatch(text):
        low, first, name, second, high = (group.strip() for group in match.groups())
        if (first in ("<", r"\le")) != (second in ("<", r"\le")):
            return None
        if first in (">", r"\ge"):
            low, first, second, high = high, second, first, low
        return Parts("bracketed", (low, high), ("(" if first in "<>" else "[") + (")" if second in "<>" else "]"), name)
    if match := _BEYOND.fullmatch(text):
        name, sign, bound = (group.strip() for group in match.groups())
    elif match := _BEFORE.fullmatch(text):
        bound, sign, name = (group.strip() for group in match.groups())
        sign = _FLIPPED[sign]
    else:
        return None
    if sign in ("<", r"\le"):
        return Parts("bracketed", (r"-\infty", bound), "(" + (")" if sign == "<" else "]"), name)
    return Parts("bracketed", (bound, r"\infty"), ("(" if sign == ">" else "[") + ")", name)


def _united(text: str) -> Parts | None:
    pieces = re.split(r"\\cup(?![A-Za-z])", text)
    if len(pieces) == 1:
        pieces = _AND.split(text)
        if len(pieces) == 1 or not all(_inequality(piece.strip()) for piece in pieces):
            return None
    return Parts("union", tuple(piece.strip() for piece in pieces))


def _matrix(text: str) -> Parts | None:
    match = _MATRIX.fullmatch(text)
    if match is None:
        return None
    rows = [row.strip() for row in re.split(r"\\\\(?:\[[^\]]*\])?", match["body"])]
    cells = [[cell.strip() for cell in row.split("&")] for row in rows if row]
    if not cells or len({len(row) for row in cells}) > 1:
        return None
    determinant = "|" if match["kind"] in ("vmatrix", "Vmatrix") else ""
    return Parts("matrix", tuple(cell for row in cells for cell in row), f"{determinant}{len(cells)}x{len(cells[0])}")


def _ratio(text: str) -> Parts | None:
    pieces = tuple(piece.strip() for piece in text.split(":"))
    return Parts("ratio", pieces) if len(pieces) > 1 and all(re.fullmatch(r"[\d.,]+", piece) for piece in pieces) else None


def _plus_minus(text: str) -> Parts | None:
    before, sign, after = text.partition(r"\pm")
    if not sign or r"\pm" in after or "," in text:
        return None
    before, after = before.strip(), after.strip()
    return Parts("list", (f"{before}+{after}" if before else after, f"{before}-{after}"))


def _listed(text: str) -> Parts | None:
    separated = _AND.sub(", ", text)
    if separated == text and not re.search(r"[,;]", text):
        return None
    items = [piece for piece in split_list(separated) if piece]
    if len(items) < 2:
        return None
    pairs = [named(item) for item in items]
    names = [name for name, _ in pairs if name]
    if len(names) == len(items) and len(set(names)) == len(names):
        return Parts("bracketed", tuple(value for _, value in sorted(pairs)), "()", ",".join(sorted(names)))
    if len(set(names)) == 1:
        return Parts("list", tuple(value for _, value in pairs), "", names[0])
    return Parts("list", tuple(items))
