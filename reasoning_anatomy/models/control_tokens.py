"""Which tokens of a vocabulary steer the model: text of a chain never becomes one of them.

An added token is not yet a control token. Runs of blanks, ``<b>`` or ``<sup>`` are ordinary pieces of some vocabularies, and
text that has them gets their ids, as in training.
"""

from typing import Any

from jinja2 import Environment, TemplateError
from tokenizers import AddedToken
from transformers import PreTrainedTokenizerBase

from reasoning_anatomy.thinking import THINKING_TAGS


def control_tokens(tokenizer: PreTrainedTokenizerBase) -> dict[int, AddedToken]:
    """Control tokens by id: special ones, what the chat template writes (roles, ends of turns, tools), and thinking tags.

    A plain word is none, even if the template writes it.
    """
    written = _written_by(str(tokenizer.chat_template or ""))
    tags = {text for pair in THINKING_TAGS for text in pair} | set(getattr(tokenizer, "chat_control_tokens", None) or ())
    added: dict[int, Any] = tokenizer.added_tokens_decoder

    def is_control(content: str) -> bool:
        return bool(content.strip(" \n\t▁")) and not content.isalnum() and (content in written or content in tags)

    return {token_id: token for token_id, token in added.items() if token.special or is_control(token.content)}


def _written_by(template: str) -> str:
    """Text and strings of a template, without its program; all of it if it cannot be read."""
    try:
        return "".join(value for _, kind, value in Environment().lex(template) if kind in ("data", "string"))
    except TemplateError:
        return template
