"""Words that only their sentence can decide: that, one, left, have, do, first, times, by, no, … (rules 3 to 7)."""

from collections.abc import Callable
from typing import Final

from annotations import _lexicon
from annotations._lexicon import role
from annotations._units import Kind
from annotations._words import Sentence, category_of_word
from annotations.scheme import COREFERENCE, ENTITY_NAME, FUNCTION, META_DISCOURSE, SYMBOLIC_MATH, VERBAL_MATH

_MOVING: Final = ("mov", "bring", "shift", "tak", "put", "get", "collect", "isolat", "subtract", "add")
Rule = Callable[[Sentence, int], str | None]


def category_of_special(sentence: Sentence, index: int) -> str | None:
    """Category of a word that has a rule of its own; None for all others."""
    rule = _RULES.get(sentence.word(index))
    return rule(sentence, index) if rule else None


def _is_pause(word: str) -> bool:
    return not word or word in role("pauses")


def _that(sentence: Sentence, index: int) -> str:
    clue, after = sentence.clues[index], sentence.word(index + 1)
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
    if clue.tag:
        points = (
            clue.tag == "DT"
            or clue.dep in ("det", "dobj", "pobj", "attr", "advmod")
            or (clue.tag != "WDT" and clue.dep in ("nsubj", "nsubjpass") and sentence.clues[clue.head].dep != "relcl")
        )
        return COREFERENCE if points and clue.tag != "WDT" else FUNCTION
    return COREFERENCE if sentence.starts(index) or sentence.word(index - 1) in {",", "from", "of", "by", "so"} else FUNCTION


def _introduces_formula(sentence: Sentence, index: int) -> bool:
    """Whether a complementiser stands between a verb and a formula: ``we know that x = 5``."""
    if not 0 < index < len(sentence.symbols) - 1 or sentence.symbols[index + 1] != SYMBOLIC_MATH:
        return False
    return sentence.clues[index - 1].tag.startswith("VB") or _lexicon.knows(sentence.word(index - 1), META_DISCOURSE)


def _introduces_clause(sentence: Sentence, index: int) -> bool:
    """Whether a noun precedes and another subject follows: ``the tins that Kim bought``, ``the fact that she sold it``."""
    if index + 1 >= len(sentence.clues) or not sentence.clues[index - 1 if index else 0].tag.startswith("NN"):
        return False
    return sentence.clues[index + 1].tag in ("NNP", "PRP", "DT", "PRP$") and sentence.layout.is_word(index + 1)


def _one(sentence: Sentence, index: int) -> str:
    clue, before, after = sentence.clues[index], sentence.word(index - 1), sentence.word(index + 1)
    if after == "of" and sentence.word(index + 2) in {"them", "these", "those"} and before in {"is", "are", "was"}:
        return COREFERENCE
    if after == "of" or clue.dep == "nummod" or sentence.is_number(index + 1):
        return VERBAL_MATH
    adjective = index > 0 and sentence.clues[index - 1].tag.startswith("JJ")
    if before in {"this", "that", "the", "which", "another", "other", "last", "next", "new", "old", "only"} or adjective:
        return VERBAL_MATH if sentence.layout.is_word(index + 1) and clue.dep == "amod" else COREFERENCE
    return COREFERENCE if clue.tag == "NN" and before in {"a", "each", "every"} else VERBAL_MATH


def _left(sentence: Sentence, index: int) -> str:
    clue, before, after = sentence.clues[index], sentence.word(index - 1), sentence.word(index + 1)
    if after in {"side", "hand", "-", "column", "end", "corner"} or before == "the":
        return ENTITY_NAME
    departs = after in {"the", "home", "his", "her", "their", "school", "work", "town"} and clue.tag in ("VBD", "VBN", "")
    return ENTITY_NAME if departs and before not in {"is", "are", "were", "was"} else VERBAL_MATH


def _have(sentence: Sentence, index: int) -> str:
    clue, after = sentence.clues[index], sentence.word(index + 1)
    if clue.dep in ("aux", "auxpass") or after == "to" or (not clue.tag and after.endswith(("ed", "been"))):
        return FUNCTION
    return META_DISCOURSE if sentence.subject_kind(index) == "solver" and not _owns(sentence, index) else ENTITY_NAME


