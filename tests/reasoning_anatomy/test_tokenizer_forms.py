"""Ids are the tokenizer's own, for every kind of tokenizer and script; text never becomes a control token."""

import json
import unicodedata
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from reasoning_anatomy.errors import EncodingError, ModelError
from reasoning_anatomy.models.encoding import ChainEncoder, EncodingOptions
from reasoning_anatomy.types import EncodedChain, ReasoningChain

TEMPLATE = (
    "{{ '<s>' }}{% for m in messages %}<|user|>\n{{ m['content'] }}<|end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>\n{% endif %}"
)
SPECIAL = ["<unk>", "<s>", "</s>", "<|user|>", "<|assistant|>", "<|end|>"]
TEXTS = {
    "English": "There are 3 rows of 4 jars. So 3 * 4 = 12 jars.",
    "Chinese": "三乘以四等于十二。所以答案是12。",
    "Japanese": "りんごは３こ、みかんは４つです。",
    "Korean": "사과 세 개와 배 네 개",
    "Hangul in conjoining letters": unicodedata.normalize("NFD", "한국어 답"),
    "Arabic": "الجواب هو ١٢ لأن ٣ \u00d7 ٤",
    "Hebrew": "שָׁלוֹם, התשובה היא 12",
    "Devanagari": "उत्तर बारह है।",
    "Thai": "คำตอบคือสิบสอง",
    "Russian": "Ответ: двенадцать, ёж.",
    "Greek": "Ἀπάντησις: δώδεκα",
    "Amharic": "መልሱ አሥራ ሁለት ነው።",
    "combining marks": "cafe\u0301 n\u0303 o\u0308 a\u0323\u0302",
    "ligatures": "ﬁ ﬂ ① ½ ™ \uff21",
    "emoji": "👩‍👩‍👧‍👦 👍🏽 🇩🇪 x",
    "LaTeX": r"\boxed{\frac{1}{2}} \begin{aligned} x &= 1 \\ y &= 2 \end{aligned} $a_{1}^{2}$",
    "code": "def f(x):\n    if x < 2:\n        return x\n\treturn f(x - 1)\n",
    "tags": "m<sup>2</sup> and <b>bold</b>",
    "blanks": "  a   b \n\n\n  c\t\td    ",
    "spelt control": "a </s> b <|end|> c <s><unk>",
    "control characters": "a\x1b[0m b\x7f c\u200e d\x00e",
    "line ends": "one\r\ntwo\u2028three",
}
CORPUS = [*TEXTS.values(), "How many jars are there?\n", "The answer is 12.\n"] * 4
REFUSED = {
    ("WordPiece", "emoji"): "which this tokenizer drops",  # BERT's normaliser drops joiners
    ("WordPiece", "control characters"): "which this tokenizer drops",
    ("Unigram", "spelt control"): "can read only as a special token",  # the vocabulary holds them like any other piece
}
SYMBOLS = ["<b>", "</b>", "<sup>", "</sup>"]


