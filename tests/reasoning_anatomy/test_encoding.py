"""Chain to ids: text stays text, spans cover the reasoning, the prompt is the template's own."""

import dataclasses
import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import ByT5Tokenizer, PreTrainedTokenizerFast

from reasoning_anatomy.errors import EncodingError, ModelError
from reasoning_anatomy.models.encoding import ChainEncoder, EncodingOptions
from reasoning_anatomy.types import EncodedChain, ReasoningChain

TEMPLATE = (
    "{% for m in messages %}<|bos|>{{ m['role'] }}\n{{ m['content'] }}<|end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|bos|>assistant\n{% endif %}"
)
CORPUS = ["How many apples are there? Let x be 2, then 3x - 8 = 43 and the answer is 4.\n\n    Hence 4."] * 5
REASONING = "2+2 = 4 😀 so\n\n    4 \u00d7 café e\u0301 \t日本\u200b."
SPELT = ["<|im_end|>", "<|im_start|>", "</think>", "<think>", "<|end|>", "<|bos|>", "<s>", "</s>", "<unk>", "<|endoftext|>"]
# the vocabulary of SmolLM2 lacks a few bytes: six control characters, and what begins planes that Unicode has not filled
CHARACTERS = st.characters(exclude_categories=("Cs",), exclude_characters="\x04\x06\x13\x14\x16\x1d", max_codepoint=0x3FFFF)


