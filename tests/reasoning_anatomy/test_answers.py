"""Reading and judging answers: what graders got wrong in public, properties, and the process that can be killed."""

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reasoning_anatomy.answers import Judge, judge_exactly, read_answer, take_off_answer
from reasoning_anatomy.answers.consistency import contradiction, correctness_notes
from reasoning_anatomy.answers.formula_process import FormulaProcess
from reasoning_anatomy.chains import read_chains
from reasoning_anatomy.types import ReasoningChain

DATA = Path(__file__).parents[1] / "data"
ROOT = Path(__file__).parents[2]
CASES = [json.loads(line) for line in (DATA / "answer_cases.jsonl").read_text(encoding="utf-8").splitlines()]
LONG = 100_000  # characters, or digits
SECONDS = 10.0  # far more than it takes; a quadratic search would take minutes


@pytest.fixture(scope="module")
def judge() -> Iterator[Judge]:
    with Judge(seconds=3.0) as opened:
        yield opened


def chain(answer: str, gold_answer: str | None, *, is_correct: bool | None) -> ReasoningChain:
    return ReasoningChain(
        chain_id="c",
        question_id="q",
        question="Q",
        reasoning="R",
        answer=answer,
        gold_answer=gold_answer,
        is_correct=is_correct,
    )


@pytest.mark.parametrize("case", CASES, ids=[f"{number}-{case['source']}" for number, case in enumerate(CASES)])
def test_what_public_graders_got_wrong_is_judged_right(case: dict[str, str | None], judge: Judge) -> None:
    judgement = judge.judge(str(case["response"]), str(case["gold"]))
    expected = {field: case[field] for field in judgement._fields if field in case}
    assert {field: getattr(judgement, field) for field in expected} == expected


def test_the_public_cases_are_many_and_have_sources() -> None:
    assert len(CASES) >= 150
    assert {case["verdict"] for case in CASES} == {"correct", "wrong", "undecided"}
    assert all("#" in case["source"] for case in CASES)


@pytest.mark.parametrize(
    ("response", "text", "rule"),
    [
        (r"\boxed{4}, so \fbox{\frac{1}{2}}", r"\frac{1}{2}", "box"),
        (r"\boxed{\boxed{5}}", "5", "box"),
        (r"\boxed{\text{The answer is } 5}", "5", "box"),
        (r"\boxed 7", "7", "box"),
        (r"$x=\boxed{2}$ or $x=\boxed{3}$", "2, 3", "boxes"),
        (r"(a) \boxed{2} (b) \boxed{3}", "3", "box"),
        (r"\boxed{6}, then \boxed{}", "6", "box"),
        (r"\boxed{6} and \boxed{12", None, "box not closed"),
        ("<answer> 12 </answer> as I said", "12", "answer tag"),
        (r"<answer>so \boxed{12}</answer>", "12", "box"),
        ("The final answer is $\\frac{3}{4}$. I hope it is correct.", r"$\frac{3}{4}$", "declared"),
        ("**Answer:** 12 apples", "12 apples", "declared"),
        ("**Final Answer**\n\n12", "12", "declared"),
        ("Answer:\n\\[\n\\frac{1}{2}\n\\]\nas wanted.", r"\frac{1}{2}", "declared"),
        ("Answer：12", "12", "declared"),  # noqa: RUF001
        ("The answer to the question is 1.5.", "1.5", "declared"),
        ("So the answer is 12 (since 3 * 4 = 12).", "12", "declared"),
        ("The answer is 5. The answer is consistent.", "5", "declared"),
        ("The answer is 5. Is the answer 6?", "5", "declared"),
        ("What is the answer: 3 or 4?", None, "no answer found"),
        ("If the answer is 4, then x = 2.", None, "no answer found"),
        ("The answer is not 4.", None, "no answer found"),
        ("#### 18", "18", "declared"),
        ("##### 18 is a heading of its own", None, "no answer found"),
        ("I compare them.\n\n(B)\n", "(B)", "letter alone"),
        ("A\nB\nC", None, "no answer found"),
        ("18 apples", "18 apples", "whole response"),
        ("So 12.", "12.", "whole response"),
        ("No solution", "No solution", "whole response"),
        ("I cannot help with that.", None, "no answer found"),
        ("There are 3 and then 4 of them.", None, "no answer found"),
        ("", None, "no answer found"),
        ("<think>\\boxed{3}</think>", None, "no answer found"),
        ("<think>\\boxed{3}", None, "thinking not closed"),
        ("<|channel|>analysis<|message|>5?<|end|><|start|>assistant<|channel|>final<|message|>6", "6", "whole response"),
        ("<|channel|>analysis<|message|>The answer is 5", None, "thinking not closed"),
        ("5? 6.</think><|begin_of_solution|>7<|end_of_solution|><|im_end|>", "7", "whole response"),
    ],
)
def test_an_answer_is_read_by_the_first_rule_that_finds_one(response: str, text: str | None, rule: str) -> None:
    assert read_answer(response) == (text, rule)


