"""The labels that the guidelines give their own examples; the number of each case is the rule that decides it."""

import pytest

from annotations._text.parse import MODELS


def needs_grammar() -> bool:
    import spacy

    return not any(spacy.util.is_package(name) for name in MODELS)


SYMBOLS = [
    (1, "So ⟦48⟧ / 2 = 24.", "S"),
    (1, "So 48 ⟦/⟧ 2 = 24.", "S"),
    (1, "So 48 / 2 ⟦=⟧ 24.", "S"),
    (1, "It costs ⟦$⟧15 in all.", "S"),
    (1, "Take 20⟦%⟧ of it.", "S"),
    (1, "Then ⟦x⟧ is 12.", "S"),
    (1, r"\[ ⟦\frac⟧{48}{2} \]", "S"),
    (1, r"\[ \frac⟦{⟧48}{2} \]", "S"),
    (1, r"⟦\[⟧ 48 \times 2 \]", "S"),
    (1, r"So \(4 ⟦\times⟧ 8 = 32\) dollars", "S"),
    (1, "Then ⟦(⟧16 + 12) / 2 = 14.", "S"),
    (1, "The point (x⟦,⟧ y) lies there.", "S"),
    (1, r"\( 6 \text{ ⟦notebooks⟧} \times 2 \)", "E"),
    (1, r"\( 6 ⟦\text⟧{ notebooks} \times 2 \)", "S"),
    (1, "12 ⟦apples⟧ + 3 apples = 15 apples", "E"),
    (1, "12 apples ⟦-⟧ 3 apples = 9 apples", "S"),
    (1, "5⟦c⟧ = 35", "S"),
    (1, "Solve $3⟦x⟧ - 8 = 43$.", "S"),
    (2, "They run 5 ⟦km⟧.", "E"),
    (2, "They run 5 ⟦kilometres⟧.", "E"),
    (2, "It weighs 3 ⟦kg⟧.", "E"),
    (2, "So 24 ⟦percent⟧ do not.", "V"),
    (9, "So it is 5⟦.⟧", "F"),
    (9, "First⟦,⟧ we add.", "F"),
    (9, "A well⟦-⟧known fact.", "F"),
    (9, "⟦-⟧ The first train.", "M"),
    (9, "⟦1⟧. Calculate the total.", "M"),
    (9, "1⟦.⟧ Calculate the total.", "M"),
    (9, "⟦**⟧Answer**", "M"),
    (9, "⟦###⟧ Step 1", "M"),
    (9, "It is ⟦**⟧30** now.", "M"),
    (9, "We have 2⟦**⟧3 = 8.", "S"),
    (9, "The ratio is 3⟦:⟧5.", "S"),
    (9, "It costs 1⟦,⟧200 dollars.", "S"),
    (1, "Then x⟦²⟧ = 9.", "S"),
    (1, "Then ⟦x⟧² = 9.", "S"),
    (1, "The area is 4⟦π⟧.", "S"),
    (1, "The area is ⟦πr⟧² here.", "S"),
    (1, "So f⟦'⟧(x) = 2x.", "S"),
    (1, "Let x + y = 7, so 2⟦xy⟧ = 24.", "S"),
    (1, "The list 1, 2, ⟦...⟧, 10 is long.", "S"),
    (2, "The floor is 108 m⟦²⟧.", "E"),
    (2, "At 60 km/h * 2.5 ⟦h⟧ = 150 km.", "E"),
    (9, "Wait⟦...⟧ no.", "F"),
    (9, "**Final answer⟦:⟧** 5", "M"),
    (9, "1. **Cost of tea⟦:⟧** 5", "M"),
    (9, "**Cost**⟦:⟧ 5", "M"),
    (9, "The costs of **tea**⟦:⟧ 5", "F"),
    (9, "- **⟦A⟧.** 5", "M"),
    (9, "The boys⟦'⟧ bikes are red.", "F"),
]

