"""The worker of `formula_process`: reads pairs of formulas from standard input, a JSON object a line, and judges each.

It is run as a file and imports nothing of this library, so that it starts wherever the library was found. It ends with its
standard input; if a computation cannot be interrupted, an alarm of the system ends it.
"""

import json
import os
import queue
import re
import signal
import sys
import threading
from collections.abc import Iterator, Mapping
from typing import Any, Final

_MEMORY: Final = 4 * 2**30
_GRACE: Final = 2
_DIGITS: Final = 30
_CLOSE: Final = 1e-15
_POINTS: Final = ((3, 7), (11, 13), (29, 17))
_SHAPES: Final = {
    "Equality": ("=", 1), "GreaterThan": ("or equal", 1), "LessThan": ("or equal", -1),
    "StrictGreaterThan": ("strict", 1), "StrictLessThan": ("strict", -1),
}  # fmt: skip
"""Of a relation: its kind, and the sign that makes it a greater-than."""
_NAMES_OF_CONSTANTS: Final = frozenset("eidDCπ")


def main() -> None:
    """Judge until standard input ends."""
    lines = _lines()
    next(lines)
    try:
        import math_verify  # type: ignore[import-untyped]  # noqa: F401
    except ImportError:
        _say({"missing": True})
        return
    _limit_memory()
    _say({"missing": False})
    for line in lines:
        request = json.loads(line)
        _set_alarm(int(request["seconds"]) + _GRACE)
        _say(_judged(request["gold"], request["answer"]))
        _set_alarm(0)


def _judged(gold: str, answer: str) -> dict[str, Any]:
    try:
        return _verdict(gold, answer)
    except MemoryError:
        return {"rule": "math-verify ran out of memory"}
    except Exception as error:  # whatever a foreign parser raises on foreign text
        return {"rule": f"math-verify failed: {type(error).__name__}"}


def _verdict(gold: str, answer: str) -> dict[str, Any]:
    """Ask Math-Verify both ways round, and check what it says by putting in numbers."""
    from math_verify import verify
    from sympy.core.relational import Relational  # type: ignore[import-untyped]

    letters = _letters(gold) | _letters(answer)
    if any(letter.swapcase() in letters for letter in letters):
        return {"rule": "math-verify takes capital letters for small ones"}
    left, right = _parsed(gold), _parsed(answer)
    if left is None or right is None:
        return {"rule": f"math-verify cannot read the {'gold answer' if left is None else 'answer'}"}
    forward, backward = (
        verify(one, other, timeout_seconds=None, raise_on_error=True) for one, other in ((left, right), (right, left))
    )
    same = _same_at_points(left, right)
    values = {"gold_value": _decimal(left), "answer_value": _decimal(right)}
    if same and isinstance(left, Relational):
        return {"verdict": "correct", "rule": "multiple of the equation"}
    if forward and same is not False and (backward or same):
        return {"verdict": "correct", "rule": "math-verify", **values}
    if not forward and not backward and not same:
        return {"verdict": "wrong", "rule": "math-verify", **values}
    return {"rule": "math-verify contradicts itself" if same is None else "math-verify contradicts its numbers", **values}


def _parsed(text: str) -> Any:
    """Parse LaTeX; None if it cannot be parsed, or if what was parsed lacks a variable of the text."""
    from math_verify import LatexExtractionConfig, parse

    found = parse(
        f"${text}$",
        [LatexExtractionConfig(boxed_match_priority=-1)],
        fallback_mode="no_fallback",
        extraction_mode="first_match",
        parsing_timeout=None,
        raise_on_error=True,
    )
    if not found:
        return None
    written = str(found[0]).casefold()
    return found[0] if all(name.casefold() in written for name in _letters(text) - _NAMES_OF_CONSTANTS) else None