def test_thinking_that_the_prompt_opened_must_be_closed() -> None:
    assert read_answer(r"\boxed{5}", thinking_opened=True).rule == "thinking not closed"
    assert read_answer(r"\boxed{4}</think>\boxed{5}", thinking_opened=True).text == "5"
    assert judge_exactly(r"\boxed{5}", "5", thinking_opened=True) == ("wrong", "thinking not closed", None)


def test_the_last_number_is_a_guess_that_must_be_asked_for() -> None:
    response = "There are 3 rows of 1,200, so 3,600 in all."
    assert read_answer(response).text is None
    assert read_answer(response, fallback="last_number") == ("3,600", "last number")
    assert read_answer("The answer is 5, not 6.", fallback="last_number").rule == "declared"


@pytest.mark.parametrize(
    ("text", "reasoning", "answer"),
    [
        ("3 * 4 = 12. So the answer is 12.", "3 * 4 = 12.", "So the answer is 12."),
        ("3 * 4 = 12.\nHence \\boxed{12}. Done.", "3 * 4 = 12.", "Hence \\boxed{12}. Done."),
        ("a\n\nThe final answer is:\n\\[\n\\boxed{12}\n\\]", "a", "The final answer is:\n\\[\n\\boxed{12}\n\\]"),
        ("a\n#### 12", "a", "#### 12"),
        ("a\nb\n(C)", "a\nb", "(C)"),
        ("a\nso it is twelve", "a", "so it is twelve"),
        ("The answer is 12.", "", "The answer is 12."),
        ("", "", ""),
    ],
)
def test_the_answer_is_taken_off_where_it_is_stated(text: str, reasoning: str, answer: str) -> None:
    assert take_off_answer(text) == (reasoning, answer)


