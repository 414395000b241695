"""The classifier of words: a real tokenizer and a small model with random weights, against the published procedure."""

import dataclasses
import string

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast, XLMRobertaConfig, XLMRobertaForTokenClassification

from reasoning_anatomy.errors import MeasurementError, PluginError
from reasoning_anatomy.importance.llmlingua2 import Llmlingua2, _chunks, _reading_all_as_text
from reasoning_anatomy.models.encoding import ChainEncoder
from reasoning_anatomy.plugins import available
from reasoning_anatomy.types import ReasoningChain


@pytest.fixture(scope="module")
def classifier_folder(example_chains, tmp_path_factory):
    """A folder as the published classifier is laid out: SentencePiece unigrams, two labels."""
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Replace("\n", " ")])
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    ends = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    trainer = trainers.UnigramTrainer(vocab_size=400, special_tokens=ends, unk_token="<unk>", show_progress=False)
    tokenizer.train_from_iterator([chain.reasoning for chain in example_chains], trainer)
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 2)])
    folder = tmp_path_factory.mktemp("classifier") / "xlm-roberta-large"
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, cls_token="<s>", sep_token="</s>", unk_token="<unk>", pad_token="<pad>",
        mask_token="<mask>", bos_token="<s>", eos_token="</s>",
    ).save_pretrained(folder)  # fmt: skip
    torch.manual_seed(0)
    config = XLMRobertaConfig(
        vocab_size=tokenizer.get_vocab_size(), hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
        max_position_embeddings=514, num_labels=2, initializer_range=0.5,
    )  # fmt: skip
    XLMRobertaForTokenClassification(config).save_pretrained(folder)
    return folder


def published_words(folder, text):
    """(word, probability) as the published procedure merges them, for a text of one chunk."""
    tokenizer = PreTrainedTokenizerFast.from_pretrained(folder)
    model = XLMRobertaForTokenClassification.from_pretrained(folder).eval()
    inputs = tokenizer(text, return_tensors="pt", return_token_type_ids=False)
    with torch.inference_mode():
        probability = torch.softmax(model(**inputs).logits[0].double(), dim=-1)[:, 1].tolist()
    words = []
    for piece, p in zip(tokenizer.convert_ids_to_tokens(inputs["input_ids"][0]), probability, strict=True):
        if piece in tokenizer.all_special_tokens:
            continue
        if piece in set(string.punctuation) or piece.startswith("\u2581"):
            words.append((piece, [p]))
        else:
            words[-1] = (words[-1][0] + piece, [*words[-1][1], p])
    return [(word.replace("\u2581", ""), float(np.mean(ps))) for word, ps in words]


def encoded(tokenizer, reasoning):
    chain = ReasoningChain(chain_id="c", question_id="q", question="?", reasoning=reasoning, answer="4")
    return ChainEncoder(tokenizer).encode(chain)


@pytest.mark.parametrize("index", [0, 7, 20])
def test_a_token_has_the_probability_of_its_word(classifier_folder, tokenizer, example_chains, deviation, index):
    chain = ChainEncoder(tokenizer).encode(example_chains[index])
    text = chain.chain.reasoning
    by_character, place = np.full(len(text), np.nan), 0
    for word, probability in published_words(classifier_folder, text):
        end = text.index(word, place) + len(word)
        by_character[place:end] = probability
        place = end
    assert text[place:].strip() == ""
    visible = np.array([not character.isspace() for character in text])
    score = Llmlingua2(model=str(classifier_folder)).score(chain, loaded=None).score
    tokens = [slice(start, end) for start, end in chain.spans]
    expected = [by_character[span][visible[span]].mean() if visible[span].any() else np.nan for span in tokens]
    has_word = np.isfinite(expected)
    assert has_word.sum() > 20
    assert deviation("llmlingua2", score[has_word], np.array(expected)[has_word]) < 1e-6
    assert ((score > 0) & (score < 1)).all()
    assert len(set(score.round(6))) > len(score) / 3


