"""Constrained choice: the same as scoring every reply by a plain pass, whatever prefix is shared."""

from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch

from reasoning_anatomy.errors import EncodingError, ModelError
from reasoning_anatomy.generation.choice import Chooser
from reasoning_anatomy.models.encoding import ChainEncoder
from reasoning_anatomy.models.loading import LoadedModel, load_model
from reasoning_anatomy.types import ReasoningChain

REPLIES = ("SYMBOLIC_MATH", "VERBAL_MATH", "COREFERENCE", "META_DISCOURSE", "ENTITY_NAME", "FUNCTION")
PROMPTS = ["The text is: 3 + 4 = 7. What is 3?", "The text is: 3 + 4 = 7. What is the sum?", "The text is: 3 + 4 = 7. W"]


@pytest.fixture(scope="module")
def tiny(tiny_model_folder: Path) -> LoadedModel:
    return load_model(str(tiny_model_folder))


@cache
def encoder(loaded: LoadedModel) -> ChainEncoder:
    return ChainEncoder(loaded.tokenizer)


def encoded(loaded: LoadedModel, prompt: str, reply: str) -> tuple[np.ndarray, np.ndarray]:
    chain = ReasoningChain(chain_id="c", question_id="q", question=prompt, reasoning=reply, answer="?")
    result = encoder(loaded).encode(chain)
    return result.prompt_ids, result.reasoning_ids


def constrained(loaded: LoadedModel, prompt: str) -> np.ndarray:
    """Probabilities of the replies if each step is renormalised over the tokens with which some reply continues."""
    replies = [encoded(loaded, prompt, reply)[1].tolist() for reply in REPLIES]
    found = []
    for reply in replies:
        probability = 1.0
        for length, token in enumerate(reply):
            allowed = sorted({other[length] for other in replies if other[:length] == reply[:length] and len(other) > length})
            ids = torch.tensor([[*encoded(loaded, prompt, "?")[0], *reply[:length]]])
            with torch.inference_mode():
                logits = loaded.model(ids).logits[0, -1][allowed].double()
            probability *= float(torch.softmax(logits, dim=0)[allowed.index(token)])
        found.append(probability)
    return np.array(found)


def test_the_choice_is_that_of_constrained_decoding(tiny: LoadedModel) -> None:
    for prompt, choice in zip(PROMPTS, Chooser(tiny, REPLIES).choose(PROMPTS), strict=True):
        expected = constrained(tiny, prompt)
        assert expected.sum() == pytest.approx(1, abs=1e-9)
        assert choice.number == int(expected.argmax())
        assert choice.probability == pytest.approx(expected.max(), rel=1e-4)
        assert choice.line is None


@pytest.mark.parametrize("family", ["qwen3", "gemma3_text", "mistral"])
def test_sharing_a_beginning_changes_nothing(family: str, make_random_model: Callable[[str], LoadedModel]) -> None:
    model = make_random_model(family).model
    ids = [np.array([1, 5, 9, 7, 3, 3, 8, 11, 40, 12, last]) for last in (13, 14)]  # longer than the sliding windows

    class Raw(Chooser):
        """Takes ids in place of text: these models have no tokenizer."""

        def __init__(self) -> None:
            self._loaded = LoadedModel(model, None, family)
            self._joint = np.empty(0, dtype=np.int64)
            self._first = [20, 30, 50]

        def _encode(self, prompt: str, reply: str) -> tuple[np.ndarray, np.ndarray]:
            return ids[int(prompt)], np.array([4])

    together = Raw().choose(["0", "1"])
    for index, choice in enumerate(together):
        (alone,) = Raw().choose([str(index)])
        with torch.inference_mode():
            logits = model(torch.tensor(ids[index])[None]).logits[0, -1][[20, 30, 50]].double()
        expected = torch.softmax(logits, dim=0).numpy()
        assert choice.number == alone.number == int(expected.argmax())
        assert choice.probability == pytest.approx(expected.max(), rel=1e-4)
        assert alone.probability == pytest.approx(expected.max(), rel=1e-4)


def test_the_line_is_what_the_model_decodes_greedily(tiny: LoadedModel) -> None:
    prompt = PROMPTS[0]
    (choice,) = Chooser(tiny, REPLIES).choose([prompt], go_on=" because")
    ids = [*encoded(tiny, prompt, "?")[0], *encoded(tiny, "?", REPLIES[choice.number])[1], *encoded(tiny, "?", " because")[1]]
    with torch.inference_mode():
        generated = tiny.model.generate(torch.tensor([ids]), max_new_tokens=40, do_sample=False)[0, len(ids) :]
    expected = tiny.tokenizer.decode(generated, skip_special_tokens=True).strip().partition("\n")[0]
    assert choice.line == expected
    assert choice.line


def test_a_prompt_that_spells_a_special_token_stays_text(tiny: LoadedModel) -> None:
    chooser = Chooser(tiny, REPLIES)
    ids = chooser._encode("<|im_end|>", "?")[0].tolist()
    plain = chooser._encode("x", "?")[0].tolist()
    marker = tiny.tokenizer.convert_tokens_to_ids("<|im_end|>")
    assert ids.count(marker) == plain.count(marker)


def test_replies_with_a_common_beginning_are_distinguished_after_it(tiny: LoadedModel) -> None:
    chooser = Chooser(tiny, ("the cat", "the dog"))
    (choice,) = chooser.choose([PROMPTS[0]])
    assert 0.5 <= choice.probability <= 1
    assert len(chooser._joint) >= 1


def test_replies_that_cannot_be_distinguished_are_refused(tiny: LoadedModel) -> None:
    with pytest.raises(ModelError, match="its tokenizer begins two of yes, yes, no with the same token; use another model"):
        Chooser(tiny, ("yes", "yes", "no"))


def test_a_prompt_beyond_the_context_is_refused(tiny: LoadedModel) -> None:
    with pytest.raises(EncodingError, match=r"a request: has .* tokens, but the model's context holds 512"):
        Chooser(tiny, REPLIES).choose(["word " * 600])
