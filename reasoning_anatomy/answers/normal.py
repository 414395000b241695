# ruff: noqa: RUF001 - look-alike symbols are the subject of this file
r"""One way of writing for answers: layout, markup and the many spellings of one LaTeX formula are taken away."""

import html
import re
import unicodedata
from typing import Final

_SYMBOLS: Final = {
    "−": "-", "–": "-", "—": "-", "‐": "-", "‑": "-", "﹣": "-", "×": r"\cdot ", "·": r"\cdot ", "⋅": r"\cdot ", "∙": r"\cdot ",
    "÷": "/", "⁄": "/", "∕": "/", "°": r"^\circ ", "º": r"^\circ ", "∞": r"\infty ", "π": r"\pi ", "√": r"\sqrt ", "≤": r"\le ",
    "≥": r"\ge ", "≠": r"\ne ", "±": r"\pm ", "∪": r"\cup ", "∩": r"\cap ", "∈": r"\in ", "∅": r"\emptyset ",
    "ℝ": r"\mathbb{R}",
    "θ": r"\theta ", "α": r"\alpha ", "β": r"\beta ", "∶": ":", "、": ", ", "。": ".", "„": '"', "“": '"', "”": '"', "‘": "'",
    "’": "'", "≈": r"\approx ", "…": r"\dots ", "★": "", "✅": "",
}  # fmt: skip
_WIDE: Final = {code: chr(code - 0xFEE0) for code in range(0xFF01, 0xFF5F)}
_INVISIBLE: Final = dict.fromkeys(map(ord, "\u200b\u200c\u200d\u2060\ufeff\u00ad\u200e\u200f\ufe0f"))
_CHARACTERS: Final = {**{ord(symbol): plain for symbol, plain in _SYMBOLS.items()}, **_WIDE, **_INVISIBLE}
_RAISED: Final = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺ⁿ", "0123456789-+n")
_LOWERED: Final = str.maketrans("₀₁₂₃₄₅₆₇₈₉₋", "0123456789-")

_WRAPPER: Final = re.compile(
    r"\\(?:text(?:bf|rm|it|sf|tt|normal)?|math(?:rm|bf|it|sf|tt|normal)|boldsymbol|bm|mbox|hbox|operatorname\*?|boxed|fbox|underline|"
    r"emph|ensuremath)\s*\{([^{}]*)\}"
)
_SUBSTITUTIONS: Final = tuple(
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        # Markup.
        (r"<sup>([^<>]*)</sup>", r"^{\1}"),
        (r"<sub>([^<>]*)</sub>", r"_{\1}"),
        (r"</?[A-Za-z][^<>]{0,80}>", " "),
        (r"(?<![\w)}\]*])\*\*(?=\S)|(?<=\S)\*\*(?![\w({\\*])|`+|(?<!\w)__(?=\S)|(?<=\S)__(?!\w)", ""),
        (r"\*\*", "^"),
        # Marks of formulas, and what only sets them.
        (r"\\(?:displaystyle|textstyle|limits|nolimits|allowbreak|tiny|small|large|Large)(?![A-Za-z])", " "),
        (r"\\(?:left|right|middle|[bB]igg?[lrm]?)(?![A-Za-z])\s*\.?", ""),
        (r"(?<!\\)\\[()\[\]]", " "),
        (r"(?<=\d)(?:\\[,!;: ]|\{,\}|,\\!|\{\\,\}|~)(?=\d{3}(?!\d))", ","),
        (r"\\[,!;:]|\\(?=\s)|~|\\q?quad(?![A-Za-z])|\\(?:hspace|vspace)\*?\{[^{}]*\}", " "),
        # One name for each symbol.
        (r"\\[dtc]frac(?![A-Za-z])", r"\\frac"),
        (r"\\(?:times|ast)(?![A-Za-z])|(?<=[\w)}\]])\s*\*\s*(?=[\w({\\])", r"\\cdot "),
        (r"\\(?:div)(?![A-Za-z])", "/"),
        (r"\\leq(?:slant)?(?![A-Za-z])|<=", r"\\le "),
        (r"\\geq(?:slant)?(?![A-Za-z])|>=", r"\\ge "),
        (r"\\neq(?![A-Za-z])|!=", r"\\ne "),
        (r"\\lt(?![A-Za-z])", "<"),
        (r"\\gt(?![A-Za-z])", ">"),
        (r"\\(?:lbrace)(?![A-Za-z])", r"\\{"),
        (r"\\(?:rbrace)(?![A-Za-z])", r"\\}"),
        (r"\\(?:l|r)?vert(?![A-Za-z])", "|"),
        (r"\\(?:lbrack)(?![A-Za-z])", "["),
        (r"\\(?:rbrack)(?![A-Za-z])", "]"),
        (r"\\(?:ldots|cdots|dotsc|dotso)(?![A-Za-z])|\.\.\.", r"\\dots "),
        (r"\\varnothing(?![A-Za-z])", r"\\emptyset"),
        (r"\\colon(?![A-Za-z])", ":"),
        (r"\\(?:R|reals|mathbf\{R\}|mathbb\s*R)(?![A-Za-z])", r"\\mathbb{R}"),
        (r"\^\s*\{\s*\\circ\s*\}|\\degrees?(?![A-Za-z])", r"^\\circ "),
        (r"(?<=\d)\s*\\circ(?![A-Za-z])", r"^\\circ "),
        (r"\\%", "%"),
        (r"(?<=\d)\s*(?:percent|per\s+cent|percentage|pct\.?)(?![A-Za-z])", "%"),
        (r"(?<=\d)\s*(?:degrees?|deg)(?![A-Za-z])", r"^\\circ "),
        (r"(?<![A-Za-z\\])(?:infinity|infty|inf|oo)(?![A-Za-z])", r"\\infty "),
        (r"(?<![A-Za-z\\])sqrt(?=\s*[\d({\[])", r"\\sqrt"),
        (r"(?<![A-Za-z\\])pi(?![A-Za-z])", r"\\pi "),
        # Arguments in braces.
        (r"\\sqrt\s*(\[[^\[\]]*\])?\s*\(([^()]*)\)", r"\\sqrt\1{\2}"),
        (r"\\sqrt\s*(\[[^\[\]]*\])?\s*(\d+|[A-Za-z]|\\pi)", r"\\sqrt\1{\2}"),
        (r"\\frac\s*(\d|[A-Za-z]|\\pi)", r"\\frac{\1}"),
        (r"(\\frac\s*\{(?:[^{}]|\{[^{}]*\})*\})\s*(\d|[A-Za-z]|\\pi)", r"\1{\2}"),
        (r"([\^_])\s*\{\s*([^\s{}\\])\s*\}", r"\1\2"),
    )
)  # fmt: skip
_DEEPEST: Final = 4
_ROW: Final = "\ue000"
"""Stands in for the end of a row of a matrix: two backslashes are no command."""
_DOLLAR: Final = re.compile(r"(?<!\\)\$")
_VULGAR: Final = re.compile(r"[¼-¾⅐-⅞]")
_RAISED_RUN: Final = re.compile(r"[⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺ⁿ]+")
_LOWERED_RUN: Final = re.compile(r"[₀-₉₋]+")
_HEADING: Final = re.compile(r"\A(?:[*_\s]|\#{1,6}\s|>\s|•)+")
_SPACE: Final = re.compile(r" (?=\W)|(?<=[^\w,]) |(?<=,) (?!\d{3}(?!\d))")