def trained(model: Any, *, pre_tokenizer: Any = None, normalizer: Any = None, **options: Any) -> Tokenizer:
    tokenizer = Tokenizer(model)
    tokenizer.pre_tokenizer, tokenizer.normalizer = pre_tokenizer, normalizer
    kind = {"BPE": trainers.BpeTrainer, "Unigram": trainers.UnigramTrainer, "WordPiece": trainers.WordPieceTrainer}
    trainer = kind[type(model).__name__](
        vocab_size=900, special_tokens=[*SPECIAL, *options.pop("extra", [])], show_progress=False, **options
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
    return tokenizer


def byte_level(*, prefix: bool = False, normalizer: Any = None, split: str | None = None) -> Tokenizer:
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    pieces: list[Any] = [pre_tokenizers.ByteLevel(add_prefix_space=prefix, use_regex=split is None)]
    if split is not None:
        pieces.insert(0, pre_tokenizers.Split(Regex(split), "isolated"))
    tokenizer = trained(
        models.BPE(), pre_tokenizer=pre_tokenizers.Sequence(pieces), normalizer=normalizer, initial_alphabet=alphabet
    )
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def ignoring_merges() -> Tokenizer:
    state = json.loads(byte_level(split=r"\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s+").to_str())
    state["model"]["ignore_merges"] = True
    return Tokenizer.from_str(json.dumps(state))


def with_byte_fallback(tokenizer: Tokenizer) -> Tokenizer:
    """The bytes are plain vocabulary, as after a conversion from SentencePiece."""
    state = json.loads(tokenizer.to_str())
    state["added_tokens"] = [token for token in state["added_tokens"] if not token["content"].startswith("<0x")]
    state["model"] |= {"byte_fallback": True}
    return Tokenizer.from_str(json.dumps(state))


BYTES = [f"<0x{byte:02X}>" for byte in range(256)]


def metaspace(scheme: str, *, normalizer: Any = None) -> Tokenizer:
    tokenizer = with_byte_fallback(
        trained(
            models.BPE(unk_token="<unk>", byte_fallback=True),
            pre_tokenizer=pre_tokenizers.Metaspace(prepend_scheme=scheme, split=False), normalizer=normalizer, extra=BYTES,
        )
    )  # fmt: skip
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    return tokenizer


def prepending() -> Tokenizer:
    """As Llama 2 in its older files: the space before the text is made by the normaliser."""
    normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer = with_byte_fallback(
        trained(models.BPE(unk_token="<unk>", byte_fallback=True), normalizer=normalizer, extra=BYTES)
    )
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    return tokenizer


def with_symbols() -> Tokenizer:
    """As Gemma: runs of blanks and HTML tags are pieces of the vocabulary that are added but not special."""
    normalizer = normalizers.Replace(" ", "▁")
    tokenizer = with_byte_fallback(
        trained(models.BPE(unk_token="<unk>", byte_fallback=True), normalizer=normalizer, extra=BYTES)
    )
    tokenizer.add_tokens([AddedToken(text, normalized=False) for text in [*SYMBOLS, "\n\n", "\t\t"]])
    tokenizer.add_tokens([AddedToken(text, normalized=True) for text in ["▁▁", "▁▁▁▁"]])
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    return tokenizer


def unigram() -> Tokenizer:
    tokenizer = with_byte_fallback(
        trained(
            models.Unigram(), pre_tokenizer=pre_tokenizers.Metaspace(prepend_scheme="first"), normalizer=normalizers.NFKC(),
            extra=BYTES, unk_token="<unk>",
        )
    )  # fmt: skip
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    return tokenizer


def word_piece() -> Tokenizer:
    tokenizer = trained(
        models.WordPiece(unk_token="<unk>"),
        pre_tokenizer=pre_tokenizers.BertPreTokenizer(), normalizer=normalizers.BertNormalizer(lowercase=True),
    )  # fmt: skip
    tokenizer.decoder = decoders.WordPiece()
    return tokenizer


def eating_blanks() -> Tokenizer:
    """As Phi-3: control tokens take the blanks behind them."""
    state = json.loads(metaspace("never").to_str())
    for token in state["added_tokens"]:
        token["rstrip"] = token["content"].startswith("<|")
    return Tokenizer.from_str(json.dumps(state))


FORMS: dict[str, Callable[[], Tokenizer]] = {
    "byte-level": byte_level,
    "byte-level, a space before": lambda: byte_level(prefix=True),
    "byte-level, ignoring merges": ignoring_merges,
    "byte-level, digits and lines apart": lambda: byte_level(split=r"\p{N}{1,3}|[一-龥ぁ-ん]+|[^\p{N}\n]+|\n+"),
    "byte-level, NFC": lambda: byte_level(normalizer=normalizers.NFC()),
    "Metaspace always": lambda: metaspace("always"),
    "Metaspace first": lambda: metaspace("first"),
    "Metaspace never": lambda: metaspace("never"),
    "Metaspace always, NFKC": lambda: metaspace("always", normalizer=normalizers.NFKC()),
    "prepending normaliser": prepending,
    "user-defined symbols": with_symbols,
    "Unigram, NFKC": unigram,
    "WordPiece": word_piece,
    "control tokens that eat blanks": eating_blanks,
}


@pytest.fixture(scope="module", params=FORMS)
def form(request: pytest.FixtureRequest) -> Tokenizer:
    return FORMS[request.param]()


@pytest.fixture(scope="module", params=["plain", "template"])
def any_tokenizer(request: pytest.FixtureRequest, form: Tokenizer) -> PreTrainedTokenizerFast:
    return wrapped(form, template=TEMPLATE if request.param == "template" else None)


@pytest.fixture(scope="module")
def any_encoder(any_tokenizer: PreTrainedTokenizerFast) -> ChainEncoder:
    return ChainEncoder(any_tokenizer)


def wrapped(backend: Tokenizer, *, template: str | None = None) -> PreTrainedTokenizerFast:
    return PreTrainedTokenizerFast(
        tokenizer_object=backend, bos_token="<s>", eos_token="</s>", unk_token="<unk>", chat_template=template
    )


def chain(reasoning: str, **changes: Any) -> ReasoningChain:
    facts = {"chain_id": "c", "question_id": "q", "question": "How many jars are there?", "answer": "The answer is 12."}
    return ReasoningChain(**(facts | {"reasoning": reasoning} | changes))


def whole_text(tokenizer: Any, text: ReasoningChain) -> tuple[str, int]:
    """The sequence as a string, and where its reasoning begins."""
    if tokenizer.chat_template is None:
        prompt, end = f"{text.question}\n", "</s>"
    else:
        messages = [{"role": "user", "content": text.question}]
        prompt, end = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True), "<|end|>"
    return f"{prompt}{text.reasoning}\n{text.answer}{end}", len(prompt)


