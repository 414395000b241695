"""Words that calculate in one place and tell the story in another: times, by, square, first, take, left, … (rules 3, 4, 6)."""

from typing import Final

from annotations._rules.words import Sentence, by_word, is_pause
from annotations._text import lexicon
from annotations._text.lexicon import word_list
from reasoning_anatomy.categories import ENTITY_NAME, FUNCTION, META_DISCOURSE, SYMBOLIC_MATH, VERBAL_MATH

_MOVING: Final = ("mov", "bring", "shift", "tak", "put", "get", "collect", "isolat", "subtract", "add")


def _square(sentence: Sentence, index: int) -> str | None:
    if lexicon.category_of(sentence.word(index + 1)) == ENTITY_NAME:
        return ENTITY_NAME
    is_verb = sentence.parsed[index].tag.startswith("VB")
    if _mentions_square(sentence) and not is_verb and sentence.word(index + 1) not in {"of", "root", "roots"}:
        return ENTITY_NAME
    return None


def _mentions_square(sentence: Sentence) -> bool:
    words = sentence.question.words
    return sentence.question.mentions("square") and bool(words & word_list("figure_words"))


def _side(sentence: Sentence, index: int) -> str:
    """Sides of an equation are mathematics, sides of a figure or of a road are things."""
    before = [sentence.word(index - distance) for distance in (1, 2, 3)]
    if before[0] in {"one", "other"} and {"to", "on", "from"} & {before[1], before[2]}:
        moved = any(sentence.word(at).startswith(_MOVING) for at in range(max(index - 12, 0), index))
        return VERBAL_MATH if moved else ENTITY_NAME
    of_equation = sentence.word(index + 1) == "of" and sentence.word(index + 3) in {"equation", "inequality", "expression"}
    if of_equation or sentence.word(index - 1) in {"left", "hand"}:
        return VERBAL_MATH
    if sentence.word(index - 1) == "both" and not sentence.question.mentions("side"):
        return VERBAL_MATH
    figures = word_list("figures") if _mentions_square(sentence) else word_list("figures") - {"square"}
    in_story = sentence.question.mentions("side") or bool(sentence.question.words & figures)
    return ENTITY_NAME if in_story and sentence.word(index + 1) != "by" else VERBAL_MATH


def _times(sentence: Sentence, index: int) -> str:
    if sentence.word(index - 1) in {"the", "these", "travel", "his", "her", "their", "both"}:
        return ENTITY_NAME
    both = sentence.word(index - 2) in {"the", "these", "both"} and is_pause(sentence.word(index + 1))
    return ENTITY_NAME if both else VERBAL_MATH


def _by(sentence: Sentence, index: int) -> str:
    """``by`` of a division or multiplication belongs to the operation."""
    for before in range(index - 1, max(index - 15, -1), -1):
        word = sentence.word(before)
        if word in {".", ";", "?", "!"}:
            break
        if word.startswith(("multipl", "divid")):
            after = sentence.word(index + 1)
            return FUNCTION if after.endswith("ing") else VERBAL_MATH
        is_modifier = sentence.parsed[before].dep in ("acl", "amod", "relcl")
        if sentence.parsed[before].tag.startswith("VB") and not (is_modifier or word.startswith(("us", "ha", "is", "are"))):
            break
    return FUNCTION


def _ordinal(sentence: Sentence, index: int) -> str:
    features, after = sentence.parsed[index], sentence.word(index + 1)
    if sentence.word(index) == "second" and (
        sentence.is_number(index - 1) or sentence.word(index - 1) in {"per", "a", "every", "each"}
    ):
        return ENTITY_NAME
    is_fraction = sentence.word(index) == "third" and (after == "of" or sentence.word(index - 1) in {"a", "one"})
    if is_fraction or (sentence.word(index - 1) == "the" and is_pause(after)):
        return VERBAL_MATH
    if is_pause(after) or sentence.starts(index) or features.dep == "advmod":
        return META_DISCOURSE if sentence.word(index) != "second" or sentence.starts(index) else ENTITY_NAME
    if sentence.layout.is_word(index + 1) and lexicon.category_of(after, lexicon.NOUN) == META_DISCOURSE:
        return META_DISCOURSE
    if features.dep in ("amod", "nummod", "") or features.tag == "JJ":
        return _category_of_counted(sentence, index)
    return META_DISCOURSE


def _category_of_counted(sentence: Sentence, index: int) -> str:
    """Decide an ordinal: ``the first train`` tells two things of the story apart; ``the first term`` counts."""
    reach = range(index + 1, min(index + 4, len(sentence.parsed)))
    noun = next(
        (
            at
            for at in reach
            if sentence.part(at) == lexicon.NOUN or not (sentence.layout.is_word(at) or sentence.is_number(at))
        ),
        index,
    )
    if not sentence.layout.is_word(noun):
        return VERBAL_MATH
    if noun == index and sentence.parsed[index].tag and sentence.word(index + 1) in {"there", "is", "has", "we"}:
        return META_DISCOURSE
    return VERBAL_MATH if lexicon.category_of(sentence.word(noun), lexicon.NOUN) == VERBAL_MATH else ENTITY_NAME


def _take(sentence: Sentence, index: int) -> str | None:
    reach = range(index + 1, min(index + 4, len(sentence.parsed)))
    taken = {index, *(at for at in reach if sentence.parsed[at].head == index)}
    computed = any(sentence.parsed[at].head in taken and lexicon.knows(sentence.word(at), VERBAL_MATH) for at in reach)
    return VERBAL_MATH if sentence.subject_kind(index) in ("solver", "") and computed else None


