"""What stands between prompt, reasoning and answer of a model: found out from its chat template and its vocabulary."""

import re
from typing import Final

from transformers import PreTrainedTokenizerBase

from reasoning_anatomy.errors import EncodingError
from reasoning_anatomy.models.chat_template import ChatTemplate
from reasoning_anatomy.specs import EncodingOptions
from reasoning_anatomy.thinking import THINKING_TAGS, ThinkingTags

_PLAIN: Final = ("", "\n")
_OPTIONS: Final = {"before_reasoning": "--before-reasoning", "before_answer": "--before-answer"}


def joints(options: EncodingOptions, template: ChatTemplate, tokenizer: PreTrainedTokenizerBase) -> tuple[str, str]:
    """Text before the reasoning and before the answer: as the user says, else as the model thinks.

    Raises
    ------
    EncodingError
        The user's joints open or close the thinking otherwise than this model does.
    """
    given = (options.before_reasoning, options.before_answer)
    if options.joints == "none":
        before, between = (plain if own is None else own for own, plain in zip(given, _PLAIN, strict=True))
        return before, between
    found = _found(template, tokenizer)
    if found is None:
        before = options.before_reasoning or ""
        opened = _open_tags(template.generation_prompt + before)
        found = before, _closing(before, opened) if opened else _PLAIN[1]
    for own, models, option in zip(given, found, _OPTIONS.values(), strict=True):
        if own is not None and tags_in(own) != tags_in(models):
            raise EncodingError(
                f"{option} {own!r} contradicts this model, whose prompt ends in {template.generation_prompt!r}: expected "
                f"{models!r}; leave the option out, or turn the check off with --joints none"
            )
    before, between = (model if own is None else own for own, model in zip(given, found, strict=True))
    return before, between


def _found(template: ChatTemplate, tokenizer: PreTrainedTokenizerBase) -> tuple[str, str] | None:
    """Joints of a model that thinks between tags; None for one that does not, as far as template and vocabulary tell."""
    prompt = template.generation_prompt
    source, added = str(tokenizer.chat_template or ""), {token.content for token in tokenizer.added_tokens_decoder.values()}
    known = [tags for tags in THINKING_TAGS if tags.opening in added or tags.opening in source]
    if any(prompt.rstrip().endswith(tags.closing) for tags in known):
        return _PLAIN  # thinking is switched off
    if template.around_reasoning is not None:
        return template.around_reasoning
    if (opened := _open_tags(prompt)) is not None:
        return "", _closing(prompt, opened)
    for tags in known:
        if tags.closing in added and tags.closing in source:
            return _around(tags, source)
    return None


def _around(tags: ThinkingTags, source: str) -> tuple[str, str]:
    """Write the tags as a template writes a thinking that is empty, if it does; else on lines of their own."""
    line = r"(?:\\n|\n)"  # as it stands in a string of the template, or as it is
    empty = re.search(f"{re.escape(tags.opening)}({line}*){re.escape(tags.closing)}({line}*)", source)
    if empty is None:
        return f"{tags.opening}\n", f"\n{tags.closing}\n\n"
    within, behind = (len(re.findall(line, found)) for found in empty.groups())
    return tags.opening + "\n" * min(within, 1), "\n" * (within - 1) + tags.closing + "\n" * behind


def _open_tags(text: str) -> ThinkingTags | None:
    """Tags whose opening one is the last in a text that is not closed."""
    opened = {text.rfind(tags.opening): tags for tags in THINKING_TAGS if text.rfind(tags.opening) > text.rfind(tags.closing)}
    return opened[max(opened)] if opened else None


def _closing(text: str, tags: ThinkingTags) -> str:
    """Close what a text opens, on lines of its own if the opening tag has one."""
    return f"\n{tags.closing}\n\n" if text.rpartition(tags.opening)[2].startswith("\n") else tags.closing


def opened_tag(text: str) -> str:
    """Return the thinking tag that a text opens and does not close; empty if there is none."""
    tags = _open_tags(text)
    return tags.opening if tags else ""


def tags_in(text: str) -> list[str]:
    """List the thinking tags of a text in order."""
    every = sorted({tag for tags in THINKING_TAGS for tag in tags}, key=len, reverse=True)
    return re.findall("|".join(map(re.escape, every)), text)
