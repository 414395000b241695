"""Roles of tokens: each on the characters that the definition names, whatever the tokens are."""

import re
from fractions import Fraction
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from annotations import annotate_run
from annotations.token_roles import ROLES, TokenRoles
from reasoning_anatomy.answers.restating import answer_values
from reasoning_anatomy.chains import read_chains
from reasoning_anatomy.errors import AnnotationError
from reasoning_anatomy.run.folder import open_run
from reasoning_anatomy.types import ReasoningChain

WORDS = re.compile(r"\w+|[^\w\s]")


def chain(reasoning: str, answer: str = "7", gold_answer: str | None = None) -> ReasoningChain:
    return ReasoningChain(
        chain_id="c", question_id="q", question="Q", reasoning=reasoning, answer=answer, gold_answer=gold_answer
    )


def marked(role: str, reasoning: str, answer: str = "7", gold_answer: str | None = None, *, repeated_words: int = 8) -> str:
    """Visible characters that have a role, one token a character; others as a dot."""
    spans = [(index, index + 1) for index in range(len(reasoning))]
    table = TokenRoles(repeated_words=repeated_words).roles(chain(reasoning, answer, gold_answer), spans)
    return "".join(
        character if character.isspace() or has else "."
        for character, has in zip(reasoning, table[f"role_{role}"], strict=True)
    )


def example_chains() -> list[ReasoningChain]:
    return read_chains(Path(str(files("reasoning_anatomy") / "data" / "example_chains.jsonl")))


@pytest.mark.parametrize(
    ("role", "reasoning", "expected"),
    [
        ("numeric", "She pays $1,200.50 for 3 pens, 12", "... .... .1,200.50 ... 3 ..... 12"),
        ("numeric", r"x_1 = 1{,}200 + .5 - ½ and two", r"..1 . 1{,}200 . .5 . ½ ... ..."),
        ("numeric", "In 2024, 3.", ".. 2024. 3."),
        ("operator", "So 48 / 2 = 24, 3*4 - 1 < 12", ".. .. / . = ... .*. - . < .."),
        ("operator", r"\frac{1}{2} \times x \cdot \leftarrow \leq 4", r"\frac...... \times . \cdot .......... \leq ."),
        ("operator", "well-known **bold** km/h <think> <<6/2=3>>", ".......... ........ .... ....... .../.=..."),
        ("operator", "x^2 - y = -5, 2**3", ".^. - . = -.. .**."),
        ("operator", "- 5 pens\n* 6 pens\n> quoted\n---\n====", ". . ....\n. . ....\n. ......\n...\n...."),
        ("step_initial", "So it is. Then **5**!\nWait, x\n\n(a) y", "So .. ... Then ......\nWait. .\n\n(.. ."),
        ("reflection_cue", "They wait 5 minutes. Wait, no. Hmm!", ".... .... . ........ Wait. ... Hmm."),
        ("reflection_cue", "Let me check this. Let's double-check.", "Let me check ..... Let's double-check."),
        ("reflection_cue", "Let me do it again. Let me do it.", "Let me do .. ...... ... .. .. ..."),
        ("reflection_cue", "Actually, no. She actually paid, but actually", "Actually. ... ... ........ ..... ... actually"),
        ("reflection_cue", "Alternatively, x. That's wrong. He has a check", "Alternatively. .. That's wrong. .. ... . ....."),
    ],
)  # fmt: skip
def test_a_role_is_that_of_its_characters(role: str, reasoning: str, expected: str) -> None:
    assert marked(role, reasoning) == expected