WORDS = [
    (3, "Then we ⟦subtract⟧ 32 from both sides.", "V"),
    (3, "⟦Multiply⟧ both sides by 2.", "V"),
    (3, "We can ⟦calculate⟧ the cost.", "V"),
    (3, "Twice five ⟦equals⟧ ten.", "V"),
    (3, "To ⟦find⟧ the cost, we multiply.", "M"),
    (3, "To ⟦determine⟧ the cost, we multiply.", "M"),
    (3, "Let us ⟦check⟧ this.", "M"),
    (3, "Natalia ⟦sold⟧ 48 clips.", "E"),
    (4, "The ⟦total⟧ is 12.", "V"),
    (4, "The ⟦sum⟧ of both is 12.", "V"),
    (4, "The ⟦difference⟧ is 12.", "V"),
    (4, "The ⟦number⟧ of trees is 12.", "V"),
    (4, "The ⟦average⟧ speed is 12.", "V"),
    (4, "The ⟦profit⟧ is 12.", "V"),
    (4, "The ⟦area⟧ is 12.", "V"),
    (4, "The ⟦price⟧ is 12.", "E"),
    (4, "The average ⟦speed⟧ is 12.", "E"),
    (4, "The ⟦length⟧ is 12.", "E"),
    (5, "⟦So⟧ she has 5 clips.", "M"),
    (5, "⟦Therefore⟧, she has 5 clips.", "M"),
    (5, "⟦Since⟧ she sold 5 clips, 3 remain.", "M"),
    (5, "It is wrong, ⟦because⟧ he sold 5.", "M"),
    (5, "⟦If⟧ x is 2, then y is 3.", "M"),
    (5, "⟦Finally⟧, we add the costs.", "M"),
    (5, "She buys pens ⟦and⟧ books.", "F"),
    (5, "She reads ⟦while⟧ he sleeps.", "F"),
    (5, "They add 5, ⟦but⟧ he has 6.", "F"),
    (6, "How many clips are ⟦left⟧?", "V"),
    (6, "⟦One⟧ tree in six is cut down.", "V"),
    (6, "We need six more white ⟦ones⟧.", "C"),
    (7, "⟦We⟧ add the costs.", "M"),
    (7, "⟦Let⟧'s add the costs.", "M"),
    (7, "Let⟦'s⟧ add the costs.", "M"),
    (7, "Natalia⟦'s⟧ clips are red.", "F"),
    (7, "⟦She⟧ sold 48 clips.", "C"),
    (7, "⟦They⟧ are red.", "C"),
    (7, "Divide ⟦both⟧ sides by 2.", "C"),
    (8, "The final ⟦answer⟧ is 5.", "M"),
    (8, "The ⟦final⟧ answer is 5.", "M"),
    (8, "⟦The⟧ final answer is 5.", "F"),
    (8, "The final answer ⟦is⟧ 5.", "F"),
    (8, "According to the ⟦problem⟧, she has 5.", "M"),
    (3, "We ⟦set⟧ this equal to zero.", "V"),
    (3, "⟦Set⟧ up the equation.", "M"),
    (4, "By ⟦Vieta⟧'s formulas, it is 7.", "V"),
    (4, "By the ⟦Pythagorean⟧ Theorem, it is 5.", "V"),
    (4, "The ⟦degree⟧ of the polynomial is 4.", "V"),
    (4, "It is about 53 ⟦degrees⟧.", "E"),
    (4, "The tens ⟦digit⟧ is 4.", "V"),
    (4, "The ⟦polynomial⟧ is monic.", "V"),
    (4, "The ⟦triangle⟧ is right.", "E"),
    (5, "There are ⟦exactly⟧ two of them.", "V"),
    (5, "This is ⟦exactly⟧ right.", "M"),
    (6, "The car turned ⟦left⟧ there.", "E"),
    (4, "The triangle is ⟦right⟧-angled.", "E"),
    (4, "She sits to the ⟦right⟧ of Bob.", "E"),
    (5, "That is the ⟦right⟧ answer.", "M"),
    (5, "⟦Now⟧ we subtract.", "M"),
    (4, "Ten years from ⟦now⟧ he is 30.", "E"),
    (1, "It goes from ⟦A⟧ to B.", "S"),
    (1, "Let ⟦A⟧ be the sum.", "S"),
    (9, "⟦A⟧ red car stops.", "F"),
]

