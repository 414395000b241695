"""What a model's chat template and vocabulary say about its thinking is found out, shown, and never contradicted."""

import datetime
from collections.abc import Callable
from typing import Any

import pytest
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from reasoning_anatomy.errors import EncodingError
from reasoning_anatomy.models.encoding import ChainEncoder, EncodingOptions
from reasoning_anatomy.types import ReasoningChain

USER = "{% for m in messages if m.role == 'user' %}<|user|>{{ m.content }}<|end|>{% endfor %}"
REPLY = "{% for m in messages if m.role == 'assistant' %}<|assistant|>{{ m.content.split('</think>')[-1] }}<|end|>{% endfor %}"
OPENS = USER + REPLY + "{% if add_generation_prompt %}<|assistant|><think>\n{% endif %}"
"""As DeepSeek-R1 and its distillations since February 2025, QwQ: opens the thinking, and drops it from earlier turns."""
DROPS = USER + REPLY + "{% if add_generation_prompt %}<|assistant|>{% endif %}"
"""As DeepSeek-R1 before: the model writes the tag itself."""
SHOWS = (
    USER
    + "{% for m in messages if m.role == 'assistant' %}<|assistant|>\n{% if m.reasoning_content %}"
    + "<think>\n{{ m.reasoning_content.strip('\n') }}\n</think>\n\n{% endif %}{{ m.content }}<|end|>{% endfor %}"
    + "{% if add_generation_prompt %}<|assistant|>\n"
    + "{% if enable_thinking is defined and enable_thinking is false %}<think>\n\n</think>\n\n{% endif %}{% endif %}"
)
"""As Qwen3: shows the reasoning of earlier turns, and can be told not to think."""
SWITCHED = USER + REPLY + "{% if add_generation_prompt %}<|assistant|>{{ '<think>' if thinking else '</think>' }}{% endif %}"
"""As DeepSeek-V3.1: thinks only if it is told to."""
HIDES = USER + (
    "{% for m in messages if m.role == 'assistant' %}<|assistant|>"
    "<think></think>{{ m.content }}<|end|>{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
"""As Kimi-K2-Thinking: shows the reasoning of earlier turns as empty."""
SWITCHES = (
    USER
    + "{% for m in messages if m.role == 'assistant' %}<|assistant|>{{ m.content }}<|end|>{% endfor %}"
    + "{% if add_generation_prompt %}<|assistant|>"
    + "{% if not enable_thinking %}{{ '<|channel>thought\\n<channel|>' }}{% endif %}{% endif %}"
)
"""As Gemma 4: a thinking that is off is empty."""
CHANNELS = (
    "<|start|>system<|message|>Current date: {{ strftime_now('%Y-%m-%d') }}\n"
    + "Reasoning: {{ reasoning_effort or 'medium' }}<|end|>"
    + "{% for m in messages if m.role == 'user' %}<|start|>user<|message|>{{ m.content }}<|end|>{% endfor %}"
    + "{% for m in messages if m.role == 'assistant' %}"
    + "{% if m.thinking %}<|start|>assistant<|channel|>analysis<|message|>{{ m.thinking }}<|end|>{% endif %}"
    + "<|start|>assistant<|channel|>final<|message|>{{ m.content }}<|return|>{% endfor %}"
    + "{% if add_generation_prompt %}<|start|>assistant{% endif %}"
)
"""As gpt-oss."""
PLAIN = (
    USER
    + "{% for m in messages if m.role == 'assistant' %}<|assistant|>{{ m.content }}<|end|>{% endfor %}"
    + ("{% if add_generation_prompt %}<|assistant|>\n{% endif %}")
)
TAGS = ["<think>", "</think>", "<|channel>", "<channel|>"]


def tokenizer(template: str | None, *, added: list[str] = TAGS) -> Any:
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    special = ["<s>", "</s>", "<|user|>", "<|assistant|>", "<|end|>", "<|start|>", "<|channel|>", "<|message|>", "<|return|>"]
    trainer = trainers.BpeTrainer(
        vocab_size=300,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        special_tokens=special,
        show_progress=False,
    )
    backend.train_from_iterator(["How many jars?"], trainer)
    backend.add_tokens([AddedToken(text, normalized=False) for text in added])
    return PreTrainedTokenizerFast(tokenizer_object=backend, bos_token="<s>", eos_token="</s>", chat_template=template)


def chain(**changes: Any) -> ReasoningChain:
    facts = {"chain_id": "c", "question_id": "q", "question": "How many?", "reasoning": "3 * 4 = 12.", "answer": "12"}
    return ReasoningChain(**(facts | changes))


def sequence(template: str | None, options: EncodingOptions | None = None, **changes: Any) -> str:
    made = tokenizer(template)
    return str(made.decode(ChainEncoder(made, options).encode(chain(**changes)).ids))


@pytest.mark.parametrize(
    ("template", "variables", "expected"),
    [
        (OPENS, (), "<|user|>How many?<|end|><|assistant|><think>\n3 * 4 = 12.\n</think>\n\n12<|end|>"),
        (DROPS, (), "<|user|>How many?<|end|><|assistant|><think>\n3 * 4 = 12.\n</think>\n\n12<|end|>"),
        (HIDES, (), "<|user|>How many?<|end|><|assistant|><think>3 * 4 = 12.</think>12<|end|>"),
        (SWITCHES, (), "<|user|>How many?<|end|><|assistant|><|channel>thought\n<channel|>3 * 4 = 12.\n12<|end|>"),
        (
            SWITCHES, ("enable_thinking=true",),
            "<|user|>How many?<|end|><|assistant|><|channel>thought\n3 * 4 = 12.<channel|>12<|end|>",
        ),
        (SHOWS, (), "<|user|>How many?<|end|><|assistant|>\n<think>\n3 * 4 = 12.\n</think>\n\n12<|end|>"),
        (
            SHOWS, ("enable_thinking=false",),
            "<|user|>How many?<|end|><|assistant|>\n<think>\n\n</think>\n\n3 * 4 = 12.\n12<|end|>",
        ),
        (SWITCHED, ("thinking=true",), "<|user|>How many?<|end|><|assistant|><think>3 * 4 = 12.</think>12<|end|>"),
        (SWITCHED, (), "<|user|>How many?<|end|><|assistant|></think>3 * 4 = 12.\n12<|end|>"),
        (
            CHANNELS, ("reasoning_effort=high",),
            "<|start|>system<|message|>Current date: 2026-11-25\nReasoning: high<|end|><|start|>user<|message|>How many?<|end|>"
            "<|start|>assistant<|channel|>analysis<|message|>3 * 4 = 12.<|end|><|start|>assistant<|channel|>final<|message|>12"
            "<|return|>",
        ),
        (PLAIN, (), "<|user|>How many?<|end|><|assistant|>\n3 * 4 = 12.\n12<|end|>"),
        (None, (), "How many?\n3 * 4 = 12.\n12</s>"),
    ],
    ids=[
        "opens", "drops", "hides", "switches", "switches, on", "shows", "shows, off", "switched on", "switched off", "channels",
        "plain", "no template",
    ],
)  # fmt: skip
def test_a_chain_becomes_the_sequence_that_the_model_would_see(
    template: str | None, variables: tuple[str, ...], expected: str
) -> None:
    date = "2026-11-25" if template == CHANNELS else None
    assert sequence(template, EncodingOptions(template_variables=variables, date=date)) == expected


def test_the_tags_of_the_thinking_are_tokens_once_each() -> None:
    made = tokenizer(OPENS)
    encoded = ChainEncoder(made).encode(chain())
    think, stop = (made.convert_tokens_to_ids(tag) for tag in TAGS[:2])
    assert encoded.prompt_ids.tolist().count(think) == 1
    assert encoded.answer_ids.tolist().count(stop) == 1


def test_a_vocabulary_with_tags_alone_does_not_make_a_model_think() -> None:
    assert "think" not in sequence(PLAIN)


def test_a_template_that_opens_tags_is_believed_without_tokens_for_them() -> None:
    made = tokenizer(OPENS, added=[])
    assert made.decode(ChainEncoder(made).encode(chain()).ids).endswith("<think>\n3 * 4 = 12.\n</think>\n\n12<|end|>")


@pytest.mark.parametrize(
    ("template", "options", "named"),
    [
        (
            OPENS,
            {"before_reasoning": "<think>\n"},
            "--before-reasoning '<think>\\n' contradicts this model, whose prompt ends in",
        ),
        (OPENS, {"before_answer": "\n"}, "--before-answer '\\n' contradicts this model"),
        (SHOWS, {"before_answer": "\n"}, "expected '\\n</think>\\n\\n'"),
        (DROPS, {"before_reasoning": ""}, "expected '<think>\\n'"),
        (PLAIN, {"before_reasoning": "<think>\n", "before_answer": "\n"}, "expected '\\n</think>\\n\\n'"),
    ],
)
def test_joints_that_contradict_the_model_are_refused(template: str, options: dict[str, str], named: str) -> None:
    with pytest.raises(EncodingError) as refused:
        ChainEncoder(tokenizer(template), EncodingOptions(**options))
    assert named in str(refused.value)
    assert "--joints none" in str(refused.value)


def test_joints_with_the_same_tags_but_other_blanks_are_taken() -> None:
    options = EncodingOptions(before_answer="</think>\n")
    assert sequence(OPENS, options).endswith("<think>\n3 * 4 = 12.</think>\n12<|end|>")


def test_a_thinking_that_only_the_user_opens_is_closed() -> None:
    options = EncodingOptions(before_reasoning="<think>\n")
    assert sequence(PLAIN, options).endswith("<think>\n3 * 4 = 12.\n</think>\n\n12<|end|>")


def test_joints_none_takes_what_is_given_and_finds_out_nothing() -> None:
    assert sequence(OPENS, EncodingOptions(joints="none")).endswith("<think>\n3 * 4 = 12.\n12<|end|>")
    own = EncodingOptions(joints="none", before_reasoning="<think>\n", before_answer=" ")
    assert sequence(OPENS, own).endswith("<think>\n<think>\n3 * 4 = 12. 12<|end|>")


def test_what_was_found_out_is_said_and_stored() -> None:
    encoder = ChainEncoder(tokenizer(OPENS))
    assert encoder.in_words == (
        r"The prompt ends in '<|end|><|assistant|><think>\n', '\n</think>\n\n' stands between reasoning and answer, "
        "and '<|end|>' after it."
    )
    assert repr(encoder.options) == (
        r"EncodingOptions(before_reasoning='', before_answer='\n</think>\n\n', template_variables=(), date=None)"
    )


LOOPS = (
    "{% for m in messages %}<|user|>"
    "{% for part in m.content %}{% if part.type == 'text' %}{{ part.text }}{% endif %}{% endfor %}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


def test_a_template_that_takes_parts_gets_parts() -> None:
    text = sequence(LOOPS, system_prompt="Be brief.")
    assert text == "<|user|>Be brief.<|end|><|user|>How many?<|end|><|assistant|>3 * 4 = 12.\n12<|end|>"


@pytest.mark.parametrize(
    ("template", "system", "reason"),
    [
        ("<|user|>{{ messages[-1].images }}<|assistant|>", None, "the model's chat template shows the question 0 times"),
        (PLAIN.replace("{{ m.content }}", "{{ m.content }} {{ m.content }}", 1), None, "shows the question 2 times"),
        (PLAIN, "Be brief.", "c: the model's chat template shows the system prompt 0 times"),
        (PLAIN.replace("m.content }}", "m.content | upper }}", 1), None, "changes the text of the question"),
        (PLAIN.replace("m.content }}", "m.content[:40] }}", 1), None, "changes the text of the question"),
        ("{{ messages + 1 }}", None, "the model's chat template fails (TypeError: "),
        ("{% if %}", None, "refuses the roles"),
    ],
)
def test_a_template_that_does_not_show_what_it_was_given_is_refused(template: str, system: str | None, reason: str) -> None:
    asked = chain(question="How many jars are there on the shelf if there are four in a row?", system_prompt=system)
    with pytest.raises(EncodingError) as refused:
        ChainEncoder(tokenizer(template)).encode(asked)
    assert reason in str(refused.value)


@pytest.mark.parametrize(("question", "shown"), [("  How many?\n", "How many?"), ("How many?", "How many?")])
def test_a_template_that_trims_is_followed(question: str, shown: str) -> None:
    template = PLAIN.replace("m.content }}", "m.content | trim }}", 1)
    assert f"<|user|>{shown}<|end|>" in sequence(template, question=question)


@pytest.mark.parametrize(
    ("variable", "reason"),
    [
        ("enable_thinking", "expected NAME=VALUE"),
        ("no name=1", "expected NAME=VALUE"),
        ("enable_thinkin=false", "the model's chat template does not use it"),
        ("enable_thinking=False", "write true, false or null for 'False'"),
        ("enable_thinking=no", "write true, false or null for 'no'"),
    ],
)
def test_a_variable_that_the_template_does_not_use_is_refused(variable: str, reason: str) -> None:
    with pytest.raises(EncodingError, match=reason):
        ChainEncoder(tokenizer(SHOWS), EncodingOptions(template_variables=(variable,)))


def test_a_date_that_is_none_is_refused() -> None:
    with pytest.raises(EncodingError, match="date 'today': expected YYYY-MM-DD"):
        ChainEncoder(tokenizer(CHANNELS), EncodingOptions(date="today"))


def test_a_variable_that_is_given_twice_is_refused() -> None:
    with pytest.raises(EncodingError, match="one is given twice"):
        ChainEncoder(tokenizer(SHOWS), EncodingOptions(template_variables=("enable_thinking=true", "enable_thinking=false")))


def test_the_order_of_variables_means_nothing() -> None:
    made = tokenizer(SHOWS + "{{ unused }}")
    one, other = (("enable_thinking=true", "unused=1"), ("unused=1", "enable_thinking=true"))
    assert (
        ChainEncoder(made, EncodingOptions(template_variables=one)).options
        == ChainEncoder(made, EncodingOptions(template_variables=other)).options
    )


BY_SYSTEM = PLAIN.replace(
    "<|assistant|>\n{% endif %}", "<|assistant|>\n{{ '<think>\\n' if messages[0].role == 'system' }}{% endif %}"
).replace("{% for m in messages if m.role == 'user' %}", "{% for m in messages if m.role != 'assistant' %}", 1)
"""Thinks only if it has a system prompt."""


def test_a_prompt_that_ends_otherwise_with_a_system_prompt_is_refused() -> None:
    assert "<think>" not in sequence(BY_SYSTEM)
    with pytest.raises(EncodingError, match=r"c: the model's chat template ends this prompt in .*<think>.*--joints none"):
        sequence(BY_SYSTEM, system_prompt="Think.")
    own = EncodingOptions(joints="none", before_answer="\n</think>\n\n")
    assert sequence(BY_SYSTEM, own, system_prompt="Think.").endswith("<think>\n3 * 4 = 12.\n</think>\n\n12<|end|>")


def test_a_question_at_the_end_of_a_prompt_may_speak_of_tags() -> None:
    made = tokenizer("Q: {{ messages[0].content }}")
    encoded = ChainEncoder(made).encode(chain(question="What is <think>?"))
    assert made.decode(encoded.prompt_ids) == "Q: What is <think>?"
    assert made.convert_tokens_to_ids("<think>") not in encoded.prompt_ids


def test_a_word_in_a_text_may_change_what_stands_around_it() -> None:
    template = PLAIN.replace(
        "<|assistant|>\n{% endif %}", "{{ 'Hint. ' if 'jars' in messages[0].content }}<|assistant|>\n{% endif %}"
    )
    assert "Hint. <|assistant|>" in sequence(template, question="How many jars?")
    assert "Hint. <|assistant|>" not in sequence(template)


@pytest.mark.parametrize("content", ["m.content[0]['text'] + '!'", "m.content[0].text.strip()"])
def test_a_template_that_fails_on_text_gets_parts(content: str) -> None:
    template = "{% for m in messages %}<|user|>{{ " + content + " }}<|end|>{% endfor %}<|assistant|>"
    assert sequence(template).startswith("<|user|>How many?")


@pytest.mark.parametrize(
    ("form", "shown"),
    [("%D", "01/31/25"), ("%Y-%m-%d", "2025-01-31"), ("%-H h", "0 h"), ("%h %d", "Jan 31"), ("%T", "00:00:00")],
)
def test_a_date_is_written_in_any_form(form: str, shown: str) -> None:
    template = "{{ strftime_now('" + form + "') }} " + PLAIN
    assert sequence(template, EncodingOptions(date="2025-01-31")).startswith(f"{shown} <|user|>")


def test_a_date_beside_a_system_prompt_is_stored_too() -> None:
    template = "{% for m in messages if m.role == 'system' %}{{ strftime_now('%Y') }} {{ m.content }}{% endfor %}" + PLAIN
    assert ChainEncoder(tokenizer(template), EncodingOptions(date="2025-01-31")).options.date == "2025-01-31"


DATES: dict[str, Callable[[], str]] = {
    "strftime_now": lambda: CHANNELS,
    "date_string": lambda: (
        "{% if not date_string is defined %}{% set date_string = strftime_now('%d %b %Y') %}{% endif %}Today: {{ date_string }}"
        + PLAIN
    ),
}


@pytest.mark.parametrize("template", DATES)
def test_a_date_of_the_template_is_stored_and_is_today_if_none_is_given(template: str) -> None:
    made = tokenizer(DATES[template]())
    assert ChainEncoder(made).options.date == datetime.date.today().isoformat()
    told = ChainEncoder(made, EncodingOptions(date="2025-01-31"))
    assert told.options.date == "2025-01-31"
    assert any(day in made.decode(told.encode(chain()).prompt_ids) for day in ("2025-01-31", "31 Jan 2025"))
    assert told.in_words.endswith(", the template writes the date 2025-01-31.")


def test_a_template_without_a_date_stores_none() -> None:
    assert ChainEncoder(tokenizer(PLAIN), EncodingOptions(date="2025-01-31")).options.date is None
