"""Words that argue in one place and tell the story in another: since, next, final, given, have, do, … (rules 3, 5 and 8)."""

from typing import Final

from annotations._rules.words import Rule, Sentence, by_word, is_pause
from annotations._text import lexicon
from annotations._text.lexicon import word_list
from annotations._text.units import Kind
from reasoning_anatomy.categories import ENTITY_NAME, FUNCTION, META_DISCOURSE, SYMBOLIC_MATH


def _since(sentence: Sentence, index: int) -> str:
    after = index + 1 < len(sentence.layout.units) and sentence.layout.units[index + 1]
    is_year = after and after.kind is Kind.NUMBER and len(after.text) == 4
    dated = after and (is_year or after.lower in word_list("calendar")) and sentence.parsed[index].dep == "prep"
    return FUNCTION if dated else META_DISCOURSE


def _yes(sentence: Sentence, index: int) -> str:
    in_story = sentence.question.mentions(sentence.word(index)) and not sentence.starts(index)
    return ENTITY_NAME if in_story else META_DISCOURSE


def _no(sentence: Sentence, index: int) -> str:
    if sentence.word(index - 1) in {"say", "says", "said", "and", '"', "“", "'"} and sentence.question.mentions("yes"):
        return ENTITY_NAME
    return META_DISCOURSE if is_pause(sentence.word(index + 1)) or sentence.parsed[index].tag == "UH" else FUNCTION


def _next(sentence: Sentence, index: int) -> str:
    return ENTITY_NAME if sentence.word(index + 1) in word_list("calendar") else META_DISCOURSE


def _last(sentence: Sentence, index: int) -> str:
    after = sentence.word(index + 1)
    return META_DISCOURSE if lexicon.category_of(after, lexicon.NOUN) == META_DISCOURSE else ENTITY_NAME


def _final(sentence: Sentence, index: int) -> str | None:
    """Call ``the final 15 minutes`` a time of the story; leave ``the final answer`` to the lexicon."""
    timed = sentence.is_number(index + 1) or sentence.word(index + 1) in word_list("calendar")
    return ENTITY_NAME if timed else None


def _common(sentence: Sentence, index: int) -> str | None:
    """Tell a common mistake, which belongs to the argument, from a common factor."""
    features = sentence.parsed[index]
    of_argument = features.dep == "amod" and lexicon.category_of(sentence.word(features.head), lexicon.NOUN) == META_DISCOURSE
    return META_DISCOURSE if of_argument else None


def _given(sentence: Sentence, index: int) -> str | None:
    """Tell ``the cups of food given that week``, which is the story, from ``the values given``, which is the argument."""
    features, noun = sentence.parsed[index], sentence.word(sentence.parsed[index].head)
    if (
        features.dep != "acl"
        or sentence.word(index + 1) in {"that", "by"}
        or sentence.word(index + 3) in {"problem", "question"}
    ):
        return None
    known = lexicon.category_of(noun, lexicon.NOUN)
    return ENTITY_NAME if known in (None, ENTITY_NAME) or noun in word_list("story_totals") else None


def _hold(sentence: Sentence, index: int) -> str | None:
    """Equations and claims hold; tanks hold water."""
    return META_DISCOURSE if sentence.subject_kind(index) == "argument" else None


def _have(sentence: Sentence, index: int) -> str:
    features, after = sentence.parsed[index], sentence.word(index + 1)
    if features.dep in ("aux", "auxpass") or after == "to" or (not features.tag and after.endswith(("ed", "been"))):
        return FUNCTION
    return META_DISCOURSE if sentence.subject_kind(index) == "solver" and not _owns(sentence, index) else ENTITY_NAME


def _owns(sentence: Sentence, index: int) -> bool:
    """Whether ``you have`` belongs to a story that the question tells about *you*."""
    return sentence.word(sentence.parsed[index].subject) == "you" and "you" in sentence.question.words


def _do(sentence: Sentence, index: int) -> str:
    features, after = sentence.parsed[index], sentence.word(index + 1)
    if features.dep in ("aux", "auxpass") or after in {"n't", "not"}:
        return FUNCTION
    if not features.tag:
        return FUNCTION if sentence.word(index - 1) not in {"we", "i", "to", "and", "can"} else META_DISCOURSE
    return ENTITY_NAME if sentence.subject_kind(index) == "story" else META_DISCOURSE


def _like(sentence: Sentence, index: int) -> str:
    if not sentence.parsed[index].tag.startswith("VB"):
        return FUNCTION
    return META_DISCOURSE if sentence.subject_kind(index) == "solver" else ENTITY_NAME


def _work(sentence: Sentence, index: int) -> str | None:
    is_verb = sentence.parsed[index].tag.startswith("VB")
    by_argument = is_verb and sentence.subject_kind(index) == "argument"
    return META_DISCOURSE if by_argument or sentence.word(index - 1) in {"our", "my"} else None


def _way(sentence: Sentence, index: int) -> str:
    counted = sentence.word(index) == "ways" and (
        sentence.word(index - 1) == "of" or sentence.is_number(index - 1) or sentence.symbols[index - 1] == SYMBOLIC_MATH
    )
    return (
        ENTITY_NAME
        if counted or sentence.word(index + 1) in {"out", "back", "home", "there", "up", "down", "from"}
        else META_DISCOURSE
    )


def _minute(sentence: Sentence, index: int) -> str | None:
    after_number = index > 0 and sentence.layout.units[index - 1].kind is Kind.NUMBER
    return ENTITY_NAME if after_number or sentence.layout.in_text[index] else None


def _above(sentence: Sentence, index: int) -> str:
    return FUNCTION if sentence.parsed[index].tag == "IN" and sentence.parsed[index].dep == "prep" else META_DISCOURSE


def _now(sentence: Sentence, index: int) -> str:
    """``Now we subtract`` orders steps; ``ten years from now``, or any *now* of the question, is a time of the story."""
    in_story = sentence.question.mentions("now") and not sentence.starts(index) and sentence.word(index + 1) != ","
    return ENTITY_NAME if in_story or sentence.word(index - 1) == "from" else META_DISCOURSE


def _opens_or_pauses(otherwise: str) -> Rule:
    """Discourse if the word opens a sentence or a pause follows; ``otherwise`` if not."""

    def rule(sentence: Sentence, index: int) -> str:
        return META_DISCOURSE if sentence.starts(index) or sentence.word(index + 1) == "," else otherwise

    return rule


RULES: Final = by_word(
    {
        _next: "next",
        _last: "last",
        _no: "no",
        _yes: "yes",
        _way: "way ways",
        _minute: "min",
        _like: "like",
        _since: "since",
        _work: "work works",
        _have: "have has had having",
        _do: "do does did doing done",
        _above: "above below",
        _hold: "hold holds held holding",
        _common: "common",
        _given: "given",
        _final: "final",
        _now: "now",
        _opens_or_pauses(FUNCTION): "also still",
        _opens_or_pauses(ENTITY_NAME): "well",
    }
)