@pytest.mark.parametrize(
    ("answer", "gold", "verdict", "rule"),
    [
        # Numbers: exact, whatever they look like.
        ("1,200", "1200.0", "correct", "number"),
        ("1 200", "1200", "correct", "number"),
        (r"1\,200", "1200", "correct", "number"),
        ("1{,}200", "1200", "correct", "number"),
        ("2½", "5/2", "correct", "number"),
        ("2 1/2", r"\frac52", "correct", "number"),
        (".50", r"\tfrac12", "correct", "number"),
        ("1.2e3", "1200", "correct", "number"),
        ("2^{10}", "1024", "correct", "number"),
        (r"0.\overline{3}", "1/3", "correct", "number"),
        ("−5", "-5", "correct", "identical"),  # noqa: RUF001
        ("twelve", "12", "correct", "number"),
        ("073", "73", "correct", "number"),
        ("-0", "0", "correct", "number"),
        ("1/0", "0", "undecided", "formulas differ in writing"),
        ("0.1 + 0.2", "0.3", "undecided", "formulas differ in writing"),
        # Rounding: only what has no last decimal, and three digits at least.
        ("0.667", "2/3", "correct", "rounded"),
        ("0.67", "2/3", "undecided", "equal only when rounded"),
        ("0.7", "2/3", "wrong", "number"),
        ("0.666", "2/3", "undecided", "equal only when rounded"),
        ("0.666...", "2/3", "correct", "rounded"),
        ("1.06", "17/16", "undecided", "equal only when rounded"),
        ("3", "10/3", "wrong", "number"),
        ("12.54", "12.5", "undecided", "equal only when rounded"),
        ("12.6", "12.5", "wrong", "number"),
        # Units.
        ("5 cm", "5", "correct", "number, one without unit"),
        ("5 apples", "5 apples left", "correct", "number"),
        ("5 m", "5 cm", "undecided", "units differ"),
        ("$5 million", "5,000,000", "correct", "number, one without unit"),
        ("5 million", "5", "wrong", "number"),
        ("2 dozen eggs", "24", "correct", "number, one without unit"),
        ("less than 5", "5", "undecided", "words that change a number"),
        ("two hundred", "200", "undecided", "words that change a number"),
        ("3 pm", "3 am", "wrong", "time"),
        ("6 m", "5", "wrong", "number"),
        ("5x", "5", "undecided", "formulas differ in writing"),
        ("33.3%", "1/3", "correct", "rounded"),
        ("50", "0.5", "wrong", "number"),
        (r"\frac{\pi}{2}", r"90^\circ", "undecided", "degrees and radians"),
        # Choices.
        ("B", "(B)", "correct", "letter"),
        ("(b) 12", "B", "correct", "letter"),
        ("12", "(B) 12", "correct", "identical"),
        ("12", "B", "undecided", "a letter on one side only"),
        ("A, C", "AC", "correct", "letters"),
        ("A and B", "AC", "wrong", "letters"),
        # Parts.
        ("]0, 1[", "(0, 1)", "correct", "parts and brackets"),
        ("[0, 1]", "[0, 1)", "wrong", "parts and brackets"),
        ("(3, 2)", "(2, 3)", "wrong", "parts: number"),
        (r"\{3, 2\}", "2, 3", "correct", "parts in any order"),
        ("x = 3 or x = 2", "2, 3", "correct", "parts in any order"),
        ("x=2, y=3", "(2, 3)", "correct", "parts and brackets"),
        ("y=3, x=2", "x=2, y=3", "correct", "parts and brackets"),
        ("x=3, y=2", "x=2, y=3", "wrong", "parts: number"),
        ("x = 2 or x = 3", "3", "wrong", "number of parts"),
        (r"\{5\}", "5", "correct", "identical"),
        (r"\pm 3", "3, -3", "correct", "parts in any order"),
        ("x < 1 or x > 3", r"(-\infty, 1) \cup (3, \infty)", "correct", "parts in any order"),
        (r"\mathbb{R}", r"(-\infty, \infty)", "correct", "parts and brackets"),
        (r"\{1, 2\}", "(1, 2)", "undecided", "other brackets"),
        ("6:8", "3:4", "correct", "ratio"),
        ("3/4", "3:4", "correct", "ratio"),
        ("(1,000, 2)", "(1000, 2)", "correct", "parts and brackets"),
        ("1, 2, 2", "1, 2", "correct", "parts in any order"),
        # Names.
        ("x = 5", "5", "correct", "identical"),
        ("y = 5", "x = 5", "undecided", "names differ"),
        ("3 + 4 = 7", "7", "correct", "identical"),
        # Times, dates, words.
        ("3:45 PM", "15:45", "correct", "time"),
        ("03:45", "3:45", "correct", "time"),
        ("3:45", "3:45 pm", "undecided", "half of the day not said"),
        ("March 5, 2024", "5 March 2024", "correct", "date"),
        ("5/3/2024", "3/5/2024", "undecided", "date in digits"),
        ("**the Nile**.", "Nile", "correct", "words"),
        ("Paris", "London", "wrong", "words"),
        ("not Paris", "Paris", "undecided", "one is part of the other"),
        ("none", "0", "wrong", "a number and words"),
        ("she has 5 left", "5", "correct", "only number"),
        ("5 of 6 are left", "5", "undecided", "several numbers"),
        # Nothing to compare.
        ("5", "", "undecided", "no gold answer"),
        ("x + 1", "1 + x", "undecided", "formulas differ in writing"),
    ],
)
def test_rules_without_math_verify(answer: str, gold: str, verdict: str, rule: str) -> None:
    assert judge_exactly(rf"\boxed{{{answer}}}", gold)[:2] == (verdict, rule)


