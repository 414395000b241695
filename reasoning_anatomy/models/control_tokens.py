"""Which tokens of a vocabulary steer the model: text of a chain never becomes one of them.

An added token is not yet a control token. Runs of blanks, ``<b>`` or ``<sup>`` are ordinary pieces of some vocabularies, and
text that has them gets their ids, as in training.
"""

from typing import Any

from tokenizers import AddedToken
from transformers import PreTrainedTokenizerBase

from reasoning_anatomy.thinking import THINKING_TAGS


def control_tokens(tokenizer: PreTrainedTokenizerBase) -> dict[int, AddedToken]:
    """Control tokens by id: special ones, what the chat template names (roles, ends of turns, tools), and thinking tags."""
    template = str(tokenizer.chat_template or "")
    named = set(getattr(tokenizer, "chat_control_tokens", None) or ())
    tags = {text for pair in THINKING_TAGS for text in pair}
    added: dict[int, Any] = tokenizer.added_tokens_decoder
    return {
        token_id: token
        for token_id, token in added.items()
        if token.special or (token.content.strip(" \n\t▁") and (token.content in template or token.content in tags | named))
    }