def _owns(sentence: Sentence, index: int) -> bool:
    """Whether ``you have`` belongs to the story, as the question tells it."""
    return sentence.word(sentence.clues[index].subject) == "you" and "you" in sentence.question.words


def _do(sentence: Sentence, index: int) -> str:
    clue, after = sentence.clues[index], sentence.word(index + 1)
    if clue.dep in ("aux", "auxpass") or after in {"n't", "not"}:
        return FUNCTION
    if not clue.tag:
        return FUNCTION if sentence.word(index - 1) not in {"we", "i", "to", "and", "can"} else META_DISCOURSE
    return ENTITY_NAME if sentence.subject_kind(index) == "story" else META_DISCOURSE


def _ordinal(sentence: Sentence, index: int) -> str:
    clue, after = sentence.clues[index], sentence.word(index + 1)
    if sentence.word(index) == "second" and (
        sentence.is_number(index - 1) or sentence.word(index - 1) in {"per", "a", "every", "each"}
    ):
        return ENTITY_NAME
    is_fraction = sentence.word(index) == "third" and (after == "of" or sentence.word(index - 1) in {"a", "one"})
    if is_fraction or (sentence.word(index - 1) == "the" and _is_pause(after)):
        return VERBAL_MATH
    if _is_pause(after) or sentence.starts(index) or clue.dep == "advmod":
        return META_DISCOURSE if sentence.word(index) != "second" or sentence.starts(index) else ENTITY_NAME
    if sentence.layout.is_word(index + 1) and _lexicon.category_of(after, _lexicon.NOUN) == META_DISCOURSE:
        return META_DISCOURSE
    if clue.dep in ("amod", "nummod", "") or clue.tag == "JJ":
        return _category_of_counted(sentence, index)
    return META_DISCOURSE


def _category_of_counted(sentence: Sentence, index: int) -> str:
    """Decide an ordinal: ``the first train`` tells two things of the story apart, ``the first term`` counts."""
    reach = range(index + 1, min(index + 4, len(sentence.clues)))
    noun = next(
        (
            at
            for at in reach
            if sentence.part(at) == _lexicon.NOUN or not (sentence.layout.is_word(at) or sentence.is_number(at))
        ),
        index,
    )
    if not sentence.layout.is_word(noun):
        return VERBAL_MATH
    if noun == index and sentence.clues[index].tag and sentence.word(index + 1) in {"there", "is", "has", "we"}:
        return META_DISCOURSE
    return VERBAL_MATH if _lexicon.category_of(sentence.word(noun), _lexicon.NOUN) == VERBAL_MATH else ENTITY_NAME


def _next(sentence: Sentence, index: int) -> str:
    return ENTITY_NAME if sentence.word(index + 1) in role("calendar") else META_DISCOURSE


def _last(sentence: Sentence, index: int) -> str:
    after = sentence.word(index + 1)
    return META_DISCOURSE if _lexicon.category_of(after, _lexicon.NOUN) == META_DISCOURSE else ENTITY_NAME


def _times(sentence: Sentence, index: int) -> str:
    if sentence.word(index - 1) in {"the", "these", "travel", "his", "her", "their", "both"}:
        return ENTITY_NAME
    both = sentence.word(index - 2) in {"the", "these", "both"} and _is_pause(sentence.word(index + 1))
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
        is_modifier = sentence.clues[before].dep in ("acl", "amod", "relcl")
        if sentence.clues[before].tag.startswith("VB") and not (is_modifier or word.startswith(("us", "ha", "is", "are"))):
            break
    return FUNCTION


def _yes(sentence: Sentence, index: int) -> str:
    in_story = sentence.question.tells_of(sentence.word(index)) and not sentence.starts(index)
    return ENTITY_NAME if in_story else META_DISCOURSE


def _so(sentence: Sentence, index: int) -> str:
    return FUNCTION if sentence.word(index + 1) == "that" and _that(sentence, index + 1) == FUNCTION else META_DISCOURSE


def _prefix(sentence: Sentence, index: int) -> str | None:
    """``re-read`` and ``double-check``: the first half goes with the second."""
    if sentence.word(index + 1) == "-" and sentence.layout.joined(index + 2) and sentence.symbols[index + 2] is None:
        return category_of_special(sentence, index + 2) or category_of_word(sentence, index + 2)
    return None