@pytest.mark.parametrize(
    ("answer", "reasoning", "expected"),
    [
        (r"\boxed{1200}", "1,200 or 1200.0 or 1{,}200 or 120", "1,200 .. 1200.0 .. 1{,}200 .. ..."),
        (r"The answer is \boxed{\frac{1}{2}}", r"0.5, 1/2, \frac12, .50, 2/4", r"0.5. 1/2. \frac12. .50. ..."),
        ("12", "180/12 = 15 and 12 = twelve dozens", "....12 . .. ... 12 . twelve ......"),
        ("It is 3 + 4 = 7.", "3 and 7 and 7x and 70", ". ... 7 ... .. ... .."),
        ("-5", "x = -5 but 12-5 and 5", ". . -5 ... .... ... ."),
        ("#### 42", "forty-two, 42 km", "forty-two. 42 .."),
        ("The answer is: (3, 4)", "3 then 4 then 5", "3 .... 4 .... ."),
        ("The answer is B.", "A is B, so (B) and option B", ". .. .. .. .B. ... ...... B"),
        ("The answer is yes", "Yes, yes and yesterday", "Yes. yes ... ........."),
        ("1", "1. Take 1 pen\n1) one", ".. .... 1 ...\n.. ..."),
        ("5%", "So 5% of 5", ".. 5. .. 5"),
        (r"\boxed{x^2+1}", "x^2 = 1, so 2x^2 + 1 or x^{2} + 1", "... . .. .. .... . . .. x^{2} + 1"),
        (r"\boxed{3\sqrt{2}}", r"3 \sqrt{2} = \sqrt{18}, 2", r"3 \sqrt{2} . .......... ."),
        (r"\boxed{\dfrac{x}{2}}", r"2 or \frac{x}{2}", r". .. \frac{x}{2}"),
        (r"\boxed{x = 5}", "x + 5 = 10, x = 5", ". . 5 . ... . . 5"),
        (r"\boxed{x = 1,200, y = 3}", "1 and 1200 and 3", ". ... 1200 ... 3"),
        (r"\boxed{90^\circ}", "90 degrees", "90 ......."),
        (r"\boxed{12 \text{ m}}", "12 m", "12 ."),
        (r"\boxed{\text{(B) } 12}", "12 and (B)", "12 ... ..."),
        ("The ratio is wanted. The answer is 3:4.", "3 : 4 and 4", "3 : 4 ... ."),
        (
            r"\boxed{(-\infty, 2) \cup (3, \infty)}",
            r"2, \left(-\infty, 2\right) \cup (3, \infty)",
            r".. .....(-\infty, 2\right) \cup (3, \infty)",
        ),
    ],
)
def test_the_answer_is_restated_in_any_form(answer: str, reasoning: str, expected: str) -> None:
    assert marked("restates_answer", reasoning, answer) == expected


def test_the_gold_answer_stands_in_for_an_answer_that_says_nothing() -> None:
    assert marked("restates_answer", "5 or 6", "?!", "6") == ". .. 6"
    table = TokenRoles().roles(chain("5 or 6", "?!"), [(0, 1), (2, 4)])
    assert table["role_restates_answer"].isna().all()
    assert table.drop(columns="role_restates_answer").notna().all(axis=None)


def test_numbers_too_long_to_compute_are_compared_as_text() -> None:
    digits = "9" * 5000  # beyond what Python turns into an integer
    assert marked("restates_answer", f"{digits} and 5", digits) == f"{digits} ... ."


@pytest.mark.parametrize(
    ("n", "reasoning", "expected"),
    [
        (3, "a b c d. A  b C e", ". . . .. A  b C ."),
        (3, "a b c d a b", ". . . . . ."),
        (2, "x x x x", ". . x x"),  # the first pair has ended before the second begins; pairs that overlap do not count
        (2, "= 5 so = 5", ". . .. = 5"),
        (1, "a b a", ". . a"),
    ],
)
def test_what_stood_earlier_is_repeated(n: int, reasoning: str, expected: str) -> None:
    assert marked("repeats_earlier", reasoning, repeated_words=n) == expected


def test_repetition_agrees_with_a_plain_search() -> None:
    for example in example_chains()[-10:]:
        words = [(match.span(), match.group().casefold()) for match in WORDS.finditer(example.reasoning)]
        texts = [word for _, word in words]
        expected = np.zeros(len(words), dtype=bool)
        for later in range(len(words) - 7):
            if any(texts[early : early + 8] == texts[later : later + 8] for early in range(later - 7)):
                expected[later : later + 8] = True
        found = TokenRoles().roles(example, [span for span, _ in words])["role_repeats_earlier"]
        assert found.tolist() == expected.tolist()