def _over(sentence: Sentence, index: int) -> str:
    symbols = sentence.symbols
    between = 0 < index < len(symbols) - 1 and symbols[index - 1] == symbols[index + 1] == SYMBOLIC_MATH
    return VERBAL_MATH if between else FUNCTION


def _once(sentence: Sentence, index: int) -> str:
    return VERBAL_MATH if sentence.parsed[index].dep == "advmod" and not sentence.starts(index) else FUNCTION


def _set(sentence: Sentence, index: int) -> str | None:
    """``set these equal`` and ``the set of integers`` are mathematics; ``a set of plates`` is a thing."""
    if sentence.part(index) == lexicon.NOUN:
        member = index + (3 if sentence.word(index + 2) in {"all", "the"} else 2)
        of_numbers = sentence.word(index + 1) == "of" and lexicon.knows(sentence.word(member), VERBAL_MATH)
        formula = index + 1 < len(sentence.symbols) and sentence.symbols[index + 1] == SYMBOLIC_MATH
        return VERBAL_MATH if of_numbers or formula else None
    for after in range(index + 1, min(index + 60, len(sentence.symbols))):
        if sentence.word(after) == "equal":
            return VERBAL_MATH
        if sentence.symbols[after] == FUNCTION:
            break
    in_story = sentence.parsed[index].dep in ("acl", "relcl") and sentence.question.mentions(sentence.word(index))
    return ENTITY_NAME if in_story else None


def _move(sentence: Sentence, index: int) -> str | None:
    """``move everything to one side`` is an operation on an equation."""
    reach = [sentence.word(at) for at in range(index + 1, min(index + 12, len(sentence.symbols)))]
    acts = sentence.subject_kind(index) in ("solver", "")
    return VERBAL_MATH if acts and {"side", "left", "right"} & set(reach) and "to" in reach else None


def _recur(sentence: Sentence, index: int) -> str | None:
    """Call it mathematics when powers and digits repeat."""
    is_verb = sentence.parsed[index].tag.startswith("VB")
    return VERBAL_MATH if is_verb and sentence.subject_kind(index) == "argument" else None


def _degree(sentence: Sentence, index: int) -> str:
    """Degrees measure angles and heat; the degree of a polynomial is mathematics."""
    of_function = sentence.word(index + 1) == "of" or sentence.layout.units[index].lower == "degree"
    counted = sentence.is_number(index - 1) or sentence.symbols[index - 1] == SYMBOLIC_MATH if index else False
    measured = sentence.question.words & {"temperature", "angle", "angles", "degrees", "oven"}
    return VERBAL_MATH if of_function and not counted and not measured else ENTITY_NAME


def _median(sentence: Sentence, index: int) -> str | None:
    """Take a median for a line if the question has a triangle; otherwise it is computed."""
    return ENTITY_NAME if sentence.question.mentions("triangle") else None


def _approximately(sentence: Sentence, index: int) -> str | None:
    """``exactly two`` and ``about 53`` say how exact a number is."""
    if sentence.word(index) == "about" and sentence.parsed[index].dep == "prep":
        return None
    return VERBAL_MATH if sentence.is_number(index + 1) or sentence.word(index + 1) in {"$", "£", "€", "half", "one"} else None


def _perfect(sentence: Sentence, index: int) -> str | None:
    """``Perfect!`` is the solver's; a perfect number is mathematics; a perfect day is the story's."""
    if sentence.parsed[index].dep != "amod":
        return None
    noun = lexicon.category_of(sentence.word(sentence.parsed[index].head), lexicon.NOUN)
    return noun if noun in (VERBAL_MATH, META_DISCOURSE) else ENTITY_NAME


def _left(sentence: Sentence, index: int) -> str:
    """``3 are left`` remain; ``on the left`` is a side, and ``the train left`` is the story."""
    before, after = sentence.word(index - 1), sentence.word(index + 1)
    if after in word_list("sided") or before == "the" or before in word_list("turning"):
        return ENTITY_NAME
    return ENTITY_NAME if _departs(sentence, index) else VERBAL_MATH


def _departs(sentence: Sentence, index: int) -> bool:
    """Whether somebody or something left, as opposed to a number of things being left."""
    features, subject = sentence.parsed[index], sentence.parsed[index].subject
    before, after = sentence.word(index - 1), sentence.word(index + 1)
    leaves_place = after in {"the", "home", "his", "her", "their", "school", "work", "town"} and features.tag in (
        "VBD",
        "VBN",
        "",
    )
    if leaves_place and before not in {"is", "are", "were", "was"}:
        return True
    is_active = features.tag == "VBD" and features.dep != "acl" and subject >= 0 and after not in {"over", "with"}
    is_one = is_active and sentence.parsed[subject].tag in ("NNP", "PRP", "NN") and sentence.symbols[subject] is None
    return is_one and before not in word_list("being") and not sentence.is_number(subject - 1)


def _right(sentence: Sentence, index: int) -> str | None:
    """Tell the sides of ``on the right`` and ``right-angled`` from the judgement of ``the right answer``."""
    before, after = sentence.word(index - 1), sentence.word(index + 1)
    if (
        before in word_list("turning")
        or after in word_list("sided")
        or (before == "the" and after in word_list("pauses") | {"", "of"})
    ):
        return ENTITY_NAME
    return None


RULES: Final = by_word(
    {
        _left: "left",
        _right: "right",
        _ordinal: "first second third",
        _times: "times",
        _by: "by",
        _square: "square cubic",
        _side: "side sides",
        _once: "once",
        _take: "take takes taking",
        _over: "over",
        _approximately: "exactly about nearly almost precisely roughly",
        _median: "median medians",
        _recur: "repeat repeats cycle cycles",
        _perfect: "perfect",
        _degree: "degree degrees",
        _set: "set sets setting",
        _move: "move moving moved bring bringing shift shifting",
    }
)