def _no(sentence: Sentence, index: int) -> str:
    if sentence.word(index - 1) in {"say", "says", "said", "and", '"', "“", "'"} and sentence.question.tells_of("yes"):
        return ENTITY_NAME
    return META_DISCOURSE if _is_pause(sentence.word(index + 1)) or sentence.clues[index].tag == "UH" else FUNCTION


def _opens_or_pauses(otherwise: str) -> Rule:
    """Discourse where the word opens a sentence or stands before a pause; ``otherwise`` elsewhere."""

    def rule(sentence: Sentence, index: int) -> str:
        return META_DISCOURSE if sentence.starts(index) or sentence.word(index + 1) == "," else otherwise

    return rule


def _square(sentence: Sentence, index: int) -> str | None:
    if _lexicon.category_of(sentence.word(index + 1)) == ENTITY_NAME:
        return ENTITY_NAME
    is_verb = sentence.clues[index].tag.startswith("VB")
    if _tells_of_square(sentence) and not is_verb and sentence.word(index + 1) not in {"of", "root", "roots"}:
        return ENTITY_NAME
    return None


def _tells_of_square(sentence: Sentence) -> bool:
    words = sentence.question.words
    return sentence.question.tells_of("square") and bool(words & role("figure_words"))


def _side(sentence: Sentence, index: int) -> str:
    """Sides of an equation are mathematics, sides of a figure or of a road are things."""
    before = [sentence.word(index - step) for step in (1, 2, 3)]
    if before[0] in {"one", "other"} and {"to", "on", "from"} & {before[1], before[2]}:
        moved = any(sentence.word(at).startswith(_MOVING) for at in range(max(index - 12, 0), index))
        return VERBAL_MATH if moved else ENTITY_NAME
    of_equation = sentence.word(index + 1) == "of" and sentence.word(index + 3) in {"equation", "inequality", "expression"}
    if of_equation or sentence.word(index - 1) in {"left", "hand"}:
        return VERBAL_MATH
    if sentence.word(index - 1) == "both" and not sentence.question.tells_of("side"):
        return VERBAL_MATH
    figures = role("figures") if _tells_of_square(sentence) else role("figures") - {"square"}
    told = sentence.question.tells_of("side") or bool(sentence.question.words & figures)
    return ENTITY_NAME if told and sentence.word(index + 1) != "by" else VERBAL_MATH


def _minute(sentence: Sentence, index: int) -> str | None:
    after_number = index > 0 and sentence.layout.units[index - 1].kind is Kind.NUMBER
    return ENTITY_NAME if after_number or sentence.layout.in_text[index] else None


def _way(sentence: Sentence, index: int) -> str:
    counted = sentence.word(index) == "ways" and (
        sentence.word(index - 1) == "of" or sentence.is_number(index - 1) or sentence.symbols[index - 1] == SYMBOLIC_MATH
    )
    return (
        ENTITY_NAME
        if counted or sentence.word(index + 1) in {"out", "back", "home", "there", "up", "down", "from"}
        else META_DISCOURSE
    )


def _way_particle(sentence: Sentence, index: int) -> str | None:
    if sentence.word(index - 1) == "way":
        return ENTITY_NAME
    clue = sentence.clues[index]
    if clue.head < 0 or sentence.symbols[clue.head] is not None:
        return None
    of_verb = clue.tag == "RB" and sentence.part(clue.head) == _lexicon.VERB
    between = range(min(clue.head, index) + 1, index)
    is_near = sentence.word(index) in {"back", "away"} or all(sentence.symbols[at] == SYMBOLIC_MATH for at in between)
    is_particle = clue.tag == "RP" or clue.dep == "prt" or (of_verb and is_near)
    return _of_head(sentence, clue.head) if is_particle else None


def _of_head(sentence: Sentence, head: int) -> str:
    if sentence.word(head).startswith("work"):
        return _work(sentence, head) or category_of_word(sentence, head)
    return category_of_word(sentence, head)