def spells_control(text: str) -> bool:
    return any(token in unicodedata.normalize("NFKC", text) for token in SPECIAL)


def check(tokenizer: Any, encoded: EncodedChain) -> None:
    """Compare with the tokenizer itself, on the whole sequence."""
    text = encoded.chain
    whole, start = whole_text(tokenizer, text)
    joints = start, start + len(text.reasoning)
    own = tokenizer(whole, add_special_tokens=False, return_offsets_mapping=True)
    crosses = [first < joint < last for joint in joints for first, last in own["offset_mapping"]]
    if not spells_control(text.reasoning) and not any(crosses):
        assert encoded.ids.tolist() == own["input_ids"]
    control = {tokenizer.convert_tokens_to_ids(token) for token in SPECIAL if token != "<unk>"}
    assert control.isdisjoint(encoded.reasoning_ids.tolist())
    assert "<unk>" in text.reasoning or encoded.reasoning_ids.tolist().count(0) <= own["input_ids"].count(0)
    spans = encoded.spans
    assert (spans[0, 0], spans[-1, 1]) == (0, len(text.reasoning))
    assert (spans[:, 0] < spans[:, 1]).all()
    assert (spans[1:, 0] <= spans[:-1, 1]).all()
    assert (np.diff(spans, axis=0) >= 0).all()


@pytest.mark.parametrize("name", TEXTS)
def test_ids_are_the_tokenizers_own_and_spans_cover_the_text(any_tokenizer: Any, any_encoder: ChainEncoder, name: str) -> None:
    reason = REFUSED.get((type(any_tokenizer.backend_tokenizer.model).__name__, name))
    if reason is None:
        check(any_tokenizer, any_encoder.encode(chain(TEXTS[name])))
    else:
        with pytest.raises(EncodingError, match=reason):
            any_encoder.encode(chain(TEXTS[name]))


@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    parts=st.lists(st.sampled_from([*TEXTS.values(), " ", "\n", "▁", "<0x41>", "e\u0301", *SPECIAL]), min_size=1, max_size=4)
)
def test_any_mixture_of_scripts_gets_the_tokenizers_own_ids(
    any_tokenizer: Any, any_encoder: ChainEncoder, parts: list[str]
) -> None:
    text, kind = "x" + "".join(parts), type(any_tokenizer.backend_tokenizer.model).__name__
    reasons = [reason for (model, _), reason in REFUSED.items() if model == kind]
    try:
        encoded = any_encoder.encode(chain(text, question=text, answer=text))
    except EncodingError as error:
        refused = str(error)
    else:
        check(any_tokenizer, encoded)
        refused = None
    assert refused is None or any(reason in refused for reason in reasons)


def test_no_part_begins_with_a_space_that_the_chain_does_not_have() -> None:
    # Metaspace in its form `always` puts a space before a text; the parts are not texts of their own
    tokenizer = wrapped(metaspace("always"))
    encoded = ChainEncoder(tokenizer).encode(chain("3 rows."))
    pieces = [tokenizer.convert_ids_to_tokens(part.tolist()) for part in (encoded.reasoning_ids, encoded.answer_ids)]
    assert "".join(pieces[0]) == "3▁rows."
    assert "".join(pieces[1]) == "\nThe▁answer▁is▁12.</s>"


def test_a_token_across_a_joint_is_taken_apart() -> None:
    backend = byte_level(split=r"[^\n]\n|.|\n")  # a character and the line break behind it are merged
    backend.add_tokens([AddedToken(".\n", normalized=False)])
    tokenizer = wrapped(backend)
    assert ".\n" in [tokenizer.decode([token]) for token in tokenizer("jars.\nThe")["input_ids"]]
    encoded = ChainEncoder(tokenizer).encode(chain("12 jars."))
    assert tokenizer.decode(encoded.reasoning_ids) == "12 jars."
    assert tokenizer.decode(encoded.answer_ids).startswith("\nThe answer")