def _letters(text: str) -> set[str]:
    """Letters that stand alone in a formula: its variables, and constants such as e."""
    plain = re.sub(r"\\[A-Za-z]+|_\{?\w+\}?|d(?=[a-z]\b)", " ", text)
    return set(re.findall(r"(?<![A-Za-z])[A-Za-z](?![A-Za-z])", plain))


def _same_at_points(gold: Any, answer: Any) -> bool | None:
    """Whether two expressions, or the two sides of two relations, agree at three points; None if that cannot be computed."""
    from sympy import Expr, Rational  # type: ignore[import-untyped]
    from sympy.core.relational import Relational

    if isinstance(gold, Relational) and isinstance(answer, Relational):
        return _same_relation(gold, answer)
    if not (isinstance(gold, Expr) and isinstance(answer, Expr)):
        return None
    symbols = sorted(gold.free_symbols | answer.free_symbols, key=str)
    outcomes = []
    for top, bottom in _POINTS:
        point = {symbol: Rational(top + 2 * index, bottom + index) for index, symbol in enumerate(symbols)}
        one, other = _number(gold, point), _number(answer, point)
        if one is not None and other is not None:
            outcomes.append(abs(one - other) <= _CLOSE * max(abs(one), abs(other)))
        if not symbols:
            break
    return all(outcomes) if outcomes else None


def _same_relation(gold: Any, answer: Any) -> bool | None:
    """Return True if one relation is a constant multiple of the other in its direction; None if that does not show."""
    from sympy import Rational

    shapes = [_SHAPES.get(type(relation).__name__) for relation in (gold, answer)]
    if shapes[0] is None or shapes[1] is None or shapes[0][0] != shapes[1][0]:
        return None
    differences = [
        (relation.lhs - relation.rhs) * shape[1] for relation, shape in zip((gold, answer), shapes, strict=True) if shape
    ]
    symbols = sorted(gold.free_symbols | answer.free_symbols, key=str)
    ratios = []
    for top, bottom in _POINTS:
        point = {symbol: Rational(top + 2 * index, bottom + index) for index, symbol in enumerate(symbols)}
        one, other = (_number(difference, point) for difference in differences)
        if one is None or other is None or not one or not other:
            return None
        ratios.append(one / other)
    same = all(abs(ratio - ratios[0]) <= _CLOSE * abs(ratios[0]) for ratio in ratios)
    return True if same and (shapes[0][0] == "=" or ratios[0].is_positive) else None


def _number(expression: Any, point: Mapping[Any, Any]) -> Any:
    from sympy import nan, zoo

    value = expression.subs(point).doit().evalf(_DIGITS)
    return value if value.is_number and value.is_finite and not value.has(nan, zoo) and not value.free_symbols else None


def _decimal(expression: Any) -> str | None:
    """Value of a real constant in decimals; None for everything else."""
    from sympy import Expr

    if not isinstance(expression, Expr) or expression.free_symbols:
        return None
    value = _number(expression, {})
    return str(value) if value is not None and value.is_real else None


def _lines() -> Iterator[str]:
    """Yield the lines of standard input. When it ends, the process ends at once, whatever it is doing."""
    waiting: queue.SimpleQueue[str] = queue.SimpleQueue()

    def read() -> None:
        for line in sys.stdin:
            waiting.put(line)
        os._exit(0)

    threading.Thread(target=read, daemon=True).start()
    while True:
        yield waiting.get()


def _say(reply: Mapping[str, Any]) -> None:
    sys.stdout.write(json.dumps(reply) + "\n")
    sys.stdout.flush()


def _set_alarm(seconds: int) -> None:
    """Have the system end this process, which it can do even while Python computes with long integers."""
    if hasattr(signal, "alarm"):
        signal.alarm(seconds)


def _limit_memory() -> None:
    try:
        import resource
    except ImportError:  # Windows
        return
    _, most = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY if most == resource.RLIM_INFINITY else min(_MEMORY, most), most))


if __name__ == "__main__":
    main()