def _perfect(sentence: Sentence, index: int) -> str | None:
    """``Perfect!`` is the solver's; a perfect number is mathematics; a perfect day is the story's."""
    if sentence.clues[index].dep != "amod":
        return None
    noun = _lexicon.category_of(sentence.word(sentence.clues[index].head), _lexicon.NOUN)
    return noun if noun in (VERBAL_MATH, META_DISCOURSE) else ENTITY_NAME


def _approximately(sentence: Sentence, index: int) -> str | None:
    """``exactly two`` and ``about 53`` say how exact a number is."""
    if sentence.word(index) == "about" and sentence.clues[index].dep == "prep":
        return None
    return VERBAL_MATH if sentence.is_number(index + 1) or sentence.word(index + 1) in {"$", "£", "€", "half"} else None


def _hold(sentence: Sentence, index: int) -> str | None:
    """Equations and claims hold; tanks hold water."""
    return META_DISCOURSE if sentence.subject_kind(index) == "argument" else None


def _given(sentence: Sentence, index: int) -> str | None:
    """Tell ``the cups of food given that week``, the story, from ``the values given``, the argument."""
    clue, told = sentence.clues[index], sentence.word(sentence.clues[index].head)
    if clue.dep != "acl" or sentence.word(index + 1) in {"that", "by"} or sentence.word(index + 3) in {"problem", "question"}:
        return None
    known = _lexicon.category_of(told, _lexicon.NOUN)
    return ENTITY_NAME if known in (None, ENTITY_NAME) or told in role("told_totals") else None


def _final(sentence: Sentence, index: int) -> str | None:
    """Leave ``the final answer`` to the argument; ``the final 15 minutes`` is a time of the story."""
    timed = sentence.is_number(index + 1) or sentence.word(index + 1) in role("calendar")
    return ENTITY_NAME if timed else None


def _median(sentence: Sentence, index: int) -> str | None:
    """Take a median for a line where the question has a triangle; elsewhere it is computed."""
    return ENTITY_NAME if sentence.question.tells_of("triangle") else None


def _degree(sentence: Sentence, index: int) -> str:
    """Degrees measure angles and heat; the degree of a polynomial is mathematics."""
    of_function = sentence.word(index + 1) == "of" or sentence.layout.units[index].lower == "degree"
    counted = sentence.is_number(index - 1) or sentence.symbols[index - 1] == SYMBOLIC_MATH if index else False
    told = sentence.question.words & {"temperature", "angle", "angles", "degrees", "oven"}
    return VERBAL_MATH if of_function and not counted and not told else ENTITY_NAME


def _set(sentence: Sentence, index: int) -> str | None:
    """``set these equal`` and ``the set of integers`` are mathematics; ``a set of plates`` is a thing."""
    if sentence.part(index) == _lexicon.NOUN:
        member = index + (3 if sentence.word(index + 2) in {"all", "the"} else 2)
        of_numbers = sentence.word(index + 1) == "of" and _lexicon.knows(sentence.word(member), VERBAL_MATH)
        formula = index + 1 < len(sentence.symbols) and sentence.symbols[index + 1] == SYMBOLIC_MATH
        return VERBAL_MATH if of_numbers or formula else None
    for after in range(index + 1, min(index + 60, len(sentence.symbols))):
        if sentence.word(after) == "equal":
            return VERBAL_MATH
        if sentence.symbols[after] == FUNCTION:
            break
    is_told = sentence.clues[index].dep in ("acl", "relcl") and sentence.question.tells_of(sentence.word(index))
    return ENTITY_NAME if is_told else None


def _move(sentence: Sentence, index: int) -> str | None:
    """``move everything to one side`` is an operation on an equation."""
    reach = [sentence.word(at) for at in range(index + 1, min(index + 12, len(sentence.symbols)))]
    acts = sentence.subject_kind(index) in ("solver", "")
    return VERBAL_MATH if acts and {"side", "left", "right"} & set(reach) and "to" in reach else None


def _joined_preposition(sentence: Sentence, index: int) -> str | None:
    """``after-work activities``: the preposition goes with the word that it is joined to."""
    if sentence.word(index + 1) != "-" or sentence.word(index - 1) == "-":
        return None
    return _prefix(sentence, index) if sentence.layout.joined(index + 1) else None


