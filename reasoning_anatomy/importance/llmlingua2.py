"""What a small classifier would keep of the text, whatever model reads it."""

import json
import string
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Final

import numpy as np
import torch
from tokenizers import Encoding, Tokenizer
from transformers import AutoModelForTokenClassification, AutoTokenizer, PreTrainedModel

from reasoning_anatomy.errors import MeasurementError, PluginError
from reasoning_anatomy.models.progress_bars import without_progress_bars
from reasoning_anatomy.types import EncodedChain, FloatArray, TokenScores

if TYPE_CHECKING:
    from reasoning_anatomy.models.loading import LoadedModel

_CHUNK: Final = 510  # tokens, so that with the two at its ends there are 512
_PRESERVE: Final = 1
_loading: Final = threading.Lock()
_loaded: Final[dict[tuple[str, str | None, str], "_Classifier"]] = {}


@dataclass(frozen=True, kw_only=True)
class Llmlingua2:
    """Probability that LLMLingua-2 preserves the word that the token belongs to, in 0..1.

    A classifier of tokens (XLM-RoBERTa) reads the reasoning alone: neither the question nor the answer nor the measured
    model enters. The text is cut into chunks of at most 510 of its tokens, each ending with the last full stop or line
    break that it holds. The probability of a word is the mean over its pieces. A reasoning token that touches several
    words has the mean over its characters, white space aside; one that is all white space has that of the word after it.
    No word is forced to stay.

    Attributes
    ----------
    model
        Hub id or local folder of the classifier.
    revision
        Commit, tag or branch on the hub.

    References
    ----------
    Pan et al., LLMLingua-2: Data Distillation for Efficient and Faithful Task-Agnostic Prompt Compression,
    arXiv:2403.12968, section 4; on reasoning: TokenSkip, arXiv:2502.12067.
    """

    needs: ClassVar[str] = "a second model, 2.2 GB: pip install 'reasoning-anatomy[llmlingua2]', then name llmlingua2"

    model: str = "microsoft/llmlingua-2-xlm-roberta-large-meetingbank"
    revision: str | None = None

    def score(self, chain: EncodedChain, *, loaded: "LoadedModel | None") -> TokenScores:
        """Score the reasoning tokens of one chain; of the measured model only its device is used.

        Raises
        ------
        PluginError
            The classifier cannot be loaded, or is not one of LLMLingua-2.
        MeasurementError
            It reads no token in the reasoning.
        """
        device = torch.device("cpu") if loaded is None else loaded.device
        by_character = _classifier(self.model, self.revision, device).of_characters(chain.chain.reasoning)
        if not len(by_character):
            raise MeasurementError(chain.chain_id, f"{self.model} reads no token in the reasoning; leave the chain out")
        visible = np.array([not character.isspace() for character in chain.chain.reasoning])
        return TokenScores(np.array([_of_token(by_character, visible, *span) for span in chain.spans.tolist()]))


def _of_token(by_character: FloatArray, visible: np.ndarray, start: int, end: int) -> float:
    """Mean over the visible characters of a span, or over all if none is; of an empty span, the character at its start."""
    start = min(start, len(by_character) - 1)
    span = slice(start, max(end, start + 1))
    return float(by_character[span][visible[span]].mean() if visible[span].any() else by_character[span].mean())


