"""The category of a word from its sentence: special words, names, lexicons, the question, then the part of speech."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from annotations._text import lexicon
from annotations._text.layout import Layout
from annotations._text.lexicon import role
from annotations._text.parse import Clue
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
    """A text with everything that decides a word: units, symbols' categories, grammar and question."""

    layout: Layout
    symbols: Sequence[str | None]
    clues: Sequence[Clue]
    question: Question

    def word(self, index: int) -> str:
        """Lower-case text of a unit, empty beyond the ends."""
        return self.layout.word(index)

    def part(self, index: int) -> str:
        """Part of speech in the lexicon's terms."""
        tag = self.clues[index].tag
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
        return self.layout.units[index].kind is Kind.NUMBER or self.word(index) in role("number_words")

    def subject_kind(self, index: int) -> str:
        """Who acts: ``solver``, ``argument`` (problem, equation, this, a formula), ``story``, or empty for nobody."""
        clue = self.clues[index]
        if clue.is_command:
            return "solver"
        if not clue.tag:
            nearby = {self.word(before) for before in range(max(index - 3, 0), index)}
            return "solver" if nearby & role("solver") else ""
        if clue.subject < 0:
            return ""
        subject = self.word(clue.subject)
        if subject in role("solver") or (subject == "'s" and self.word(clue.subject - 1) == "let"):
            return "solver"
        if self.symbols[clue.subject] is not None or subject in {
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
        is_doing = self.clues[clue.subject].tag == "VBG" and self.starts(clue.subject)
        return "argument" if is_doing or self._names_argument(clue.subject) else "story"

    def _names_argument(self, index: int) -> bool:
        known = lexicon.category_of(self.word(index), lexicon.NOUN)
        return known in (META_DISCOURSE, VERBAL_MATH) and not (known == META_DISCOURSE and self.is_story_noun(index))

    def is_story_noun(self, index: int) -> bool:
        """Whether a noun of argument (step, note, case) is one of the story's things, as the question shows."""
        word = self.word(index)
        if word in role("argument_nouns") or not self.question.tells_of(word):
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


def category_of_word(sentence: Sentence, index: int) -> str:
    """Category of a word that no special rule and no fixed expression has decided."""
    if _names_result(sentence, index):
        return VERBAL_MATH
    if _is_name(sentence, index) or _is_told_truth(sentence, index):
        return ENTITY_NAME
    known = lexicon.category_of(sentence.word(index), sentence.part(index))
    stands_alone = sentence.starts(index) and sentence.word(index + 1) in {",", ".", "!", "?", ":", "...", "—"}
    if stands_alone and lexicon.knows(sentence.word(index), META_DISCOURSE):
        return META_DISCOURSE
    if sentence.word(index) in role("always_result"):
        return VERBAL_MATH
    if not sentence.clues[index].tag and sentence.word(index) in {"needed", "required", "used"}:
        return ENTITY_NAME
    if sentence.part(index) == lexicon.VERB:
        return _category_of_verb(sentence, index, known)
    if known == META_DISCOURSE and sentence.part(index) == lexicon.NOUN:
        return ENTITY_NAME if sentence.is_story_noun(index) else META_DISCOURSE
    return known or _category_by_tag(sentence, index)


def _names_result(sentence: Sentence, index: int) -> bool:
    """Whether a name or a topic stands before a theorem: ``Vieta's formulas``, ``the distance formula``."""
    unit, after = sentence.layout.units[index], index + 1
    if unit.text[0].isupper() and not sentence.question.tells_of(unit.lower):
        after += sentence.word(after) in {"'s", "'"}
        is_result = sentence.word(after) in role("named_results")
        after += not is_result and sentence.layout.is_word(after) and sentence.layout.units[after].text[0].isupper()
    return sentence.word(after) in role("named_results") and (
        (unit.text[0].isupper() and not lexicon.entries().get(unit.lower))
        or (sentence.part(index) == lexicon.NOUN and sentence.clues[index].head == after)
    )


def _is_told_truth(sentence: Sentence, index: int) -> bool:
    """Whether truth and lies are the story, as in puzzles of knights and knaves."""
    puzzle = sentence.question.words & {"lie", "lies", "liar", "liars", "lying"}
    return bool(puzzle) and sentence.word(index) in role("truth_telling") and sentence.subject_kind(index) != "solver"


def _is_name(sentence: Sentence, index: int) -> bool:
    unit = sentence.layout.units[index]
    if not unit.text[0].isupper() or unit.text == "I":
        return False
    if unit.text in sentence.question.names:
        known = lexicon.category_of(unit.lower)
        is_noun = known == VERBAL_MATH and sentence.clues[index].tag == "NNP"
        return known in (None, ENTITY_NAME) or is_noun or not sentence.starts(index)
    tag = sentence.clues[index].tag
    return (
        tag in ("NNP", "NNPS")
        and not sentence.starts(index)
        and lexicon.category_of(unit.lower) in (None, ENTITY_NAME, FUNCTION)
    )


def _category_of_verb(sentence: Sentence, index: int, known: str | None) -> str:
    word, subject = sentence.word(index), sentence.subject_kind(index)
    if word in role("result_verbs"):
        return _category_of_result_verb(sentence, index, subject)
    if known == META_DISCOURSE:
        is_told = subject == "argument" and _counts_the_story(sentence, index)
        return ENTITY_NAME if is_told or _belongs_to_story(sentence, index, subject) else META_DISCOURSE
    if known in (None, ENTITY_NAME):
        if subject == "solver" and not sentence.question.tells_of(word):
            return META_DISCOURSE
        by_argument = (
            subject == "argument" and lexicon.category_of(sentence.word(sentence.clues[index].subject)) == META_DISCOURSE
        )
        return META_DISCOURSE if by_argument and known is None else ENTITY_NAME
    return known


def _counts_the_story(sentence: Sentence, index: int) -> bool:
    """Whether a share of people does what the question tells: ``30 percent of them say no``."""
    subject = sentence.clues[index].subject
    counted = lexicon.category_of(sentence.word(subject), lexicon.NOUN) == VERBAL_MATH
    people = sentence.is_number(subject) and sentence.word(subject + 1) == "of"
    return (
        (counted or people) and sentence.question.tells_of(sentence.word(index)) and sentence.word(index) not in role("arguing")
    )


def _belongs_to_story(sentence: Sentence, index: int, subject: str) -> bool:
    """Whether somebody in the story finds, needs or uses; ``the cost is expressed as`` is still the solver's doing."""
    clue, word = sentence.clues[index], sentence.word(index)
    if word in role("arguing") or (word in role("searching") and sentence.word(index - 1) == "to"):
        return False
    if word in role("wanting"):
        return subject == "story" or clue.dep in ("acl", "amod")
    is_passive = clue.tag == "VBN" and clue.subject >= 0 and sentence.clues[clue.subject].dep == "nsubjpass"
    return subject == "story" and (not is_passive or sentence.question.tells_of(word))


def _category_of_result_verb(sentence: Sentence, index: int, subject: str) -> str:
    """``We get 15`` and ``this leaves 3`` give a value; ``she gives him`` is the story."""
    word, after = sentence.word(index), index + 1
    followed = after < len(sentence.symbols) and sentence.symbols[after] is not None
    if word == "get" and sentence.word(index - 1) == "to" and subject != "story":
        purpose = META_DISCOURSE if sentence.starts(index - 1) else ENTITY_NAME
        return VERBAL_MATH if followed or (purpose == ENTITY_NAME and _computes(sentence, index)) else purpose
    if word[:2] == "ge" and subject == "argument" and lexicon.knows(sentence.word(after), META_DISCOURSE):
        return META_DISCOURSE
    if word[:2] == "ge":
        return VERBAL_MATH if subject == "solver" or (subject == "" and followed) else ENTITY_NAME
    at = sentence.clues[index].subject
    owner = sentence.word(at) if at >= 0 else ""
    is_person = at >= 0 and (sentence.clues[at].tag == "NNP" or owner in {"he", "she", "they"})
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
    return META_DISCOURSE if subject == "solver" and not sentence.question.tells_of(sentence.word(index)) else ENTITY_NAME


def _computes(sentence: Sentence, index: int) -> bool:
    """Whether a number, a symbol or a word of calculation follows closely: ``makes it 27 larger``."""
    reach = range(index + 1, min(index + 6, len(sentence.symbols)))
    return any(sentence.symbols[at] == SYMBOLIC_MATH or lexicon.knows(sentence.word(at), VERBAL_MATH) for at in reach)


def _opens_equation(sentence: Sentence, index: int) -> bool:
    """Whether symbols start here and reach an equals sign before any word."""
    for at in range(index, min(index + 12, len(sentence.symbols))):
        if sentence.symbols[at] != SYMBOLIC_MATH:
            return False
        if sentence.word(at) == "=":
            return True
    return False


def _category_by_tag(sentence: Sentence, index: int) -> str:
    clue = sentence.clues[index]
    if clue.tag == "RP" or clue.dep == "prt":
        return category_of_word(sentence, clue.head) if clue.head != index and sentence.symbols[clue.head] is None else FUNCTION
    if not clue.tag and _looks_comparative(sentence, index):
        return VERBAL_MATH
    if clue.tag in ("JJ", "VBN", "VBG", "NN", "RB") and not sentence.question.tells_of(sentence.word(index)):
        return _category_of_modifier(sentence, index)
    return _CLOSED.get(clue.tag, ENTITY_NAME)


def _category_of_modifier(sentence: Sentence, index: int) -> str:
    """Unlisted modifiers go with what they modify: ``monic polynomial``, ``quick check``, ``treat consistently``."""
    clue = sentence.clues[index]
    if clue.head in (-1, index) or sentence.symbols[clue.head] is not None:
        return ENTITY_NAME
    if clue.tag == "RB":
        if clue.dep != "advmod" or sentence.part(clue.head) != lexicon.VERB:
            return META_DISCOURSE if sentence.word(index).endswith("ly") else ENTITY_NAME
        of_verb = _category_of_verb(sentence, clue.head, lexicon.category_of(sentence.word(clue.head), lexicon.VERB))
        by_solver = of_verb == VERBAL_MATH and sentence.subject_kind(clue.head) == "solver"
        return META_DISCOURSE if by_solver else of_verb
    of_noun = lexicon.category_of(sentence.word(clue.head), lexicon.NOUN)
    if clue.dep not in ("amod", "compound", "nmod") or sentence.is_story_noun(clue.head):
        return ENTITY_NAME
    if of_noun == VERBAL_MATH and (clue.tag == "NN" or sentence.word(clue.head) in role("told_totals")):
        return ENTITY_NAME
    return of_noun if of_noun in (META_DISCOURSE, VERBAL_MATH) else ENTITY_NAME


def _looks_comparative(sentence: Sentence, index: int) -> bool:
    return sentence.word(index).endswith("er") and sentence.word(index + 1) == "than"
