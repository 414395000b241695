"""Words of grammar that either point or only join: that, so, one, there, 's (rules 6 and 7)."""

from typing import Final

from annotations._rules.words import Sentence, by_word
from annotations._text import lexicon
from annotations._text.lexicon import word_list
from reasoning_anatomy.categories import COREFERENCE, FUNCTION, META_DISCOURSE, SYMBOLIC_MATH, VERBAL_MATH


def _that(sentence: Sentence, index: int) -> str:
    features, after = sentence.parsed[index], sentence.word(index + 1)
    if _introduces_formula(sentence, index) or _introduces_clause(sentence, index):
        return FUNCTION
    if after in {
        "'s",
        "is",
        "was",
        "means",
        "leaves",
        "gives",
        "makes",
        "would",
        "does",
        "seems",
        "should",
        "equals",
        "can",
    } and (sentence.starts(index) or sentence.word(index - 1) in {",", "so", "but", "and", "wait", "if", "does", "is"}):
        return COREFERENCE
    if features.tag:
        points = (
            features.tag == "DT"
            or features.dep in ("det", "dobj", "pobj", "attr", "advmod")
            or (
                features.tag != "WDT"
                and features.dep in ("nsubj", "nsubjpass")
                and sentence.parsed[features.head].dep != "relcl"
            )
        )
        return COREFERENCE if points and features.tag != "WDT" else FUNCTION
    return COREFERENCE if sentence.starts(index) or sentence.word(index - 1) in {",", "from", "of", "by", "so"} else FUNCTION


def _introduces_formula(sentence: Sentence, index: int) -> bool:
    """Whether this is a complementiser between a verb and a formula: ``we know that x = 5``."""
    if not 0 < index < len(sentence.symbols) - 1 or sentence.symbols[index + 1] != SYMBOLIC_MATH:
        return False
    return sentence.parsed[index - 1].tag.startswith("VB") or lexicon.knows(sentence.word(index - 1), META_DISCOURSE)


def _introduces_clause(sentence: Sentence, index: int) -> bool:
    """Whether a noun precedes and another subject follows: ``the tins that Kim bought``, ``the fact that she sold it``."""
    if index + 1 >= len(sentence.parsed) or not sentence.parsed[index - 1 if index else 0].tag.startswith("NN"):
        return False
    return sentence.parsed[index + 1].tag in ("NNP", "PRP", "DT", "PRP$") and sentence.layout.is_word(index + 1)


def _one(sentence: Sentence, index: int) -> str:
    features, before, after = sentence.parsed[index], sentence.word(index - 1), sentence.word(index + 1)
    if after == "of" and sentence.word(index + 2) in {"them", "these", "those"} and before not in word_list("counting_one"):
        return COREFERENCE
    if after == "of" or features.dep == "nummod" or sentence.is_number(index + 1):
        return VERBAL_MATH
    adjective = index > 0 and sentence.parsed[index - 1].tag.startswith("JJ")
    if before in {"this", "that", "the", "which", "another", "other", "last", "next", "new", "old", "only"} or adjective:
        return VERBAL_MATH if sentence.layout.is_word(index + 1) and features.dep == "amod" else COREFERENCE
    return COREFERENCE if features.tag == "NN" and before in {"a", "each", "every"} else VERBAL_MATH


def _there(sentence: Sentence, index: int) -> str:
    be = {"is", "are", "was", "were", "will", "'s", "'re", "be", "must", "can", "would", "remain", "have", "has", "should"}
    existential = sentence.parsed[index].tag == "EX" or sentence.word(index + 1) in be
    inverted = sentence.word(index - 1) in {"are", "is", "were", "was"}
    return FUNCTION if existential or inverted else COREFERENCE


def _possessive(sentence: Sentence, index: int) -> str:
    return META_DISCOURSE if sentence.word(index - 1) == "let" else FUNCTION


def _so(sentence: Sentence, index: int) -> str:
    return FUNCTION if sentence.word(index + 1) == "that" and _that(sentence, index + 1) == FUNCTION else META_DISCOURSE


RULES: Final = by_word(
    {
        _that: "that",
        _so: "so",
        _one: "one",
        _there: "there",
        _possessive: "'s",
    }
)
