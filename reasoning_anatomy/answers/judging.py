"""Verdicts on answers: correct, wrong or undecided, with the rule that decided."""

from collections.abc import Mapping
from fractions import Fraction
from types import TracebackType
from typing import Any, Final, NamedTuple, Self

from reasoning_anatomy.answers.amounts import agrees_when_rounded
from reasoning_anatomy.answers.comparison import FormulaRule, compare
from reasoning_anatomy.answers.formula_process import FormulaProcess
from reasoning_anatomy.answers.marks import Statement
from reasoning_anatomy.answers.normal import compact, normalised
from reasoning_anatomy.answers.quantities import Quantity, choice_of, quantity
from reasoning_anatomy.answers.reading import THINKING_NOT_CLOSED, Reading, read_answer, statements
from reasoning_anatomy.answers.rulings import Ruling, Verdict
from reasoning_anatomy.thinking import behind_thinking

CUT_OFF: Final = "cut off within the answer"

_LONGEST_FORMULA: Final = 400
_MOST_REMEMBERED: Final = 10_000
_MOST_DIGITS: Final = 25


class Judgement(NamedTuple):
    """What became of a response.

    Attributes
    ----------
    verdict
        ``"correct"``, ``"wrong"`` or ``"undecided"``.
    rule
        The rule that decided, or that could not; ``docs/answers.md`` lists them.
    extracted
        The answer as it was read; None if none was found.
    """

    verdict: Verdict
    rule: str
    extracted: str | None


class Judge:
    r"""Compares answers with gold answers, formulas by Math-Verify in a process that is killed if it hangs.

    Nothing is started before the first formula, and any thread may ask. Use it as a context manager, or call `close`.

    Parameters
    ----------
    seconds
        How long Math-Verify may take for a pair of formulas.

    Examples
    --------
    >>> with Judge() as judge:
    ...     judge.judge(r"So it is \boxed{\frac{1}{2}}.", "0.5")
    Judgement(verdict='correct', rule='number', extracted='\\frac{1}{2}')
    """

    def __init__(self, *, seconds: float = 5.0) -> None:
        self._process = FormulaProcess(seconds=seconds)
        self._remembered: dict[tuple[str, str], Ruling] = {}

    def judge(self, response: str, gold: str, *, thinking_opened: bool = False, cut_off: bool = False) -> Judgement:
        """Judge a response by the answer that it states; see `read_answer` for what counts as one.

        Parameters
        ----------
        response
            What the model wrote.
        gold
            The correct answer, alone or in a sentence that states it.
        thinking_opened
            Whether the prompt ended with the opening tag of the thinking.
        cut_off
            Whether the response was cut off. An answer with which it breaks off may go on, so it is undecided.
        """
        judged = _judge(response, gold, thinking_opened=thinking_opened, formulas=self._formulas)
        if cut_off and judged.extracted and response.rstrip().endswith(judged.extracted.rstrip()):
            return Judgement("undecided", CUT_OFF, judged.extracted)
        return judged

    def close(self) -> None:
        """End the process of Math-Verify."""
        self._process.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _formulas(self, gold: str, answer: str) -> Ruling:
        if max(len(gold), len(answer)) > _LONGEST_FORMULA:
            return Ruling("undecided", "too long for math-verify")
        gold, answer = compact(gold), compact(answer)
        if (gold, answer) not in self._remembered:
            if len(self._remembered) >= _MOST_REMEMBERED:
                self._remembered.clear()
            self._remembered[gold, answer] = _ruling(self._process.ask(gold, answer), gold, answer)
        return self._remembered[gold, answer]


def judge_exactly(response: str, gold: str, *, thinking_opened: bool = False) -> Judgement:
    """Judge without Math-Verify and without another process: formulas that are not identical are undecided."""
    return _judge(response, gold, thinking_opened=thinking_opened, formulas=_no_formulas)


def _judge(response: str, gold: str, *, thinking_opened: bool, formulas: FormulaRule) -> Judgement:
    reading = read_answer(response, thinking_opened=thinking_opened)
    if reading.text is None:
        return Judgement("wrong" if reading.rule == THINKING_NOT_CLOSED else "undecided", reading.rule, None)
    right = gold_text(gold)
    if choice_of(normalised(right)):
        reading = _choice_in(response, reading, thinking_opened=thinking_opened)
    verdict, rule = compare(right, reading.text or "", formulas)
    return Judgement(verdict, rule, reading.text)


def gold_text(gold: str) -> str:
    r"""Return the gold answer without what marks it.

    >>> gold_text("3 * 6 = 18\n#### 18"), gold_text(r"\boxed{117}"), gold_text("3/4")
    ('18', '117', '3/4')
    """
    marked = [statement for statement in statements(gold) if statement.rule not in ("whole response", "letter alone")]
    return marked[0].text if marked else gold


def _choice_in(response: str, reading: Reading, *, thinking_opened: bool) -> Reading:
    """Prefer a statement that is a letter, if one is wanted: a box in the reasoning may hold a formula."""
    found: list[Statement] = statements(behind_thinking(response, opened=thinking_opened) or "")
    letters = [statement for statement in found if choice_of(normalised(statement.text))]
    return Reading(letters[0].text, letters[0].rule) if letters else reading


def _no_formulas(gold: str, answer: str) -> Ruling:
    return Ruling("undecided", "formulas differ in writing")


def _ruling(reply: Mapping[str, Any], gold: str, answer: str) -> Ruling:
    """Turn a reply into a ruling; a decimal may be rounded from the value of the other formula."""
    verdict, rule = reply.get("verdict", "undecided"), str(reply["rule"])
    if verdict == "correct":
        return Ruling("correct", rule)
    for text, value in ((gold, reply.get("answer_value")), (answer, reply.get("gold_value"))):
        decimal = quantity(text)
        if decimal and value and (rounded := _rounded(decimal, str(value))):
            return rounded
    return Ruling("wrong" if verdict == "wrong" else "undecided", rule)


def _rounded(decimal: Quantity, value: str) -> Ruling | None:
    """Compare a decimal with the value of a formula to thirty digits: one that needs them all has no last decimal."""
    has_last = len(value.rstrip("0").lstrip("-0.")) < _MOST_DIGITS
    return agrees_when_rounded(decimal, Fraction(value), has_last_decimal=has_last)