def byte_level(*, trim_offsets: bool = False) -> Tokenizer:
    """As GPT-2, Llama 3 and Qwen: bytes, with think tags and runs of blanks among the added tokens."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=trim_offsets)
    trainer = trainers.BpeTrainer(
        vocab_size=350, initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()), special_tokens=["<|bos|>", "<|end|>"],
        show_progress=False,
    )  # fmt: skip
    tokenizer.train_from_iterator(CORPUS, trainer)
    added = ["<think>", "</think>", "    ", "  "]
    tokenizer.add_tokens([AddedToken(text, special=False, normalized=False) for text in added])
    return tokenizer


def byte_fallback(*, normalizer: Any = None) -> Tokenizer:
    """As Llama 2 and Gemma: white space is a mark, unknown characters are bytes; BOS and EOS around every text."""
    tokenizer = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="never")
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    special = ["<unk>", "<s>", "</s>"]
    trainer = trainers.BpeTrainer(
        vocab_size=400, special_tokens=special + [f"<0x{byte:02X}>" for byte in range(256)], show_progress=False
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
    state = json.loads(tokenizer.to_str())
    state["added_tokens"] = state["added_tokens"][: len(special)]  # the bytes are plain vocabulary
    tokenizer = Tokenizer.from_str(json.dumps(state))
    if normalizer is not None:
        tokenizer.normalizer = normalizer
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A </s>", special_tokens=[("<s>", 1), ("</s>", 2)])
    return tokenizer


def wrapped(backend: Tokenizer, *, template: str | None = None) -> PreTrainedTokenizerFast:
    special = ("<|bos|>", "<|end|>") if backend.token_to_id("<|bos|>") is not None else ("<s>", "</s>")
    return PreTrainedTokenizerFast(tokenizer_object=backend, bos_token=special[0], eos_token=special[1], chat_template=template)


@pytest.fixture(scope="module", params=["smollm2", "byte-level", "byte-level, plain", "byte fallback, plain"])
def any_tokenizer(request: pytest.FixtureRequest) -> Any:
    match request.param:
        case "smollm2":
            return request.getfixturevalue("tokenizer")
        case "byte-level":
            return wrapped(byte_level(), template=TEMPLATE)
        case "byte-level, plain":
            return wrapped(byte_level())
        case _:
            return wrapped(byte_fallback())


@pytest.fixture(scope="module")
def any_encoder(any_tokenizer: Any) -> ChainEncoder:
    return ChainEncoder(any_tokenizer)


@pytest.fixture(scope="module")
def smollm2_encoder(tokenizer: Any) -> ChainEncoder:
    return ChainEncoder(tokenizer)


@pytest.fixture(scope="module")
def chatty() -> PreTrainedTokenizerFast:
    return wrapped(byte_level(), template=TEMPLATE)


def chain(**changes: Any) -> ReasoningChain:
    facts = {"chain_id": "c", "question_id": "q", "question": "How many?", "reasoning": REASONING, "answer": "It is 4."}
    return ReasoningChain(**(facts | changes))


def markers(tokenizer: Any) -> set[int]:
    return {number for number, token in tokenizer.added_tokens_decoder.items() if token.content.strip()}


def marker_ids(tokenizer: Any, ids: np.ndarray) -> list[int]:
    known = markers(tokenizer)
    return [int(number) for number in ids if int(number) in known]


def check_spans(encoded: EncodedChain, text: str) -> None:
    spans = encoded.spans
    assert (spans[:, 0] < spans[:, 1]).all()  # no token without text
    assert (spans[0, 0], spans[-1, 1]) == (0, len(text))
    assert (spans[1:, 0] <= spans[:-1, 1]).all()  # no character is left out
    assert (np.diff(spans, axis=0) >= 0).all()


def test_reasoning_decodes_to_its_text(any_tokenizer: Any, any_encoder: ChainEncoder) -> None:
    encoded = any_encoder.encode(chain())
    assert any_tokenizer.decode(encoded.reasoning_ids) == REASONING
    check_spans(encoded, REASONING)
    assert encoded.chain_id == "c"


def test_the_whole_chain_decodes_to_its_text_in_order(any_tokenizer: Any, any_encoder: ChainEncoder) -> None:
    encoded = any_encoder.encode(chain())
    text = any_tokenizer.decode(encoded.ids)
    assert f"{REASONING}\nIt is 4." in text
    assert text.index("How many?") < text.index(REASONING)


def test_a_token_shows_the_text_of_its_span(any_tokenizer: Any, any_encoder: ChainEncoder) -> None:
    encoded = any_encoder.encode(chain())
    for number, (start, end) in zip(encoded.reasoning_ids, encoded.spans, strict=True):
        text = any_tokenizer.decode([number])
        if "\ufffd" not in text and not any_tokenizer.convert_ids_to_tokens(int(number)).startswith("<0x"):
            assert text == REASONING[start:end]


@pytest.mark.parametrize("character", ["😀", "\u00d7", "é", "日"])
def test_every_part_of_a_split_character_has_a_span_that_holds_it(
    any_tokenizer: Any, any_encoder: ChainEncoder, character: str
) -> None:
    text = f"a {character}b"
    encoded = any_encoder.encode(chain(reasoning=text))
    check_spans(encoded, text)
    at = text.index(character)
    inside = [bool(start <= at < end) for start, end in encoded.spans]
    assert any_tokenizer.decode(encoded.reasoning_ids[inside]).strip().startswith(character)


def test_the_bytes_of_a_character_share_its_span() -> None:
    # UTF-8 has four bytes for an emoji, and neither of these vocabularies has learnt to join them
    for tokenizer in (wrapped(byte_level()), wrapped(byte_fallback())):
        encoded = ChainEncoder(tokenizer).encode(chain(reasoning="a😀b"))
        assert encoded.spans.tolist() == [[0, 1], *[[1, 2]] * 4, [2, 3]]


@settings(max_examples=60, deadline=None, derandomize=True)
@given(text=st.text(CHARACTERS, min_size=1, max_size=30).filter(str.strip))
def test_any_text_is_covered_and_comes_back(any_tokenizer: Any, any_encoder: ChainEncoder, text: str) -> None:
    encoded = any_encoder.encode(chain(reasoning=text, answer=text, question=text))
    check_spans(encoded, text)
    assert any_tokenizer.decode(encoded.reasoning_ids) == text


@settings(max_examples=40, deadline=None, derandomize=True)
@given(parts=st.lists(st.sampled_from([*SPELT, "a", " ", "\n", "<", "|>", "😀"]), min_size=1, max_size=6))
def test_spelt_markers_stay_text_in_every_part(any_tokenizer: Any, any_encoder: ChainEncoder, parts: list[str]) -> None:
    text = "x" + "".join(parts)
    plain = any_encoder.encode(chain(system_prompt="x", question="x", reasoning="x", answer="x"))
    spelt = any_encoder.encode(chain(system_prompt=text, question=text, reasoning=text, answer=text))
    assert marker_ids(any_tokenizer, spelt.prompt_ids) == marker_ids(any_tokenizer, plain.prompt_ids)
    assert marker_ids(any_tokenizer, spelt.reasoning_ids) == []
    assert marker_ids(any_tokenizer, spelt.answer_ids) == marker_ids(any_tokenizer, plain.answer_ids)
    assert any_tokenizer.decode(spelt.reasoning_ids) == text
    assert any_tokenizer.decode(spelt.ids).count(text) == 4
    check_spans(spelt, text)


@pytest.mark.parametrize("marker", SPELT)
def test_a_text_that_is_nothing_but_a_marker_stays_text(any_tokenizer: Any, any_encoder: ChainEncoder, marker: str) -> None:
    encoded = any_encoder.encode(chain(question=marker, reasoning=marker, answer=marker))
    assert marker_ids(any_tokenizer, encoded.reasoning_ids) == []
    assert any_tokenizer.decode(encoded.reasoning_ids) == marker
    before = any_encoder.encode(chain())
    assert marker_ids(any_tokenizer, encoded.ids) == marker_ids(any_tokenizer, before.ids)


def test_a_marker_that_a_normaliser_makes_stays_text() -> None:
    # NFKC turns the full-width signs into < and >, and a token added as normalised is then found
    backend = byte_fallback(normalizer=normalizers.NFKC())
    backend.add_tokens([AddedToken("<think>", special=False, normalized=True)])
    tokenizer = wrapped(backend)
    disguised = "a \uff1cthink\uff1e b"
    assert backend.token_to_id("<think>") in tokenizer(disguised)["input_ids"]
    encoded = ChainEncoder(tokenizer).encode(chain(question=disguised, reasoning=disguised, answer=disguised))
    assert backend.token_to_id("<think>") not in encoded.ids


def test_text_that_the_vocabulary_itself_reads_as_a_marker_is_refused() -> None:
    backend = Tokenizer(models.WordLevel({"<unk>": 0, "<s>": 1, "</s>": 2, "a": 3}, unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    backend.add_special_tokens(["<unk>", "<s>", "</s>"])
    encoder = ChainEncoder(wrapped(backend))
    with pytest.raises(EncodingError) as refused:
        encoder.encode(chain(question="a", reasoning="a </s> a", answer="a"))
    assert str(refused.value) == (
        "c: the reasoning holds '</s>' at character 2, which this tokenizer can read only as a special token; rewrite it"
    )
    with pytest.raises(EncodingError, match="c: the answer holds '<s>' at character 0"):
        encoder.encode(chain(question="a", reasoning="a", answer="<s>"))
    with pytest.raises(EncodingError, match="c: the prompt holds '<s>' at character 2"):
        encoder.encode(chain(question="a <s>", reasoning="a", answer="a"))


@pytest.mark.parametrize("system", [None, "Be brief.", ""])
@pytest.mark.parametrize("question", ["How many?", "  x\n\n  y ", "{{ x }} {% raw %}", "日本 😀", "QUESTIONPLACEHOLDER"])
def test_prompt_ids_are_those_of_the_chat_template(
    smollm2_encoder: ChainEncoder, chatty: PreTrainedTokenizerFast, question: str, system: str | None
) -> None:
    messages = [{"role": "user", "content": question}]
    if system is not None:
        messages.insert(0, {"role": "system", "content": system})
    for encoder in (smollm2_encoder, ChainEncoder(chatty)):
        ids = encoder.tokenizer.apply_chat_template(messages, tokenize=True, add_generation_prompt=True)["input_ids"]
        assert encoder.encode(chain(question=question, system_prompt=system)).prompt_ids.tolist() == ids


def test_a_spelt_marker_leaves_the_rest_of_the_prompt_as_it_was(tokenizer: Any, smollm2_encoder: ChainEncoder) -> None:
    spelt, plain = (
        tokenizer.decode(smollm2_encoder.encode(chain(question=question)).prompt_ids)
        for question in ("a <|im_end|> b", "a XX b")
    )
    assert spelt == plain.replace("XX", "<|im_end|>")


@pytest.mark.parametrize("text", ["QUESTIONPLACEHOLDER", "SYSTEMPLACEHOLDER", "REPLYPLACEHOLDER"])
@pytest.mark.parametrize("marker", ["", " <|im_end|>"])
def test_words_of_the_encoder_in_a_chain_are_harmless(
    tokenizer: Any, smollm2_encoder: ChainEncoder, text: str, marker: str
) -> None:
    encoded = smollm2_encoder.encode(
        chain(question=f"1 {text}{marker}", system_prompt=f"2 {text}", reasoning=f"3 {text}", answer=f"4 {text}")
    )
    decoded = tokenizer.decode(encoded.ids)
    assert [decoded.count(f"{part} {text}") for part in (1, 2, 3, 4)] == [1, 1, 1, 1]
    assert decoded.count(text) == 4
    assert decoded.count("PLACEHOLDER") == 4


def test_the_end_of_turn_is_the_last_id(any_tokenizer: Any, any_encoder: ChainEncoder) -> None:
    encoded = any_encoder.encode(chain())
    assert encoded.answer_ids[-1] == any_tokenizer.eos_token_id
    assert encoded.answer_ids.tolist().count(any_tokenizer.eos_token_id) == 1
    assert any_tokenizer.decode(encoded.answer_ids[:-1]) == "\nIt is 4."


def test_a_template_without_replies_ends_with_the_end_of_text(chatty: PreTrainedTokenizerFast) -> None:
    bare = wrapped(chatty.backend_tokenizer, template="Q: {{ messages[0]['content'] }}\nA: ")
    encoded = ChainEncoder(bare).encode(chain())
    assert bare.decode(encoded.prompt_ids) == "Q: How many?\nA: "
    assert bare.decode(encoded.answer_ids) == "\nIt is 4.<|end|>"


def test_a_template_that_refuses_a_system_prompt_is_named(chatty: PreTrainedTokenizerFast) -> None:
    refusing = (
        "{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}" + TEMPLATE
    )
    encoder = ChainEncoder(wrapped(chatty.backend_tokenizer, template=refusing))
    assert encoder.encode(chain()).n_reasoning > 0
    with pytest.raises(EncodingError) as refused:
        encoder.encode(chain(system_prompt="Be brief."))
    assert str(refused.value) == "c: the model's chat template refuses the roles system, user: System role not supported"


def test_the_joints_may_name_special_tokens(chatty: PreTrainedTokenizerFast) -> None:
    options = EncodingOptions(before_reasoning="<think>\n", before_answer="\n</think>\n\n")
    think, stop = (chatty.convert_tokens_to_ids(text) for text in ("<think>", "</think>"))
    for question in ("How many?", "What is </think>?"):
        encoded = ChainEncoder(chatty, options).encode(chain(question=question, reasoning="a </think> b"))
        assert marker_ids(chatty, encoded.prompt_ids)[-1] == think
        assert encoded.prompt_ids.tolist().count(think) == 1
        assert encoded.answer_ids.tolist().count(stop) == 1
        assert stop not in encoded.prompt_ids
        assert stop not in encoded.reasoning_ids
        assert chatty.decode(encoded.prompt_ids).endswith("<|bos|>assistant\n<think>\n")
        assert chatty.decode(encoded.answer_ids) == "\n</think>\n\nIt is 4.<|end|>"


def test_without_joints_the_parts_touch(chatty: PreTrainedTokenizerFast) -> None:
    encoded = ChainEncoder(chatty, EncodingOptions(before_answer="")).encode(chain())
    assert chatty.decode(encoded.answer_ids) == "It is 4.<|end|>"


@pytest.mark.parametrize("question", ["How many?", "</s>", "<s> how?"])
@pytest.mark.parametrize("system", [None, "Be brief.", "<s>"])
def test_plain_text_gets_begin_and_end(question: str, system: str | None) -> None:
    tokenizer = wrapped(byte_fallback())
    encoded = ChainEncoder(tokenizer).encode(chain(question=question, system_prompt=system))
    assert marker_ids(tokenizer, encoded.ids) == [tokenizer.bos_token_id, tokenizer.eos_token_id]
    assert (encoded.prompt_ids[0], encoded.answer_ids[-1]) == (tokenizer.bos_token_id, tokenizer.eos_token_id)
    before = "" if system is None else f"{system}\n\n"
    assert tokenizer.decode(encoded.prompt_ids[1:]) == f"{before}{question}\n"


@pytest.mark.parametrize("question", ["How many?", "</s>"])
def test_one_token_may_be_both_begin_and_end(question: str) -> None:
    # as in OPT, where </s> comes first and last
    backend = byte_fallback()
    backend.post_processor = processors.TemplateProcessing(single="</s> $A", special_tokens=[("</s>", 2)])
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, bos_token="</s>", eos_token="</s>")
    encoded = ChainEncoder(tokenizer).encode(chain(question=question))
    assert (encoded.prompt_ids[0], encoded.answer_ids[-1]) == (2, 2)
    assert marker_ids(tokenizer, encoded.ids) == [2, 2]


def test_a_tokenizer_that_adds_nothing_begins_with_the_question() -> None:
    tokenizer = wrapped(byte_level())
    encoded = ChainEncoder(tokenizer).encode(chain())
    assert tokenizer.decode(encoded.prompt_ids) == "How many?\n"
    assert encoded.answer_ids[-1] == tokenizer.eos_token_id


def test_a_chain_longer_than_the_context_is_refused_with_both_lengths(chatty: PreTrainedTokenizerFast) -> None:
    length = len(ChainEncoder(chatty).encode(chain()).ids)
    assert len(ChainEncoder(chatty, context_length=length).encode(chain()).ids) == length
    with pytest.raises(EncodingError) as refused:
        ChainEncoder(chatty, context_length=length - 1).encode(chain())
    assert str(refused.value) == (
        f"c: has {length} tokens, but the model's context holds {length - 1}; "
        "leave the chain out or use a model with a longer context"
    )


def test_a_part_that_gives_no_token_is_refused() -> None:
    backend = byte_fallback(normalizer=normalizers.Strip())
    backend.post_processor = None
    tokenizer = wrapped(backend, template="{{ messages[0]['content'] }}")
    with pytest.raises(EncodingError, match="c: the prompt gives no token with this tokenizer; it needs at least one"):
        ChainEncoder(tokenizer).encode(chain(question=" "))


def test_a_tokenizer_without_offsets_is_refused() -> None:
    with pytest.raises(ModelError) as refused:
        ChainEncoder(ByT5Tokenizer())
    assert str(refused.value) == "ByT5Tokenizer gives no character offsets; use the model's fast tokenizer"


def test_truncation_and_padding_of_the_tokenizer_do_not_leak() -> None:
    plain = ChainEncoder(wrapped(byte_level(), template=TEMPLATE)).encode(chain())
    backend = byte_level()
    backend.enable_truncation(5)
    backend.enable_padding(length=200)
    limited = wrapped(backend, template=TEMPLATE)
    limited.model_max_length = 5
    encoder = ChainEncoder(limited)
    for _ in range(2):  # the second time, after another caller has set them again
        np.testing.assert_array_equal(encoder.encode(chain()).ids, plain.ids)
        limited(["text", "longer text"], truncation=True, max_length=3, padding=True)


def test_encoding_leaves_the_tokenizer_as_it_was() -> None:
    tokenizer = wrapped(byte_level(trim_offsets=True), template=TEMPLATE)
    before = tokenizer.backend_tokenizer.to_str()
    ChainEncoder(tokenizer).encode(chain(reasoning="</think> <|end|>"))
    assert tokenizer.backend_tokenizer.to_str() == before
    assert not tokenizer.backend_tokenizer.encode_special_tokens
    assert tokenizer("</think>")["input_ids"] == [tokenizer.convert_tokens_to_ids("</think>")]


def test_white_space_is_in_the_spans_whatever_the_tokenizer_trims() -> None:
    one, two = (ChainEncoder(wrapped(byte_level(trim_offsets=trim))).encode(chain()) for trim in (True, False))
    np.testing.assert_array_equal(one.spans, two.spans)
    np.testing.assert_array_equal(one.reasoning_ids, two.reasoning_ids)
    check_spans(one, REASONING)


def test_added_runs_of_blanks_are_used(chatty: PreTrainedTokenizerFast) -> None:
    encoded = ChainEncoder(chatty).encode(chain(reasoning="a\n    b"))
    at = encoded.reasoning_ids.tolist().index(chatty.convert_tokens_to_ids("    "))
    assert encoded.spans[at].tolist() == [2, 6]


DIGEST_CHANGES: dict[str, Callable[[], ChainEncoder]] = {
    "another template": lambda: ChainEncoder(wrapped(byte_level(), template=TEMPLATE.replace("user", "human") + " ")),
    "no template": lambda: ChainEncoder(wrapped(byte_level())),
    "another joint": lambda: ChainEncoder(wrapped(byte_level(), template=TEMPLATE), EncodingOptions(before_answer="\n\n")),
}


@pytest.mark.parametrize("make", DIGEST_CHANGES.values(), ids=DIGEST_CHANGES)
def test_the_digest_knows_all_text_around_a_chain(chatty: PreTrainedTokenizerFast, make: Callable[[], ChainEncoder]) -> None:
    digest = ChainEncoder(chatty).template_digest
    assert digest == ChainEncoder(wrapped(byte_level(), template=TEMPLATE), context_length=9).template_digest
    assert make().template_digest != digest


def test_options_are_frozen_and_stand_in_their_repr() -> None:
    options = EncodingOptions(before_reasoning="<think>", template_variables=("thinking=true",), date="2026-11-25")
    assert repr(options) == (
        "EncodingOptions(before_reasoning='<think>', before_answer=None, template_variables=('thinking=true',), "
        "date='2026-11-25')"
    )
    with pytest.raises(dataclasses.FrozenInstanceError):
        options.before_answer = ""  # type: ignore[misc]