@pytest.mark.parametrize(
    "gold", ["117", r"\boxed{117}", "#### 117", "The answer is 117.", "so 100 + 17 = 117\n#### 117", "117.0", "$117$"]
)
def test_a_gold_answer_may_be_marked_like_an_answer(gold: str) -> None:
    assert judge_exactly("The answer is 117.", gold).verdict == "correct"
    assert judge_exactly("The answer is 17.", gold).verdict == "wrong"


WRAPPINGS = (
    "{}",
    "\\boxed{{{}}}",
    "The answer is {}.",
    "#### {}",
    "**Answer:** **{}**",
    "<think>0</think>\\[\\boxed{{ {} }}\\]",
    "${}$",
    "<answer>{}</answer>",
)


@given(
    value=st.fractions(min_value=-(10**6), max_value=10**6, max_denominator=997),
    wrappings=st.tuples(st.sampled_from(WRAPPINGS), st.sampled_from(WRAPPINGS)),
    forms=st.tuples(st.integers(0, 3), st.integers(0, 3)),
)
def test_every_way_of_writing_a_fraction_is_the_same_answer(
    value: Fraction, wrappings: tuple[str, str], forms: tuple[int, int]
) -> None:
    written = [
        wrapping.format(
            (
                f"{value.numerator}/{value.denominator}",
                rf"\frac{{{value.numerator}}}{{{value.denominator}}}",
                rf"-\dfrac{{{-value.numerator}}}{{{value.denominator}}}",
                f"{value.numerator:,}/{value.denominator}",
            )[form]
        )
        for wrapping, form in zip(wrappings, forms, strict=True)
    ]
    assert judge_exactly(*written).verdict == "correct"
    assert judge_exactly(written[0], f"{value.numerator + value.denominator}/{value.denominator}").verdict == "wrong"


@given(text=st.text(max_size=60))
def test_any_answer_is_correct_for_itself(text: str) -> None:
    judgement = judge_exactly(f"\\boxed{{{text}}}", f"\\boxed{{{text}}}")
    assert judgement.verdict == ("undecided" if judgement.extracted is None else "correct")


@settings(max_examples=150)
@given(
    parts=st.lists(
        st.one_of(
            st.text(max_size=8),
            st.sampled_from(
                [
                    r"\boxed{",
                    "}",
                    "{",
                    "answer is ",
                    "#### ",
                    "<think>",
                    "</think>",
                    r"\frac",
                    "(",
                    ")",
                    "[",
                    ",",
                    "=",
                    r"\cup",
                    r"\pm",
                    "1/0",
                    "\n",
                    "$",
                    r"\begin{pmatrix}",
                    r"\end{pmatrix}",
                    "&",
                    r"\\",
                    "^",
                    ":",
                    "5",
                    "(A)",
                    " and ",
                    r"\in ",
                    "<",
                    "½",
                    "10^",
                    "e9",
                    "0.",
                ]
            ),
        ),
        max_size=12,
    ),
    gold=st.text(max_size=12),
)
def test_no_text_is_too_much_for_the_rules(parts: list[str], gold: str) -> None:
    text = "".join(parts)
    assert judge_exactly(text, gold).verdict in ("correct", "wrong", "undecided")
    assert judge_exactly(r"\boxed{" + gold + "}", text).verdict in ("correct", "wrong", "undecided")
    reasoning, answer = take_off_answer(text)
    assert "".join((reasoning + answer).split()) == "".join(text.split())


