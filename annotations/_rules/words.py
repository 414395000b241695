"""What a rule sees of a word, and the category of a word without a rule of its own: from names, lexicons, actors and tags."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from annotations._text import lexicon
from annotations._text.layout import Layout
from annotations._text.lexicon import word_list
from annotations._text.parse import ParseFeatures
from annotations._text.question import Question
from annotations._text.units import Kind
from reasoning_anatomy.categories import COREFERENCE, ENTITY_NAME, FUNCTION, META_DISCOURSE, SYMBOLIC_MATH, VERBAL_MATH

_CLOSED: Final = {
    "DT": FUNCTION, "PDT": FUNCTION, "IN": FUNCTION, "CC": FUNCTION, "MD": FUNCTION, "TO": FUNCTION, "EX": FUNCTION,
    "WDT": FUNCTION, "WP": FUNCTION, "WP$": FUNCTION, "WRB": FUNCTION, "POS": FUNCTION, "PRP": COREFERENCE,
    "PRP$": COREFERENCE, "UH": META_DISCOURSE, "CD": VERBAL_MATH, "JJR": VERBAL_MATH, "RBR": VERBAL_MATH,
    "JJS": VERBAL_MATH, "RBS": VERBAL_MATH,
}  # fmt: skip


@dataclass(frozen=True)
class Sentence:
    """A text with everything that decides a word: units, categories of the symbols, grammar and question."""

    layout: Layout
    symbols: Sequence[str | None]
    parsed: Sequence[ParseFeatures]
    question: Question

    def word(self, index: int) -> str:
        """Lower-case text of a unit; empty beyond the ends of the text."""
        return self.layout.word(index)

    def part(self, index: int) -> str:
        """Part of speech in the lexicon's terms."""
        tag = self.parsed[index].tag
        if tag.startswith("VB"):
            return lexicon.VERB
        return lexicon.NOUN if tag.startswith("NN") else lexicon.OTHER

    def starts(self, index: int) -> bool:
        """Whether the unit opens a sentence or a line."""
        if index == 0 or self.word(index - 1) in {".", "?", "!", ":", "…", "..."} or self.layout.is_mark[index - 1]:
            return True
        return "\n" in self.layout.text[self.layout.units[index - 1].end : self.layout.units[index].start]

    def is_number(self, index: int) -> bool:
        """Whether the unit is a numeral or a number word."""
        if not 0 <= index < len(self.layout.units):
            return False
        return self.layout.units[index].kind is Kind.NUMBER or self.word(index) in word_list("number_words")

    def subject_kind(self, index: int) -> str:
        """Who acts: ``solver``, ``argument`` (problem, equation, this, a formula), ``story``, or an empty string for nobody."""
        features = self.parsed[index]
        if features.is_command:
            return "solver"
        if not features.tag:
            nearby = {self.word(before) for before in range(max(index - 3, 0), index)}
            return "solver" if nearby & word_list("solver") else ""
        if features.subject < 0:
            return ""
        subject = self.word(features.subject)
        if subject in word_list("solver") or (subject == "'s" and self.word(features.subject - 1) == "let"):
            return "solver"
        if self.symbols[features.subject] is not None or subject in {
            "this",
            "that",
            "which",
            "it",
            "what",
            "everything",
            "nothing",
            "something",
            "these",
        }:
            return "argument"
        is_doing = self.parsed[features.subject].tag == "VBG" and self.starts(features.subject)
        return "argument" if is_doing or self._names_argument(features.subject) else "story"

    def _names_argument(self, index: int) -> bool:
        known = lexicon.category_of(self.word(index), lexicon.NOUN)
        return known in (META_DISCOURSE, VERBAL_MATH) and not (known == META_DISCOURSE and self.is_story_noun(index))

    def is_story_noun(self, index: int) -> bool:
        """Whether the question shows that a noun of argument (step, note, case) is a thing of the story."""
        word = self.word(index)
        if word in word_list("argument_nouns") or not self.question.mentions(word):
            return False
        return self.word(index - 1) not in {
            "following",
            "these",
            "next",
            "first",
            "this",
            "previous",
            "final",
            "last",
        } and not (index + 1 < len(self.layout.units) and self.layout.is_mark[index + 1])


Rule = Callable[[Sentence, int], str | None]
"""Category of the word at an index of a sentence; None leaves it to the lexicons."""


def by_word(words: Mapping[Rule, str]) -> dict[str, Rule]:
    """Turn a mapping from rules to the forms that they decide into one from forms to rules."""
    return {form: rule for rule, forms in words.items() for form in forms.split()}


def is_pause(word: str) -> bool:
    """Whether what follows is punctuation or nothing."""
    return not word or word in word_list("pauses")