def normalised(text: str) -> str:
    r"""Write an answer in the one way in which answers are compared.

    Left out: white space, markup, ``$``, ``\left``, ``\text``, thin spaces, stops at the end. Made one: look-alike characters,
    digits of all scripts, ``\dfrac`` and ``\frac12``, ``\leq`` and ``≤``, ``**`` and ``^``. A dollar sign of an amount stays.

    >>> normalised(r"$\dfrac12$."), normalised("**1200 cm²**"), normalised(r"\text{(B)}\ 90^{\circ}"), normalised("$5")
    ('\\frac{1}{2}', '1200 cm^2', '(B) 90^\\circ', '$5')
    """
    text = _with_one_character_each(" ".join(text.split()))
    text = _without_dollars(text)
    text = unwrapped(text)
    text = text.replace(r"\\", _ROW)
    for pattern, replacement in _SUBSTITUTIONS:
        text = pattern.sub(replacement, text)
    text = text.replace(_ROW, r"\\")
    return " ".join(_HEADING.sub("", text).rstrip(" *_.,;:").split())


def unwrapped(text: str) -> str:
    r"""Return the text without ``\text{…}``, ``\mathbf{…}`` and the like around parts of it."""
    for _ in range(_DEEPEST):
        inner = _WRAPPER.sub(r" \1 ", text)
        if inner == text:
            break
        text = inner
    return text


def compact(text: str) -> str:
    """Return a normalised text with no space but between letters or digits, and after the comma of a list."""
    return _SPACE.sub("", text)


def words_of(text: str) -> str:
    """Return the words of a text as they are compared: in small letters, without articles and punctuation."""
    plain = re.sub(r"[^\w]+|_", " ", text.casefold())
    return " ".join(word for word in plain.split() if word not in ("the", "a", "an"))


def _with_one_character_each(text: str) -> str:
    text = _VULGAR.sub(_fraction_of, text)
    text = _RAISED_RUN.sub(lambda run: f"^{{{run[0].translate(_RAISED)}}}", text)
    text = _LOWERED_RUN.sub(lambda run: f"_{{{run[0].translate(_LOWERED)}}}", text)
    text = text.translate(_CHARACTERS)
    if not text.isascii():
        text = unicodedata.normalize("NFC", text)
        text = "".join(str(unicodedata.decimal(each)) if each.isdecimal() else each for each in text)
    return html.unescape(text) if "&" in text and ";" in text else text


def _fraction_of(character: re.Match[str]) -> str:
    over, _, under = unicodedata.normalize("NFKD", character[0]).partition("⁄")
    return rf"\frac{{{over}}}{{{under}}}"


def _without_dollars(text: str) -> str:
    r"""Take off the marks of formulas. What is left is a currency: ``\$``, or one that has no partner."""
    if len(_DOLLAR.findall(text)) % 2 == 0:
        text = _DOLLAR.sub("", text)
    return text.replace(r"\$", "$")