@pytest.mark.parametrize(
    "pattern",
    [
        r"\boxed{",
        "}",
        "answer is ",
        "answer: the answer to ",
        r"\frac{",
        "(",
        "1,",
        "9",
        "<answer>",
        "</think>",
        " ",
        "\n",
        "because ",
        r"x \in ",
        "½",
        r"\boxed{1},",
        "(a)",
        "1 and ",
        r"\begin{pmatrix}",
        "...",
        "if the answer is ",
        "Question:\n",
        r"\pm ",
        "$",
        r"\text{",
    ],
)
def test_a_hundred_thousand_characters_are_judged_in_time(pattern: str) -> None:
    text = (pattern * LONG)[:LONG]
    started = time.monotonic()
    judge_exactly(text, "5")
    judge_exactly(rf"The answer is {text}", "5")
    judge_exactly(r"\boxed{5}", text)
    take_off_answer(text)
    assert time.monotonic() - started < SECONDS


def test_numbers_of_any_length_are_compared_digit_by_digit() -> None:
    digits = "7" * LONG
    assert judge_exactly(digits, f"00{digits}") == ("correct", "number", digits)
    assert judge_exactly(f"{digits}8", f"{digits}9")[:2] == ("wrong", "number")


@pytest.mark.slow
def test_formulas_are_judged_from_any_thread_by_one_process() -> None:
    verdicts: dict[int, str] = {}
    with Judge(seconds=20.0) as judge:
        threads = [
            threading.Thread(target=lambda n=n: verdicts.update({n: judge.judge(rf"\boxed{{x + {n}}}", f"{n} + x").verdict}))
            for n in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert verdicts == dict.fromkeys(range(4), "correct")


@pytest.mark.slow
def test_a_process_that_hangs_is_killed_and_replaced() -> None:
    with FormulaProcess(seconds=20.0) as process:
        assert process.ask("x+1", "1+x")["verdict"] == "correct"
        first = process.pid
        process.seconds = 0.5
        started = time.monotonic()
        assert process.ask("9^{9^{9^{9}}}", "9^{9^{9^{9}}}+1") == {"rule": "math-verify timed out"}
        assert time.monotonic() - started < SECONDS
        process.seconds = 20.0
        assert process.ask("x+2", "2+x")["verdict"] == "correct"
        assert process.pid != first
    assert process.pid is None


@pytest.mark.slow
def test_a_process_that_has_died_is_replaced() -> None:
    with FormulaProcess(seconds=20.0) as process:
        process.ask("x", "y")
        assert process.pid is not None
        os.kill(process.pid, 9)
        assert process.ask("x+1", "1+x")["verdict"] == "correct"


@pytest.mark.slow
@pytest.mark.parametrize("formula", ["x", "9^{9^{9^{9}}}"])
def test_no_process_is_left_when_its_parent_is_killed(formula: str) -> None:
    script = (
        "import json, time\nfrom reasoning_anatomy.answers.formula_process import FormulaProcess\n"
        "process = FormulaProcess(seconds=1.0)\nprocess.ask('x', 'y')\nprint(process.pid, flush=True)\n"
        f"request = json.dumps({{'gold': '{formula}', 'answer': 'y', 'seconds': 1}})\n"
        "process._process.stdin.write(request + chr(10))\n"
        "process._process.stdin.flush()\ntime.sleep(60)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, cwd=ROOT)
    assert parent.stdout is not None
    worker = int(parent.stdout.readline())
    parent.kill()
    parent.wait()
    parent.stdout.close()
    deadline = time.monotonic() + SECONDS
    while _is_running(worker) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not _is_running(worker)


def _is_running(pid: int) -> bool:
    try:
        status = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
    except (FileNotFoundError, ProcessLookupError):
        return False
    return status.rpartition(")")[2].split()[0] != "Z"


@pytest.mark.slow
def test_without_math_verify_formulas_are_undecided_and_the_rule_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "math_verify.py").write_text("raise ImportError('as if it were absent')\n", encoding="utf-8")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with Judge() as judge:
        assert judge.judge(r"\boxed{x + 1}", "1 + x")[:2] == ("undecided", "math-verify is not installed")
        assert judge.judge(r"\boxed{x + 2}", "2 + x")[:2] == ("undecided", "math-verify is not installed")
        assert judge.judge(r"\boxed{12}", "12.0").verdict == "correct"


@pytest.mark.parametrize(
    ("answer", "gold", "verdict", "rule"),
    [
        (r"a + A", "2a", "undecided", "math-verify takes capital letters for small ones"),
        (r"10^{-9}\pi", "10^{-8}", "wrong", "math-verify"),
        (r"\frac{1}{100!}", r"\frac{1}{101!}", "undecided", "math-verify contradicts its numbers"),
        ("3x > 6", "x > 2", "correct", "multiple of the equation"),
        ("-3x > 6", "x > -2", "wrong", "math-verify"),
        ("x + 1 = 0", "x + 2 = 0", "wrong", "math-verify"),
        (r"\sqrt{3}", "1.73", "correct", "rounded"),
        ("1.732", r"\sqrt{3}", "correct", "rounded"),
        ("1.8", r"\sqrt{3}", "wrong", "math-verify"),
        (r"2\sqrt{3}\text{ cm}", r"\sqrt{12}", "correct", "math-verify"),
        (r"1, \sqrt{2}", r"\sqrt{2}, 1", "correct", "parts in any order"),
        (r"[\sqrt{4}, \infty)", r"[2, \infty)", "correct", "parts and brackets"),
        (r"x_1 + x_2", "x_2 + x_1", "correct", "math-verify"),
        (r"\frac{", "x", "undecided", None),
    ],
)
def test_what_math_verify_says_is_checked(answer: str, gold: str, verdict: str, rule: str | None, judge: Judge) -> None:
    judgement = judge.judge(f"The answer is ${answer}$", gold)
    assert judgement.verdict == verdict
    assert rule is None or judgement.rule == rule


def test_formulas_too_long_for_math_verify_are_undecided(judge: Judge) -> None:
    assert judge.judge(r"\boxed{" + "x+" * 300 + "1}", "1" + "+x" * 300)[:2] == ("undecided", "too long for math-verify")


@pytest.mark.parametrize(
    ("answer", "gold", "is_correct", "contradicts"),
    [
        ("The answer is 12.", "12", False, True),
        ("The answer is 12.", "13", True, True),
        ("The answer is 12.", "12", True, False),
        ("The answer is 12.", "13", False, False),
        ("The answer is 12.", None, False, False),
        ("The answer is 12.", "13", None, False),
        (r"\boxed{x+1}", "1+x", False, False),
        ("It is done.", "12", True, False),
    ],
)
def test_a_mark_that_contradicts_the_answer_is_found(
    answer: str, gold: str | None, is_correct: bool | None, contradicts: bool
) -> None:
    assert (contradiction(chain(answer, gold, is_correct=is_correct)) is not None) == contradicts


def test_contradictions_are_counted_in_one_sentence() -> None:
    assert correctness_notes([chain("The answer is 12.", "12", is_correct=True)]) == []
    wrong = chain("The answer is 12.", "12", is_correct=False)
    assert correctness_notes([wrong, wrong]) == [
        "2 chains with an is_correct that contradicts the answer, such as 'c': is_correct is false, but the answer '12' "
        "is correct for '12', by the rule 'identical'; correct whichever is wrong"
    ]


def test_the_example_chains_are_marked_as_they_are_judged() -> None:
    assert correctness_notes(read_chains(ROOT / "reasoning_anatomy" / "data" / "example_chains.jsonl")) == []
