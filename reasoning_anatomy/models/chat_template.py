"""The model's chat template around a chain, and whether it shows what it was given."""

import datetime
import re
from collections.abc import Mapping, Sequence
from functools import cache, cached_property
from typing import Any, Final

from jinja2 import TemplateError
from transformers import PreTrainedTokenizerBase

from reasoning_anatomy.errors import EncodingError
from reasoning_anatomy.models.sequence_tokenizer import Piece
from reasoning_anatomy.template_variables import template_variable

_QUESTION: Final = "QUESTIONPLACEHOLDER"
_SYSTEM: Final = "SYSTEMPLACEHOLDER"
_REASONING: Final = "REASONINGPLACEHOLDER"
_REPLY: Final = "REPLYPLACEHOLDER"
_KEYS_OF_REASONING: Final = ("reasoning_content", "reasoning", "thinking")
_ANOTHER_DAY: Final = datetime.date(2001, 2, 3)

Messages = Sequence[Mapping[str, str]]


class ChatTemplate:
    """Renders prompts for one tokenizer; without a template, they are plain text.

    Parameters
    ----------
    tokenizer
        The model's.
    variables
        ``NAME=VALUE`` for the template, the value as JSON or else as text: ``enable_thinking=false``.
    date
        What the template takes for today, as ``2026-11-25``; today if None.

    Raises
    ------
    EncodingError
        A variable has no value, or the template does not use it; or the date cannot be read.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, *, variables: Sequence[str] = (), date: str | None = None) -> None:
        self._tokenizer: Any = tokenizer
        self._date = _parsed(date)
        self._variables = dict(map(self._variable, variables))
        if len(self._variables) < len(variables):
            raise EncodingError(f"template variables {' '.join(variables)}: one is given twice; keep one value")
        self._frame = cache(self._verified_frame)

    @cached_property
    def date(self) -> str | None:
        """The date that the template writes into a prompt, as ``2026-11-25``; None if it writes none."""
        if not self._has_template:
            return None
        is_dated = any(self._is_dated(system) for system in (None, _SYSTEM))
        return self._date.isoformat() if is_dated else None

    def prompt(self, question: str, system: str | None) -> list[Piece]:
        """Prompt of a question as the template renders it: its own text is trusted, question and system prompt are not.

        Raises
        ------
        EncodingError
            The template fails or refuses the roles, or question and system prompt do not stand in the prompt, once each.
        """
        if not self._has_template:
            return [*([Piece(system), Piece("\n\n", True)] if system else []), Piece(question), Piece("\n", True)]
        has_text = system is not None and bool(system.strip())
        frame = self._frame(_SYSTEM if has_text else system)
        rendered = self._render(_messages(question, system))
        for of_question in (question, question.strip()):
            for of_system in (system or "", (system or "").strip()):
                pieces = _filled(frame, {_QUESTION: of_question, _SYSTEM: of_system})
                if "".join(piece.text for piece in pieces) == rendered:
                    return pieces
        texts = [question, system] if has_text and system is not None else [question]
        if all(rendered.count(text) == 1 for text in texts):  # a word in a text may change what stands around it
            return _filled(rendered, {text: text for text in texts})
        raise EncodingError(
            "the model's chat template changes the text of the question or of the system prompt, or writes it more than once; "
            "use another model"
        )

    @cached_property
    def generation_prompt(self) -> str:
        """What the template puts after a question, before what the model generates."""
        return self._frame(None).rpartition(_QUESTION)[2] if self._has_template else "\n"

    @cached_property
    def around_reasoning(self) -> tuple[str, str] | None:
        """What the template puts before and after the reasoning of an earlier turn: after the prompt, and before the answer.

        None if it does not show reasoning as it would have been generated after its prompt.
        """
        for key in _KEYS_OF_REASONING if self._has_template else ():
            rendered = self._conversation({key: _REASONING})
            begin, before_reply, _ = rendered.partition(_REPLY)
            before, shows_reasoning, between = begin.removeprefix(self._frame(None)).partition(_REASONING)
            if begin.startswith(self._frame(None)) and shows_reasoning and before_reply:
                return before, between
        return None

    @cached_property
    def end_of_turn(self) -> str:
        """What the template puts after the model's reply: the end-of-turn token, without the white space around it."""
        if self._has_template:
            _, has_reply, end = self._conversation({}).rpartition(_REPLY)
            if has_reply:
                return end.strip()
        return self._tokenizer.eos_token or ""

    def _is_dated(self, system: str | None) -> bool:
        messages = self._in_form(_messages(_QUESTION, system))
        try:
            return self._apply(messages, date=self._date) != self._apply(messages, date=_ANOTHER_DAY)
        except EncodingError:
            if system is None:
                raise
            return False  # the template takes no system prompt, and a chain that has one is refused

    @property
    def _has_template(self) -> bool:
        return self._tokenizer.chat_template is not None

    def _verified_frame(self, system: str | None) -> str:
        """Prompt with placeholders, each of which stands in it once."""
        frame = self._render(_messages(_QUESTION, system))
        for placeholder, name in ((_QUESTION, "question"), (_SYSTEM, "system prompt")):
            n_found = frame.count(placeholder)
            if placeholder in (_QUESTION, system) and n_found != 1:
                raise EncodingError(
                    f"the model's chat template shows the {name} {n_found} times, expected once; use a model whose template "
                    "shows it, or repair the template"
                )
        return frame

    def _conversation(self, of_reply: Mapping[str, str]) -> str:
        """Question and reply as earlier turns."""
        reply = {"role": "assistant", "content": _REPLY, **of_reply}
        return self._render([*_messages(_QUESTION, None), reply], generation_prompt=False)

    def _render(self, messages: Messages, *, generation_prompt: bool = True) -> str:
        return self._apply(self._in_form(messages), generation_prompt=generation_prompt, date=self._date)

    def _in_form(self, messages: Messages) -> list[dict[str, Any]]:
        """Messages whose content is text, or a list of parts if that is what the template takes."""
        if not self._takes_parts:
            return [dict(message) for message in messages]
        return [{**message, "content": [{"type": "text", "text": message["content"]}]} for message in messages]

    @cached_property
    def _takes_parts(self) -> bool:
        try:
            as_text = self._apply([dict(message) for message in _messages(_QUESTION, None)], date=self._date)
        except EncodingError:
            return True  # if it fails on parts, too, the prompt says so
        return _QUESTION not in as_text

    def _apply(self, messages: list[dict[str, Any]], *, date: datetime.date, generation_prompt: bool = True) -> str:
        try:
            source = _at(date, self._tokenizer.get_chat_template())
            text: str = self._tokenizer.apply_chat_template(
                messages, chat_template=source, tokenize=False, add_generation_prompt=generation_prompt, **self._variables
            )
        except TemplateError as error:
            roles = ", ".join(message["role"] for message in messages)
            raise EncodingError(f"the model's chat template refuses the roles {roles}: {error}") from error
        except Exception as error:  # a template is a program of others, and fails as it likes
            reason = f"{type(error).__name__}: {error}".partition("\n")[0]
            raise EncodingError(f"the model's chat template fails ({reason}); repair it, or use another model") from error
        return text

    def _variable(self, typed: str) -> tuple[str, Any]:
        name, value = template_variable(typed)
        if not uses_variable(self._tokenizer, typed):
            raise EncodingError(f"template variable {name!r}: the model's chat template does not use it; leave it out")
        return name, value


