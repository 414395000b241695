"""Chains as the token viewer shows them: text that works alone, and numbers for the script."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pandas as pd
from markupsafe import Markup, escape

from reasoning_anatomy.categories import CLASSES, META_DISCOURSE, SYMBOLIC_MATH, class_of
from reasoning_anatomy.run.folder import Run
from reasoning_anatomy.types import ReasoningChain
from reports._data import BLOCK_PREFIX, CATEGORY_PREFIX, CONFIDENCE_PREFIX, ROLE_PREFIX, SCORE_PREFIX, STEP_PREFIX, names
from reports._style import LOOKS, OTHER, category_index, cividis
from reports._sweeps import ChainSweep, chain_sweeps
from reports._tables import TableView, table_view
from reports._writing import Writing, Writings, writing_numbers

SIZE_LIMIT: Final = 4_000_000
"""Bytes that the chains of one page may take, so that the page stays below 5 MB."""

CLASS_NAMES: Final = tuple(name.replace("_", " ") for name in CLASSES)
"""Of the classes, as a reader sees them."""

_CLASS_LOOKS: Final = [category_index(category) for category in (SYMBOLIC_MATH, META_DISCOURSE)]
"""Places in `LOOKS` of those that the classes look like."""

_CONTROL: Final = {code: chr(0x2400 + code) for code in range(32) if chr(code) not in "\n\t"} | {127: "\u2421"}
_LINE_BREAK: Final = Markup("<i></i>\n")
_UNLABELLED: Final = "-"


@dataclass(frozen=True)
class ChainView:
    """One chain of the page.

    Attributes
    ----------
    chain
        Its text.
    tokens
        The reasoning, one ``<span>`` per token, coloured by the first annotator.
    numbers
        JSON for the script.
    facts
        Name and value of what is known about the chain.
    answers
        What the model answers at every threshold of a sweep, if there was one.
    is_written
        Whether the numbers say how it, or another text of it, was written under an eviction policy.
    """

    chain: ReasoningChain
    tokens: Markup
    numbers: Markup
    facts: Sequence[tuple[str, str]]
    answers: TableView | None = None
    is_written: bool = False

    @property
    def size(self) -> int:
        """Bytes, nearly: tokens, numbers and texts."""
        cells = [] if self.answers is None else [cell.text for row in self.answers.rows for cell in row]
        facts = [value for _, value in self.facts]
        texts = (self.chain.question, self.chain.answer, self.chain.system_prompt or "", *facts, *cells)
        return len((self.tokens + self.numbers).encode()) + 2 * sum(len(escape(text).encode()) for text in texts) + 1500


def chain_views(
    run: Run,
    tokens: pd.DataFrame,
    paths: pd.DataFrame,
    writings: Writings,
    chain_ids: Sequence[str],
    *,
    room: float | None = None,
) -> list[ChainView]:
    """Make the views of these chains, leaving out those that no longer fit into ``room`` bytes; None = `SIZE_LIMIT`."""
    views: list[ChainView] = []
    if not chain_ids:  # a run that is not finished has no tables to look them up in
        return views
    room = SIZE_LIMIT if room is None else room
    wanted = set(chain_ids)
    of_chain = dict(iter(tokens[tokens["chain_id"].isin(wanted)].groupby("chain_id", sort=False)))
    curves = _curves(paths, wanted)
    sweeps = chain_sweeps(run, chain_ids, visible)
    for chain_id in chain_ids:
        rows = of_chain[chain_id].sort_values("position")
        view = _view(run.chains[chain_id], rows, curves.get(chain_id, {}), sweeps.get(chain_id), writings.get(chain_id, ()))
        if view.size <= room:
            views.append(view)
            room -= view.size
    return views


def words() -> Markup:
    """JSON of what the script must know of categories, classes and colours; those of categories are for paper."""
    return page_json(
        {
            "categories": [look.name for look in LOOKS],
            "classes": CLASS_NAMES,
            "class_of": [CLASSES.index(class_of(look.key)) for look in LOOKS],
            "class_looks": _CLASS_LOOKS,
            "fills": [look.fill for look in (*LOOKS, OTHER)],
            "bins": cividis(),
        }
    )


def page_json(value: Any) -> Markup:
    """JSON that no text in it can break out of a ``<script>`` element with."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup(text)


def token_markup(
    reasoning: str, spans: Iterable[tuple[int, int]], categories: Sequence[object]
) -> tuple[Markup, dict[int, str]]:
    """Reasoning as markup, every character once.

    Parameters
    ----------
    reasoning
        The text.
    spans
        Half-open character span of every token.
    categories
        Of every token; None if it has none.

    Returns
    -------
    The markup, and the text of those tokens that do not show all of it: the later tokens of a split character.
    """
    parts: list[str] = []
    hidden: dict[int, str] = {}
    cursor = 0
    for position, ((start, end), category) in enumerate(zip(spans, categories, strict=True)):
        parts.append(_text(reasoning[cursor:start]))
        shown = reasoning[max(cursor, start) : end]
        cursor = max(cursor, end)
        if shown != reasoning[start:end]:
            hidden[position] = reasoning[start:end]
        index = category_index(category)
        name = "n" if index is None else index
        parts.append(f'<span class="c{name}{"" if shown else " z"}">{_text(shown)}</span>')
    parts.append(_text(reasoning[cursor:]))
    return Markup("".join(parts)), hidden