def test_real_chains_have_the_share_of_repetition_that_the_document_gives() -> None:
    tables = [
        TokenRoles().roles(example, [m.span() for m in WORDS.finditer(example.reasoning)]) for example in example_chains()
    ]
    n_repeated = sum(int(table["role_repeats_earlier"].sum()) for table in tables)
    assert n_repeated / sum(map(len, tables)) == pytest.approx(0.030, abs=0.001)
    assert sum(bool(table["role_repeats_earlier"].any()) for table in tables) == 5


@pytest.mark.parametrize("example", example_chains()[::6], ids=lambda example: example.chain_id)
def test_roles_do_not_depend_on_the_tokens(example: ReasoningChain) -> None:
    text = example.reasoning
    words = [match.span() for match in WORDS.finditer(text)]
    with_space = [match.span() for match in re.finditer(r"\s*(?:\w+|[^\w\s])", text)]
    characters = [(index, index + 1) for index in range(len(text))]
    by_word, by_space, by_character = (TokenRoles().roles(example, spans) for spans in (words, with_space, characters))
    assert by_word.equals(by_space)
    for role in by_word.columns:
        expected = [bool(by_character[role].iloc[start:end].any()) for start, end in words]
        assert by_word[role].tolist() == expected


@given(reasoning=st.text(max_size=200), answer=st.text(max_size=30))
def test_any_text_has_every_role_decided(reasoning: str, answer: str) -> None:
    reasoning = reasoning.encode("utf-8", "ignore").decode() + "x"
    answer = answer.encode("utf-8", "ignore").decode() + "5"
    spans = [(index, index + 1) for index in range(len(reasoning))] + [(0, 0), (0, len(reasoning))]
    table = TokenRoles().roles(chain(reasoning, answer), spans)
    assert list(table.columns) == [f"role_{role}" for role in ROLES]
    assert len(table) == len(spans)
    assert not table.iloc[-2].fillna(False).any()
    blank = [character.isspace() for character in reasoning]
    assert not table.iloc[:-2][blank].fillna(False).any(axis=None)


@pytest.mark.parametrize(
    "pattern", ["So 12,000 + 3/4 = 5 - let me do that again. ", "1", "-", "\\frac", "let me do ", "1,", "<a", " x", "(", "a "]
)
def test_a_hundred_thousand_characters_are_labelled(pattern: str) -> None:
    text = (pattern * 100_000)[:100_000]
    spans = [match.span() for match in WORDS.finditer(text)]
    assert len(TokenRoles().roles(chain(text), spans)) == len(spans)


def test_spans_must_fit_the_text() -> None:
    with pytest.raises(AnnotationError, match=r"span 0 = \(0, 9\) is outside the text"):
        TokenRoles().roles(chain("short"), [(0, 9)])


def test_a_repetition_has_a_word_at_least() -> None:
    with pytest.raises(ValueError, match="repeated_words is 0, expected 1 or more"):
        TokenRoles(repeated_words=0)


def test_annotating_a_run_writes_the_roles_beside_the_categories(tmp_path, make_planted_run) -> None:
    examples = example_chains()[:3]
    run = make_planted_run(tmp_path / "run", examples)
    assert not [column for column in run.tokens() if column.startswith("role_")]
    annotate_run(run, annotator="rules:model=blank", name="rules")
    tokens = open_run(run.folder).tokens()
    for example in examples:
        rows = tokens[tokens["chain_id"] == example.chain_id]
        expected = TokenRoles().roles(example, run.encoded(example.chain_id).spans)
        assert rows[expected.columns].reset_index(drop=True).equals(expected)
    assert {str(tokens[f"role_{role}"].dtype) for role in ROLES} == {"boolean"}


@pytest.mark.parametrize(
    "answer",
    [
        "The answer is 18. This is because 9 + 9 = 18, using step 2.",
        "The answer is:\n\n18\n\n(see step 2, 9 + 9)",
        "#### 18\n2 9",
    ],
)
def test_what_follows_the_sentence_of_the_answer_does_not_count(answer: str) -> None:
    assert answer_values(answer) == {18}
    assert answer_values("The answer is 1.5.") == {Fraction(3, 2)}