def category_of_word(sentence: Sentence, index: int) -> str:
    """Category of a word that neither a fixed expression nor a rule of its own has decided."""
    if _names_result(sentence, index):
        return VERBAL_MATH
    if _is_name(sentence, index) or _is_truth_of_story(sentence, index):
        return ENTITY_NAME
    known = lexicon.category_of(sentence.word(index), sentence.part(index))
    stands_alone = sentence.starts(index) and sentence.word(index + 1) in {",", ".", "!", "?", ":", "...", "—"}
    if stands_alone and lexicon.knows(sentence.word(index), META_DISCOURSE):
        return META_DISCOURSE
    if sentence.word(index) in word_list("always_result"):
        return VERBAL_MATH
    if not sentence.parsed[index].tag and sentence.word(index) in {"needed", "required", "used"}:
        return ENTITY_NAME
    if sentence.part(index) == lexicon.VERB:
        return _category_of_verb(sentence, index, known)
    if known == META_DISCOURSE and sentence.part(index) == lexicon.NOUN:
        return ENTITY_NAME if sentence.is_story_noun(index) else META_DISCOURSE
    return known or _category_by_tag(sentence, index)


def _names_result(sentence: Sentence, index: int) -> bool:
    """Whether a name or a topic precedes a theorem: ``Vieta's formulas``, ``the distance formula``."""
    unit, after = sentence.layout.units[index], index + 1
    if unit.text[0].isupper() and not sentence.question.mentions(unit.lower):
        after += sentence.word(after) in {"'s", "'"}
        is_result = sentence.word(after) in word_list("named_results")
        after += not is_result and sentence.layout.is_word(after) and sentence.layout.units[after].text[0].isupper()
    return sentence.word(after) in word_list("named_results") and (
        (unit.text[0].isupper() and not lexicon.entries().get(unit.lower))
        or (sentence.part(index) == lexicon.NOUN and sentence.parsed[index].head == after)
    )


def _is_truth_of_story(sentence: Sentence, index: int) -> bool:
    """Whether truth and lies are part of the story, as in puzzles about knights and knaves."""
    puzzle = sentence.question.words & {"lie", "lies", "liar", "liars", "lying"}
    return bool(puzzle) and sentence.word(index) in word_list("truth_telling") and sentence.subject_kind(index) != "solver"


def _is_name(sentence: Sentence, index: int) -> bool:
    unit = sentence.layout.units[index]
    if not unit.text[0].isupper() or unit.text == "I":
        return False
    if unit.text in sentence.question.names:
        known = lexicon.category_of(unit.lower)
        is_noun = known == VERBAL_MATH and sentence.parsed[index].tag == "NNP"
        return known in (None, ENTITY_NAME) or is_noun or not sentence.starts(index)
    tag = sentence.parsed[index].tag
    return (
        tag in ("NNP", "NNPS")
        and not sentence.starts(index)
        and lexicon.category_of(unit.lower) in (None, ENTITY_NAME, FUNCTION)
    )


def _category_of_verb(sentence: Sentence, index: int, known: str | None) -> str:
    word, subject = sentence.word(index), sentence.subject_kind(index)
    if word in word_list("result_verbs"):
        return _category_of_result_verb(sentence, index, subject)
    if known == META_DISCOURSE:
        by_people = subject == "argument" and _counts_the_story(sentence, index)
        return ENTITY_NAME if by_people or _belongs_to_story(sentence, index, subject) else META_DISCOURSE
    if known in (None, ENTITY_NAME):
        if subject == "solver" and not sentence.question.mentions(word):
            return META_DISCOURSE
        by_argument = (
            subject == "argument" and lexicon.category_of(sentence.word(sentence.parsed[index].subject)) == META_DISCOURSE
        )
        return META_DISCOURSE if by_argument and known is None else ENTITY_NAME
    return known


def _counts_the_story(sentence: Sentence, index: int) -> bool:
    """Whether a share of people do what the question mentions: ``30 percent of them say no``."""
    subject = sentence.parsed[index].subject
    counted = lexicon.category_of(sentence.word(subject), lexicon.NOUN) == VERBAL_MATH
    people = sentence.is_number(subject) and sentence.word(subject + 1) == "of"
    return (
        (counted or people)
        and sentence.question.mentions(sentence.word(index))
        and sentence.word(index) not in word_list("arguing")
    )


def _belongs_to_story(sentence: Sentence, index: int, subject: str) -> bool:
    """Whether somebody in the story finds, needs or uses; in ``the cost is expressed as`` it is still the solver who acts."""
    features, word = sentence.parsed[index], sentence.word(index)
    if word in word_list("arguing") or (word in word_list("searching") and sentence.word(index - 1) == "to"):
        return False
    if word in word_list("wanting"):
        return subject == "story" or features.dep in ("acl", "amod")
    is_passive = features.tag == "VBN" and features.subject >= 0 and sentence.parsed[features.subject].dep == "nsubjpass"
    return subject == "story" and (not is_passive or sentence.question.mentions(word))


