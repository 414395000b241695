"""Which of a few given replies a model would give: the simplest decoding that is really constrained."""

import copy
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import numpy as np
import torch
from transformers import DynamicCache

from reasoning_anatomy.errors import ModelError
from reasoning_anatomy.models.encoding import ChainEncoder, EncodingOptions
from reasoning_anatomy.models.loading import LoadedModel
from reasoning_anatomy.types import IntArray, ReasoningChain

_LONGEST_LINE: Final = 40


class Choice(NamedTuple):
    """What a model chose.

    Attributes
    ----------
    number
        Index of the chosen reply, from 0.
    probability
        Its probability among the replies.
    line
        The line with which the model continues, not trusted; None if none was asked for.
    """

    number: int
    probability: float
    line: str | None


class Chooser:
    """Lets a model choose among given replies.

    The replies begin with different tokens, so the first token decides: under constrained decoding, the model's probabilities
    of the replies are exactly its probabilities of these tokens, renormalised; every later token is forced.

    Parameters
    ----------
    loaded
        The model.
    choices
        Two or more replies that begin with different tokens.

    Raises
    ------
    ModelError
        Two replies begin with the same token in this model's vocabulary.
    """

    def __init__(self, loaded: LoadedModel, choices: Sequence[str]) -> None:
        self._loaded = loaded
        self._encoder = ChainEncoder(loaded.tokenizer, EncodingOptions(joints="none"), context_length=loaded.context_length)
        self._replies = [self._encode("?", choice)[1] for choice in choices]
        n_common = _common_length(self._replies)
        self._joint = self._replies[0][:n_common]
        self._first = [int(reply[n_common]) for reply in self._replies if len(reply) > n_common]
        if len(set(self._first)) < len(choices):
            raise ModelError(
                f"{loaded.id}: its tokenizer begins two of {', '.join(choices)} with the same token; use another model"
            )

    @torch.inference_mode()
    def choose(self, prompts: Sequence[str], *, go_on: str | None = None) -> list[Choice]:
        """Choose a reply to every prompt; the prefix that all prompts share is run once.

        Parameters
        ----------
        prompts
            Each is one message of the user; special tokens in it stay text.
        go_on
            Text after the reply from which the model continues for one line; None asks for no line.

        Raises
        ------
        EncodingError
            A prompt is longer than the model's context.
        """
        ids = [np.concatenate([self._encode(prompt, "?")[0], self._joint]) for prompt in prompts]
        n_shared = min(_common_length(ids), min(map(len, ids)) - 1)
        shared = DynamicCache(config=self._loaded.model.config)
        if n_shared:
            self._run(ids[0][:n_shared], shared)
        return [self._choose(prompt[n_shared:], copy.deepcopy(shared), go_on) for prompt in ids]

    def _choose(self, prompt: IntArray, cache: DynamicCache, go_on: str | None) -> Choice:
        logits = self._run(prompt, cache)
        probabilities = torch.softmax(logits[self._first].cpu().double(), dim=0).numpy()
        best = int(np.argmax(probabilities))
        line = None
        if go_on is not None:
            line = self._line(np.concatenate([self._replies[best][len(self._joint) :], self._encode("?", go_on)[1]]), cache)
        return Choice(best, float(probabilities[best]), line)

    def _line(self, ids: IntArray, cache: DynamicCache) -> str:
        """Decode greedily to the end of the line, after ``ids`` (T,)."""
        tokenizer: Any = self._loaded.tokenizer
        line: list[int] = []
        text = ""
        while len(line) < _LONGEST_LINE and "\n" not in text.lstrip():
            token = int(self._run(ids, cache).argmax())
            if token == tokenizer.eos_token_id:
                break
            line.append(token)
            text = tokenizer.decode(line, skip_special_tokens=True)
            ids = np.array([token])
        return text.strip().partition("\n")[0]

    def _run(self, ids: IntArray, cache: DynamicCache) -> torch.Tensor:
        """Run ``ids`` (T,) after what the cache holds -> (vocabulary,) logits after the last."""
        model: Any = self._loaded.model
        batch = torch.tensor(ids, device=self._loaded.device)[None]
        logits: torch.Tensor = model(batch, past_key_values=cache, use_cache=True, logits_to_keep=1).logits
        return logits[0, -1].float()

    def _encode(self, prompt: str, reply: str) -> tuple[IntArray, IntArray]:
        """Ids (p,) of a prompt with the template around it, and ids (r,) of a reply."""
        chain = ReasoningChain(chain_id="a request", question_id="-", question=prompt, reasoning=reply, answer="?")
        encoded = self._encoder.encode(chain)
        return encoded.prompt_ids, encoded.reasoning_ids


def _common_length(sequences: Sequence[IntArray]) -> int:
    """Length of the longest prefix that all sequences share."""
    shortest = min(map(len, sequences))
    stacked = np.stack([sequence[:shortest] for sequence in sequences])
    differs = np.flatnonzero((stacked != stacked[0]).any(axis=0))
    return int(differs[0]) if differs.size else shortest