def _text(text: str) -> str:
    """Escape text; line breaks get a visible sign."""
    return str(escape(visible(text)).replace("\n", _LINE_BREAK))


def visible(text: str) -> str:
    """Replace control characters by pictures of them."""
    return text.translate(_CONTROL)


def _view(
    chain: ReasoningChain,
    tokens: pd.DataFrame,
    curves: Mapping[str, Sequence[float]],
    sweep: ChainSweep | None,
    writings: Sequence[Writing],
) -> ChainView:
    annotators = names(tokens, CATEGORY_PREFIX)
    first = tokens[CATEGORY_PREFIX + annotators[0]].tolist() if annotators else [None] * len(tokens)
    spans = list(zip(tokens["start"].tolist(), tokens["end"].tolist(), strict=True))
    markup, hidden = token_markup(chain.reasoning, spans, first)
    numbers: dict[str, Any] = {
        "ids": tokens["token_id"].tolist(),
        "hidden": hidden,
        "categories": {name: _letters(tokens[CATEGORY_PREFIX + name]) for name in annotators},
        "others": {name: _others(tokens[CATEGORY_PREFIX + name]) for name in annotators},
        "confidence": {name: _confidence(tokens, name) for name in annotators},
        "scores": {name: _rounded(tokens[SCORE_PREFIX + name], 4) for name in names(tokens, SCORE_PREFIX)},
        "steps": {name: tokens[STEP_PREFIX + name].fillna(0).astype(int).tolist() for name in names(tokens, STEP_PREFIX)},
        "roles": {name: _true(tokens[ROLE_PREFIX + name]) for name in names(tokens, ROLE_PREFIX)},
        "blocks": {name: _starts(tokens[BLOCK_PREFIX + name]) for name in names(tokens, BLOCK_PREFIX)},
        "nll": {strategy: _rounded(curve, 4) for strategy, curve in curves.items()},
    }
    if sweep is not None:
        numbers["sweep"] = sweep.numbers
    if writings:
        numbers["written"] = [writing_numbers(writing, visible) for writing in writings]
    answers = None if sweep is None else table_view(sweep.table)
    return ChainView(chain, markup, page_json(numbers), _facts(chain, len(tokens)), answers, bool(writings))


def _facts(chain: ReasoningChain, n_tokens: int) -> list[tuple[str, str]]:
    facts = [("question_id", chain.question_id), ("reasoning tokens", f"{n_tokens:,}")]
    if chain.gold_answer is not None:
        facts.append(("correct answer", chain.gold_answer))
    if chain.is_correct is not None:
        facts.append(("answer is correct", "yes" if chain.is_correct else "no"))
    return facts + [
        (str(name), value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))
        for name, value in chain.source.items()
    ]


def _curves(paths: pd.DataFrame, wanted: set[str]) -> dict[str, dict[str, list[float]]]:
    """nll_answer after each deletion, by chain and strategy; NaN = not evaluated."""
    curves: dict[str, dict[str, list[float]]] = {}
    if "strategy" not in paths:
        return curves
    rows = paths[paths["chain_id"].isin(wanted)].sort_values("deletion_step", kind="stable")
    for (chain_id, strategy), curve in rows.groupby(["chain_id", "strategy"], sort=False):
        curves.setdefault(str(chain_id), {})[str(strategy)] = curve["nll_answer"].tolist()
    return curves


def _letters(categories: "pd.Series[str]") -> str:
    """One character per token: the place of its category in `LOOKS` (the next = other), or ``-`` for none."""
    indices = (category_index(key) for key in categories)
    return "".join(_UNLABELLED if index is None else str(index) for index in indices)


def _others(categories: "pd.Series[str]") -> dict[int, str]:
    return {position: key for position, key in enumerate(categories) if category_index(key) == len(LOOKS)}


def _confidence(tokens: pd.DataFrame, annotator: str) -> list[float | None] | None:
    column = CONFIDENCE_PREFIX + annotator
    return _rounded(tokens[column], 2) if column in tokens and tokens[column].notna().any() else None


def _true(column: "pd.Series[bool]") -> list[int]:
    """Positions of the tokens that are known to have a role."""
    return [position for position, value in enumerate(column.fillna(False)) if value]


def _starts(column: "pd.Series[int]") -> list[int]:
    """Position of the first token of every step."""
    steps = column.fillna(-1).tolist()
    return [position for position, step in enumerate(steps) if position == 0 or step != steps[position - 1]]


def _rounded(values: Iterable[Any], digits: int) -> list[float | None]:
    """Significant digits, so that the page stays small; what is not finite becomes null."""
    return [float(f"{value:.{digits}g}") if np.isfinite(value) else None for value in (float(v) for v in values)]