GRAMMAR = [
    (3, "The tank ⟦holds⟧ 240 litres.", "E"),
    (3, "The number of trips ⟦needed⟧ is six.", "E"),
    (3, "We ⟦need⟧ the total.", "M"),
    (3, "She finds 5 coins and ⟦uses⟧ 3 of them.", "E"),
    (3, "This ⟦gives⟧ a total of 12.", "V"),
    (3, "She ⟦gives⟧ him 12 coins.", "E"),
    (6, "We know ⟦that⟧ the total is 12.", "F"),
    (6, "⟦That⟧ is a quarter of the tank.", "C"),
    (6, "The marbles ⟦that⟧ are not white are red.", "F"),
    (6, "Let me double-check ⟦that⟧.", "C"),
    (6, "The house is on the ⟦left⟧ side.", "E"),
    (6, "The new price is higher than the old ⟦one⟧.", "C"),
    (7, "⟦There⟧ are 50 marbles.", "F"),
    (9, "The train ⟦has⟧ left the station.", "F"),
    (9, "Yara ⟦has⟧ 45 dollars.", "E"),
    (9, "Where ⟦does⟧ it stop?", "F"),
    (3, "This ⟦makes⟧ Cy a knight.", "M"),
    (3, "The equation ⟦holds⟧.", "M"),
    (3, "Let me ⟦move⟧ everything to one side.", "V"),
    (4, "The ⟦first⟧ train is red.", "E"),
    (4, "The ⟦first⟧ term is 5.", "V"),
    (5, "The ⟦first⟧ step is done.", "M"),
    (5, "They left in the ⟦final⟧ 15 minutes.", "E"),
    (5, "A ⟦quick⟧ check shows it.", "M"),
    (5, "Did I treat the order ⟦consistently⟧?", "M"),
    (4, "The ⟦monic⟧ polynomial is prime.", "V"),
    (6, "The tins ⟦that⟧ Kim bought are red.", "F"),
    (6, "Cy is ⟦one⟧ of them.", "C"),
    (6, "⟦One⟧ of them is red.", "C"),
    (6, "At least ⟦one⟧ of them is red.", "V"),
    (6, "Ann ⟦left⟧ at 8 am.", "E"),
    (6, "She ⟦left⟧ 3 apples on the table.", "E"),
    (6, "So 3 apples are ⟦left⟧.", "V"),
    (6, "There are 5 ⟦left⟧ over.", "V"),
    (6, "We are ⟦left⟧ with 7.", "V"),
    (9, "The ⟦after⟧-work class is long.", "E"),
]


@pytest.mark.parametrize(("rule", "marked", "expected"), SYMBOLS + WORDS)
def test_a_unit_gets_the_category_of_the_rule(category_in, rule, marked, expected):
    assert category_in(marked) == expected, f"rule {rule}"


@pytest.mark.skipif(needs_grammar(), reason="needs an English spaCy model for tags and dependencies")
@pytest.mark.parametrize(("rule", "marked", "expected"), GRAMMAR)
def test_grammar_decides_what_lexicons_cannot(category_in, rule, marked, expected):
    assert category_in(marked) == expected, f"rule {rule}"


@pytest.mark.parametrize(
    ("marked", "question", "expected"),
    [
        ("The staircase has 20 ⟦steps⟧.", "Tom climbs a staircase of 20 steps. How many seconds does he need?", "E"),
        ("We follow these ⟦steps⟧:", "How many clips are left?", "M"),
        ("Then ⟦Will⟧ pays 5 dollars.", "How much does Will pay for 5 pens?", "E"),
        ("Then it ⟦will⟧ cost 5 dollars.", "How much does Will pay for 5 pens?", "F"),
        ("So 46 people say ⟦yes⟧.", "46 people say yes. How many say no?", "E"),
        ("⟦Yes⟧, that is right.", "46 people say yes. How many say no?", "M"),
        ("So 46 of the people ⟦say⟧ no.", "46 people say yes. How many say no?", "E"),
        ("His ⟦statement⟧ is a lie.", "Knights tell the truth and knaves lie. Who is Cy?", "E"),
        ("This ⟦statement⟧ is about the sum.", "What is the sum?", "M"),
        ("Tom is 30 ⟦now⟧.", "How old is Tom now?", "E"),
        ("⟦Now⟧ Tom is 30.", "How old is Tom now?", "M"),
        ("The ⟦median⟧ is 5.", "Find the median of 3, 5 and 9.", "V"),
        ("The ⟦median⟧ AM is 5.", "In triangle ABC, find AM.", "E"),
    ],
)
def test_the_question_decides_between_story_and_argument(category_in, marked, question, expected):
    assert category_in(marked, question) == expected


@pytest.mark.parametrize(
    ("marked", "expected"),
    [
        ("She pays $5 for tea ⟦and⟧ $10 for cake.", "F"),
        ("=$<<2+3=5>>5\nSo ⟦he⟧ pays $<<5-1=4>>4", "C"),
        ("We see that $x ⟦>⟧ 5$ here.", "S"),
        ("$$\n⟦y⟧ = 2\n$$", "S"),
        (r"\begin{align} ⟦a⟧ &= 2 \end{align}", "S"),
    ],
)
def test_dollar_signs_are_currency_or_delimiters(category_in, marked, expected):
    assert category_in(marked) == expected