def test_every_token_of_a_long_text_is_read_in_its_chunk(classifier_folder, tokenizer, example_chains):
    text = " ".join(chain.reasoning for chain in example_chains[:30])
    chain = encoded(tokenizer, text)
    score = Llmlingua2(model=str(classifier_folder)).score(chain, loaded=None).score
    assert score.shape == (chain.n_reasoning,)
    assert np.isfinite(score).all()
    tokenizer_of = Tokenizer.from_file(str(classifier_folder / "tokenizer.json"))
    encoding = tokenizer_of.encode(text, add_special_tokens=False)
    chunks = _chunks(encoding, text)
    assert len(chunks) > 2
    assert [start for start, _ in chunks] == [0, *(end for _, end in chunks[:-1])]
    assert chunks[-1][1] == len(encoding.ids)
    assert max(end - start for start, end in chunks) <= 510
    for _, end in chunks[:-1]:
        gap = text[encoding.offsets[end - 1][1] : encoding.offsets[end][0] + 1]
        assert encoding.tokens[end - 1] == "." or "\n" in gap
    first = text[: encoding.offsets[chunks[0][1] - 1][1]]
    alone = Llmlingua2(model=str(classifier_folder)).score(encoded(tokenizer, first), loaded=None).score
    np.testing.assert_allclose(alone[:-1], score[: len(alone) - 1], atol=1e-6)


def test_a_text_without_an_end_is_cut_at_the_limit(classifier_folder):
    tokenizer = Tokenizer.from_file(str(classifier_folder / "tokenizer.json"))
    text = "one two " * 700
    encoding = tokenizer.encode(text, add_special_tokens=False)
    chunks = _chunks(encoding, text)
    assert {end - start for start, end in chunks[:-1]} == {510}


@pytest.mark.parametrize("text", ["<s> is </s> a word", "\n\n  So 3.\n\n", "\N{PILE OF POO} = 3"])
def test_text_stays_text_and_every_token_has_a_score(classifier_folder, tokenizer, text):
    chain = encoded(tokenizer, text)
    score = Llmlingua2(model=str(classifier_folder)).score(chain, loaded=None).score
    assert score.shape == (chain.n_reasoning,)
    assert ((score > 0) & (score < 1)).all()


def test_text_that_spells_a_special_token_is_read_as_text(classifier_folder):
    tokenizer = PreTrainedTokenizerFast.from_pretrained(classifier_folder)
    text = "So <s> is </s> a <mask> <unk> 3."
    encoding = _reading_all_as_text(tokenizer).encode(text)
    assert set(encoding.ids).isdisjoint(set(tokenizer.all_special_ids) - {tokenizer.unk_token_id})
    assert "".join(text[start:end] for start, end in encoding.offsets).replace(" ", "") == text.replace(" ", "")


def test_the_question_does_not_matter(classifier_folder, tokenizer, example_chains):
    chain = example_chains[3]
    other = chain.model_copy(update={"question": "Why?", "answer": "No."})
    scorer = Llmlingua2(model=str(classifier_folder))
    one, two = (scorer.score(ChainEncoder(tokenizer).encode(text), loaded=None).score for text in (chain, other))
    np.testing.assert_array_equal(one, two)


def test_a_classifier_that_is_not_there_is_named_with_the_remedy(tokenizer, tmp_path):
    with pytest.raises(PluginError, match=r"the classifier .*nope cannot be loaded .*--scorers llmlingua2:model=FOLDER"):
        Llmlingua2(model=str(tmp_path / "nope")).score(encoded(tokenizer, "So 3."), loaded=None)


def test_another_kind_of_model_is_refused(classifier_folder, tokenizer, tmp_path):
    folder = tmp_path / "three"
    model = XLMRobertaForTokenClassification.from_pretrained(classifier_folder, num_labels=3, ignore_mismatched_sizes=True)
    model.save_pretrained(folder)
    PreTrainedTokenizerFast.from_pretrained(classifier_folder).save_pretrained(folder)
    with pytest.raises(PluginError, match=r"is not a classifier of LLMLingua-2: .* two labels, and has 3"):
        Llmlingua2(model=str(folder)).score(encoded(tokenizer, "So 3."), loaded=None)


def test_a_text_that_it_does_not_read_stops_the_chain(classifier_folder, tokenizer):
    chain = encoded(tokenizer, "a")
    blank = chain.chain.model_copy(update={"reasoning": ""})
    with pytest.raises(MeasurementError, match="reads no token in the reasoning"):
        Llmlingua2(model=str(classifier_folder)).score(dataclasses.replace(chain, chain=blank), loaded=None)


def test_it_is_left_out_of_all_because_it_needs_a_second_model():
    assert available("scorer")["llmlingua2"].needs.startswith("a second model, 2.2 GB: pip install")
