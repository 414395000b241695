# ruff: noqa: RUF001 - text of many scripts is the subject
"""Which chains are told to be in another language than English."""

from importlib.resources import files
from pathlib import Path

import pytest

from reasoning_anatomy.chains import read_chains
from reasoning_anatomy.language import LEAST_WORDS, in_another_script, is_english, language_caveat

EXAMPLES = Path(str(files("reasoning_anatomy") / "data" / "example_chains.jsonl"))

FOREIGN = {
    "Chinese": "每排四个罐子，共三排。所以 3×4＝12。答案是十二。等等，再检查一遍：12 除以 4 等于 3。对。",
    "Korean and Arabic": "세 줄에 네 병씩이므로 3 × 4 = 12. ثم نتحقق: ١٢ ÷ ٤ = ٣.",
    "Chinese with LaTeX": r"设 Alice 有 $x$ 个苹果，则 \\frac{x}{2} = 6，所以 $x = 12$ apples。答案是 \\boxed{12}。",
    "Russian": "В каждом ряду 4 банки, значит всего 3 * 4 = 12.",
    "German": "Jede Reihe hat vier Gläser, also sind es zusammen drei mal vier, das sind zwölf Gläser. Dann nehmen wir an, "
    "dass in der Kiste noch drei weitere waren. Es war so, dass der Mann am Ende 15 Gläser hat.",
    "French": "Chaque rangée contient quatre bocaux, donc il y a trois fois quatre bocaux, ce qui fait douze. Ensuite on "
    "ajoute les trois bocaux de la boîte. La réponse est quinze, car on a compté tout ce qui est sur la table.",
    "Spanish": "Cada fila tiene cuatro frascos, así que hay tres por cuatro, es decir, doce frascos. Luego sumamos los tres "
    "que he visto en la caja. No hay más, me parece, y la respuesta es quince en total, porque hemos contado todo.",
}

ENGLISH = {
    "formulas": r"3 \\times 4 = 12, x = 5, $\\text{pommes et poires}$, \\(a_{1} = b\\), sin x + cos y = tan z, ab + bc = ca "
    * 5,
    "variables of other alphabets": "α + β = γ, ∠ABC = 90°, 𝑥 = ℓ, ℝ, Δt, 5 µm",
    "few words": "Drei mal vier ist zwölf.",
    "names of other languages": "So 李雷 has 3 pens and Ольга has 4 of them; that is 7 pens, and each of them costs 2 dollars.",
    "nothing": "",
    "code": "We run it: ```für alle zeilen und spalten und werte und namen und zahlen und listen und dinge und mehr```",
}


@pytest.mark.parametrize("text", FOREIGN.values(), ids=FOREIGN)
def test_prose_of_other_languages_is_recognised(text: str) -> None:
    assert not is_english(text)


@pytest.mark.parametrize("text", ENGLISH.values(), ids=ENGLISH)
def test_formulas_names_and_too_few_words_are_no_other_language(text: str) -> None:
    assert is_english(text)


def test_no_example_chain_raises_an_alarm() -> None:
    assert language_caveat([chain.reasoning for chain in read_chains(EXAMPLES)]) is None


def test_words_decide_from_the_twentieth_on() -> None:
    assert is_english("zwölf " * (LEAST_WORDS - 1))
    assert not is_english("zwölf " * LEAST_WORDS)


@pytest.mark.parametrize(
    ("text", "expected"), [("é", False), ("ﬁ", False), ("α", False), ("𝟛x", False), ("罐", True), ("aж", True)]
)
def test_the_script_of_a_letter(text: str, expected: bool) -> None:
    assert in_another_script(text) is expected


def test_the_share_of_chains_is_said() -> None:
    assert str(language_caveat([*ENGLISH.values(), *list(FOREIGN.values())[:3]])).startswith(
        "3 of 9 chains (33\N{NO-BREAK SPACE}%) are not in English; the categories are made for English"
    )