def _category_of_result_verb(sentence: Sentence, index: int, subject: str) -> str:
    """``We get 15`` and ``this leaves 3`` give a value; ``she gives him`` tells the story."""
    word, after = sentence.word(index), index + 1
    followed = after < len(sentence.symbols) and sentence.symbols[after] is not None
    if word == "get" and sentence.word(index - 1) == "to" and subject != "story":
        purpose = META_DISCOURSE if sentence.starts(index - 1) else ENTITY_NAME
        return VERBAL_MATH if followed or (purpose == ENTITY_NAME and _computes(sentence, index)) else purpose
    if word[:2] == "ge" and subject == "argument" and lexicon.knows(sentence.word(after), META_DISCOURSE):
        return META_DISCOURSE
    if word[:2] == "ge":
        return VERBAL_MATH if subject == "solver" or (subject == "" and followed) else ENTITY_NAME
    at = sentence.parsed[index].subject
    owner = sentence.word(at) if at >= 0 else ""
    is_person = at >= 0 and (sentence.parsed[at].tag == "NNP" or owner in {"he", "she", "they"})
    if _opens_equation(sentence, after) and not is_person:
        return VERBAL_MATH
    if owner in {"this", "that", "which"} and word[:2] == "ma" and not _computes(sentence, index):
        return META_DISCOURSE
    if word[-3:] == "ing" and sentence.word(index - 1) == "," and _computes(sentence, index) and not followed:
        return VERBAL_MATH if word[:2] in ("gi", "le") else ENTITY_NAME
    if subject == "argument" and not (owner == "it" and word[:2] in ("ma", "le")):
        return VERBAL_MATH
    if subject == "" and word[:2] != "ma" and (followed or sentence.word(after) == "us"):
        return VERBAL_MATH
    return META_DISCOURSE if subject == "solver" and not sentence.question.mentions(sentence.word(index)) else ENTITY_NAME


def _computes(sentence: Sentence, index: int) -> bool:
    """Whether a number, a symbol or a word of calculation follows soon: ``makes it 27 larger``."""
    reach = range(index + 1, min(index + 6, len(sentence.symbols)))
    return any(sentence.symbols[at] == SYMBOLIC_MATH or lexicon.knows(sentence.word(at), VERBAL_MATH) for at in reach)


def _opens_equation(sentence: Sentence, index: int) -> bool:
    """Whether symbols begin here and reach an equals sign before the next word."""
    for at in range(index, min(index + 12, len(sentence.symbols))):
        if sentence.symbols[at] != SYMBOLIC_MATH:
            return False
        if sentence.word(at) == "=":
            return True
    return False


def _category_by_tag(sentence: Sentence, index: int) -> str:
    features = sentence.parsed[index]
    if features.tag == "RP" or features.dep == "prt":
        return (
            category_of_word(sentence, features.head)
            if features.head != index and sentence.symbols[features.head] is None
            else FUNCTION
        )
    if not features.tag and _looks_comparative(sentence, index):
        return VERBAL_MATH
    if features.tag in ("JJ", "VBN", "VBG", "NN", "RB") and not sentence.question.mentions(sentence.word(index)):
        return _category_of_modifier(sentence, index)
    return _CLOSED.get(features.tag, ENTITY_NAME)


def _category_of_modifier(sentence: Sentence, index: int) -> str:
    """Give an unlisted modifier the category of what it modifies: ``monic polynomial``, ``treat consistently``."""
    features = sentence.parsed[index]
    if features.head in (-1, index) or sentence.symbols[features.head] is not None:
        return ENTITY_NAME
    if features.tag == "RB":
        if features.dep != "advmod" or sentence.part(features.head) != lexicon.VERB:
            return META_DISCOURSE if sentence.word(index).endswith("ly") else ENTITY_NAME
        of_verb = _category_of_verb(sentence, features.head, lexicon.category_of(sentence.word(features.head), lexicon.VERB))
        by_solver = of_verb == VERBAL_MATH and sentence.subject_kind(features.head) == "solver"
        return META_DISCOURSE if by_solver else of_verb
    of_noun = lexicon.category_of(sentence.word(features.head), lexicon.NOUN)
    if features.dep not in ("amod", "compound", "nmod") or sentence.is_story_noun(features.head):
        return ENTITY_NAME
    if of_noun == VERBAL_MATH and (features.tag == "NN" or sentence.word(features.head) in word_list("story_totals")):
        return ENTITY_NAME
    return of_noun if of_noun in (META_DISCOURSE, VERBAL_MATH) else ENTITY_NAME


def _looks_comparative(sentence: Sentence, index: int) -> bool:
    return sentence.word(index).endswith("er") and sentence.word(index + 1) == "than"
