"""Labels do not change when a chain is cut by another model: real tokenizers on real chains."""

from collections.abc import Callable

import numpy as np
import pytest
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

from annotations import label_spans
from annotations._text.units import scan
from annotations.agreement import UNSEEN, GoldChain, read_gold

BLANK = "rules:model=blank"
Cut = Callable[[str], np.ndarray]


@pytest.fixture(scope="module")
def chains() -> list[GoldChain]:
    return [*read_gold()[::3], *read_gold(UNSEEN)[:8]]


def cut_by(tokenizer: Tokenizer) -> Cut:
    return lambda text: np.array(tokenizer.encode(text, add_special_tokens=False).offsets)


def byte_level(texts: list[str]) -> Tokenizer:
    """As Qwen: digits one by one, and the space before a digit by itself."""
    tokenizer = Tokenizer(models.BPE())
    split = Regex(r"[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(split, "isolated"), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer.train_from_iterator(texts, trainers.BpeTrainer(vocab_size=600, initial_alphabet=alphabet, show_progress=False))
    return tokenizer


def pieces(texts: list[str]) -> Tokenizer:
    """As T5 and the first Gemma: a unigram model whose pieces carry the space before a word and run over formulas."""
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="never")
    tokenizer.decoder = decoders.Metaspace(prepend_scheme="never")
    trainer = trainers.UnigramTrainer(vocab_size=500, unk_token="<unk>", special_tokens=["<unk>"], show_progress=False)
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


@pytest.fixture(scope="module", params=["smollm2", "byte-level", "unigram"])
def cut(request: pytest.FixtureRequest, chains: list[GoldChain]) -> Cut:
    texts = [chain.reasoning for chain in chains]
    match request.param:
        case "smollm2":
            return cut_by(request.getfixturevalue("tokenizer").backend_tokenizer)
        case "byte-level":
            return cut_by(byte_level(texts))
        case _:
            return cut_by(pieces(texts))


def test_a_token_of_any_model_has_the_category_of_its_unit(cut: Cut, chains: list[GoldChain]):
    checked = 0
    for chain in chains:
        units = scan(chain.reasoning)
        by_unit = label_spans(chain.reasoning, [(unit.start, unit.end) for unit in units], BLANK, chain.question)
        spans = cut(chain.reasoning)
        for (start, end), category in zip(spans, label_spans(chain.reasoning, spans, BLANK, chain.question), strict=True):
            touched = {name for unit, name in zip(units, by_unit, strict=True) if unit.start < end and start < unit.end}
            if touched:
                checked += 1
                assert category in touched
    assert checked > 1000


def test_every_character_is_labelled_as_by_itself(cut: Cut, chains: list[GoldChain]):
    for chain in chains:
        text = chain.reasoning
        alone = label_spans(text, [(at, at + 1) for at in range(len(text))], BLANK, chain.question)
        spans = cut(text)
        for (start, end), category in zip(spans, label_spans(text, spans, BLANK, chain.question), strict=True):
            if len(set(alone[start:end])) == 1:
                assert category == alone[start]


def test_a_lone_space_before_a_digit_counts_with_it(chains: list[GoldChain]):
    text = "It costs 15 dollars"
    spans = cut_by(byte_level([chain.reasoning for chain in chains]))(text)
    labels = dict(zip([text[start:end] for start, end in spans], label_spans(text, spans, BLANK), strict=True))
    assert labels[" "] == labels["1"] == labels["5"] == "SYMBOLIC_MATH"