def _non(sentence: Sentence, index: int) -> str:
    return VERBAL_MATH if _prefix(sentence, index) == VERBAL_MATH else FUNCTION


def _off(sentence: Sentence, index: int) -> str | None:
    is_state = sentence.word(index - 1) in {"is", "was", "are", "were", "'s"}
    return ENTITY_NAME if is_state else _way_particle(sentence, index)


def _there(sentence: Sentence, index: int) -> str:
    be = {"is", "are", "was", "were", "will", "'s", "'re", "be", "must", "can", "would", "remain", "have", "has", "should"}
    existential = sentence.clues[index].tag == "EX" or sentence.word(index + 1) in be
    inverted = sentence.word(index - 1) in {"are", "is", "were", "was"}
    return FUNCTION if existential or inverted else COREFERENCE


def _above(sentence: Sentence, index: int) -> str:
    return FUNCTION if sentence.clues[index].tag == "IN" and sentence.clues[index].dep == "prep" else META_DISCOURSE


def _over(sentence: Sentence, index: int) -> str:
    symbols = sentence.symbols
    between = 0 < index < len(symbols) - 1 and symbols[index - 1] == symbols[index + 1] == SYMBOLIC_MATH
    return VERBAL_MATH if between else FUNCTION


def _like(sentence: Sentence, index: int) -> str:
    if not sentence.clues[index].tag.startswith("VB"):
        return FUNCTION
    return META_DISCOURSE if sentence.subject_kind(index) == "solver" else ENTITY_NAME


def _possessive(sentence: Sentence, index: int) -> str:
    return META_DISCOURSE if sentence.word(index - 1) == "let" else FUNCTION


def _take(sentence: Sentence, index: int) -> str | None:
    reach = range(index + 1, min(index + 4, len(sentence.clues)))
    taken = {index, *(at for at in reach if sentence.clues[at].head == index)}
    computed = any(sentence.clues[at].head in taken and _lexicon.knows(sentence.word(at), VERBAL_MATH) for at in reach)
    return VERBAL_MATH if sentence.subject_kind(index) in ("solver", "") and computed else None


def _work(sentence: Sentence, index: int) -> str | None:
    is_verb = sentence.clues[index].tag.startswith("VB")
    by_argument = is_verb and sentence.subject_kind(index) == "argument"
    return META_DISCOURSE if by_argument or sentence.word(index - 1) in {"our", "my"} else None


def _since(sentence: Sentence, index: int) -> str:
    after = index + 1 < len(sentence.layout.units) and sentence.layout.units[index + 1]
    is_year = after and after.kind is Kind.NUMBER and len(after.text) == 4
    dated = after and (is_year or after.lower in role("calendar")) and sentence.clues[index].dep == "prep"
    return FUNCTION if dated else META_DISCOURSE


def _once(sentence: Sentence, index: int) -> str:
    return VERBAL_MATH if sentence.clues[index].dep == "advmod" and not sentence.starts(index) else FUNCTION


def _rules() -> dict[str, Rule]:
    by_rule: dict[Rule, str] = {
        _that: "that", _one: "one", _left: "left", _ordinal: "first second third", _next: "next", _last: "last",
        _times: "times", _by: "by", _no: "no", _yes: "yes", _so: "so", _square: "square cubic", _way: "way ways",
        _side: "side sides", _minute: "min", _there: "there", _like: "like", _possessive: "'s", _since: "since",
        _once: "once", _work: "work works", _have: "have has had having", _do: "do does did doing done",
        _take: "take takes taking", _way_particle: "out back up down away", _over: "over", _above: "above below",
        _prefix: "semi re double sub pre cross triple", _non: "non", _off: "off", _set: "set sets setting",
        _approximately: "exactly about nearly almost precisely roughly", _median: "median medians",
        _hold: "hold holds held holding", _given: "given", _final: "final",
        _perfect: "perfect", _degree: "degree degrees", _move: "move moving moved bring bringing shift shifting",
        _joined_preposition: "after before in on under for with between", _opens_or_pauses(FUNCTION): "also still",
        _opens_or_pauses(ENTITY_NAME): "well",
    }  # fmt: skip
    return {word: rule for rule, words in by_rule.items() for word in words.split()}


_RULES: Final = _rules()