def test_symbols_of_the_vocabulary_are_read_as_such() -> None:
    tokenizer = wrapped(with_symbols(), template=TEMPLATE)
    text = "m<sup>2</sup>\n\n    indented <b>x</b>"
    encoded = ChainEncoder(tokenizer).encode(chain(text))
    pieces = tokenizer.convert_ids_to_tokens(encoded.reasoning_ids.tolist())
    assert {*SYMBOLS, "\n\n", "▁▁▁▁"} <= set(pieces)
    assert pieces == tokenizer.convert_ids_to_tokens(tokenizer(text, add_special_tokens=False)["input_ids"])


def test_plain_words_of_the_vocabulary_are_no_control_tokens_even_if_the_template_has_them() -> None:
    backend = byte_level()
    backend.add_tokens([AddedToken(text, normalized=False) for text in ("for", "content", "user", "<tool>")])
    tokenizer = wrapped(backend, template=TEMPLATE + "{# <tool> #}")
    text = "Look for the content of <tool>."
    encoded = ChainEncoder(tokenizer).encode(chain(text))
    assert encoded.reasoning_ids.tolist() == tokenizer(text, add_special_tokens=False)["input_ids"]


@pytest.mark.parametrize(
    ("text", "n_characters"), [("e\u0301", 2), (unicodedata.normalize("NFD", "한"), 3), ("a\u0323\u0302", 3)]
)
def test_what_a_normaliser_composes_shares_one_span(text: str, n_characters: int) -> None:
    encoded = ChainEncoder(wrapped(byte_level(normalizer=normalizers.NFC()))).encode(chain(f"x{text}y"))
    inside = {tuple(span) for span in encoded.spans.tolist() if span[0] >= 1 and span[1] <= 1 + n_characters}
    assert inside == {(1, 1 + n_characters)}


@pytest.mark.parametrize(
    ("character", "code"),
    [("\x07", "U+0007"), ("\u200b", "U+200B"), ("\x00", "U+0000"), ("\x1f", "U+001F"), ("\x0b", "U+000B")],
)
def test_a_character_that_the_tokenizer_drops_is_refused(character: str, code: str) -> None:
    with pytest.raises(EncodingError, match="which this tokenizer drops; remove it") as refused:
        ChainEncoder(wrapped(word_piece())).encode(chain(f"12{character} jars"))
    assert f"c: the reasoning holds {character!r} ({code}) at character 2" in str(refused.value)


def test_a_tokenizer_that_loses_spaces_is_refused() -> None:
    # as transformers before 5.23 loaded byte-level checkpoints of Llama: with the pre-tokenizer of another kind
    backend = byte_level()
    backend.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="never")
    with pytest.raises(ModelError) as refused:
        ChainEncoder(wrapped(backend))
    assert "the tokenizer loses spaces ('12 apples and 34 pears = 46' comes back as '12applesand34pears=46')" in str(
        refused.value
    )
    assert "update transformers to 5.23" in str(refused.value)


@pytest.mark.parametrize("part", ["question", "reasoning", "answer"])
def test_the_character_kept_for_our_own_use_is_refused(part: str) -> None:
    encoder = ChainEncoder(wrapped(byte_level(), template=TEMPLATE))
    with pytest.raises(EncodingError, match=r"holds the private-use character U\+10FFF0, which this library needs; remove it"):
        encoder.encode(ReasoningChain(**{**chain("x").model_dump(), part: "a \U0010fff0\U00100000 b"}))


def test_ids_that_differ_from_the_tokenizers_own_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    tokenizer = wrapped(byte_level(), template=TEMPLATE)
    encoder = ChainEncoder(tokenizer)
    own = type(tokenizer).__call__
    monkeypatch.setattr(type(tokenizer), "__call__", lambda self, text, **options: own(self, f"{text}!", **options))
    with pytest.raises(ModelError, match="gives its text other ids than this version finds"):
        encoder.encode(chain("x"))


def test_options_do_not_hide_what_was_found_out() -> None:
    encoder = ChainEncoder(wrapped(byte_level()), EncodingOptions())
    assert (
        repr(encoder.options) == "EncodingOptions(before_reasoning='', before_answer='\\n', template_variables=(), date=None)"
    )