@dataclass(frozen=True, eq=False)
class _Classifier:
    """A classifier of tokens with its tokenizer, which finds no special token in any text."""

    model: PreTrainedModel
    tokenizer: Tokenizer
    ends: tuple[int, int]

    def of_characters(self, text: str) -> FloatArray:
        """(characters,) probability of the word that each character belongs to; empty if no token is read."""
        encoding = self.tokenizer.encode(text, add_special_tokens=False)
        if not encoding.ids:
            return np.empty(0)
        probability = np.concatenate([self._of_chunk(encoding.ids[start:end]) for start, end in _chunks(encoding, text)])
        first_piece = np.flatnonzero(self._begin_words(encoding))
        pieces_of_word = np.diff(np.append(first_piece, len(probability)))
        of_word = np.add.reduceat(probability, first_piece) / pieces_of_word
        word_ends = [encoding.offsets[index - 1][1] for index in first_piece[1:]]
        by_character: FloatArray = np.repeat(of_word, np.diff([0, *np.maximum.accumulate([*word_ends, len(text)])]))
        return by_character

    def _begin_words(self, encoding: Encoding) -> list[bool]:
        """Whether each piece begins a word; punctuation always does."""
        continues = type(self.tokenizer.model).__name__ == "WordPiece"
        begins = [
            not piece.startswith("##") if continues else piece.startswith("\u2581") or piece in string.punctuation
            for piece in encoding.tokens
        ]
        return [True, *begins[1:]]

    @torch.inference_mode()
    def _of_chunk(self, ids: list[int]) -> FloatArray:
        """(pieces,) probability that each is preserved."""
        inputs = torch.tensor([[self.ends[0], *ids, self.ends[1]]], device=self.model.device)
        logits = self.model(input_ids=inputs, attention_mask=torch.ones_like(inputs)).logits[0, 1:-1]
        probability: FloatArray = torch.softmax(logits.cpu().double(), dim=-1)[:, _PRESERVE].numpy()
        return probability


def _chunks(encoding: Encoding, text: str) -> list[tuple[int, int]]:
    """Half-open ranges of tokens, each at most `_CHUNK` long and ending, if possible, with a sentence or line."""
    n_tokens = len(encoding.ids)
    starts = [start for start, _ in encoding.offsets] + [len(text)]
    is_end = [
        piece == "." or "\n" in text[end : max(end, starts[index + 1])]
        for index, (piece, (_, end)) in enumerate(zip(encoding.tokens, encoding.offsets, strict=True))
    ]
    chunks, start = [], 0
    while n_tokens - start > _CHUNK:
        ends = [index + 1 for index in range(start, start + _CHUNK) if is_end[index]]
        chunks.append((start, ends[-1] if ends else start + _CHUNK))
        start = chunks[-1][1]
    return [*chunks, (start, n_tokens)]


def _classifier(model: str, revision: str | None, device: torch.device) -> _Classifier:
    """Load a classifier once for each device."""
    key = (model, revision, str(device))
    with _loading:
        if key not in _loaded:
            _loaded[key] = _load(model, revision, device)
        return _loaded[key]


def _load(model: str, revision: str | None, device: torch.device) -> _Classifier:
    try:
        with without_progress_bars():
            tokenizer: Any = AutoTokenizer.from_pretrained(model, revision=revision)
            classifier = AutoModelForTokenClassification.from_pretrained(model, revision=revision, dtype=torch.float32)
    except (OSError, ValueError, ImportError, RuntimeError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise PluginError(
            f"llmlingua2: the classifier {model} cannot be loaded ({reason}); give a hub id or a folder: "
            "--scorers llmlingua2:model=FOLDER"
        ) from error
    if not tokenizer.is_fast or classifier.config.num_labels != 2:
        raise PluginError(
            f"llmlingua2: {model} is not a classifier of LLMLingua-2: it needs a fast tokenizer and two labels, and has "
            f"{classifier.config.num_labels}"
        )
    ends = (tokenizer.cls_token_id, tokenizer.sep_token_id)
    return _Classifier(classifier.eval().to(device), _reading_all_as_text(tokenizer), ends)


def _reading_all_as_text(tokenizer: Any) -> Tokenizer:
    """Build a copy of the tokenizer that finds no special token in any text."""
    state = json.loads(tokenizer.backend_tokenizer.to_str())
    state["truncation"] = state["padding"] = state["post_processor"] = None
    state["added_tokens"] = []
    if state["model"]["type"] == "Unigram":  # which finds them among its pieces, too
        for token_id in tokenizer.all_special_ids:
            if token_id < len(state["model"]["vocab"]):
                state["model"]["vocab"][token_id][0] = f"\uffff{token_id}\uffff"
    return Tokenizer.from_str(json.dumps(state))