def uses_variable(tokenizer: PreTrainedTokenizerBase, typed: str) -> bool:
    """Whether a model's chat template has the variable of ``NAME=VALUE``."""
    name, _ = template_variable(typed)
    return re.search(rf"\b{name}\b", str(tokenizer.chat_template or "")) is not None


def _messages(question: str, system: str | None) -> Messages:
    return [
        *([] if system is None else [{"role": "system", "content": system}]),
        {"role": "user", "content": question},
    ]


def _filled(frame: str, texts: Mapping[str, str]) -> list[Piece]:
    """Cut a frame at its placeholders: text of the template, trusted, and the texts, which are not."""
    pattern = "|".join(map(re.escape, sorted(texts, key=len, reverse=True)))
    return [Piece(texts[part]) if part in texts else Piece(part, True) for part in re.split(f"({pattern})", frame) if part]


def _at(date: datetime.date, source: str) -> str:
    """Stop the clock of a template at the beginning of a day: a macro hides the function that transformers gives it."""
    if "strftime_now" not in source:
        return source
    forms = sorted(set(re.findall(r"%-?[A-Za-z]", source)))
    of_day = "".join(f"|replace({form!r}, {date.strftime(form)!r})" for form in forms)
    # the line break ends with the block: the template still begins on a line of its own
    return f"{{% macro strftime_now(form) %}}{{{{ form{of_day} }}}}{{% endmacro %}}\n{source}"


def _parsed(date: str | None) -> datetime.date:
    if date is None:
        return datetime.date.today()
    try:
        return datetime.date.fromisoformat(date)
    except ValueError:
        raise EncodingError(f"date {date!r}: expected YYYY-MM-DD, such as 2026-11-25") from None
