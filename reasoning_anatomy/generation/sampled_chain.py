"""From what a model wrote on a problem to a chain."""

from collections.abc import Mapping
from typing import Any

from reasoning_anatomy.answers import Judge, take_off_answer
from reasoning_anatomy.errors import UnusableError
from reasoning_anatomy.generation.completion import Completion
from reasoning_anatomy.generation.request import Request
from reasoning_anatomy.problems import Problem
from reasoning_anatomy.specs import CUTS_OFF
from reasoning_anatomy.thinking import THINKING_TAGS, Transcript, behind_thinking, tag_in, take_apart
from reasoning_anatomy.transcripts import EvictionTranscript


def sampled_chain(
    problem: Problem, request: Request, sample: int, completion: Completion, *, opened: str, model: str, judge: Judge
) -> dict[str, Any]:
    """Make a row of a file of chains.

    A sample whose thinking was not closed has no answer, and one that states its answer at once has no reasoning: both are
    rows with an empty field and their verdict, marked by ``source.unusable``.

    Parameters
    ----------
    problem
        What was asked.
    request
        As it was asked: question with instruction, seed.
    sample
        Number of the sample, from 0.
    completion
        What the model wrote.
    opened
        Thinking tag that the prompt had opened; empty if it had opened none.
    model
        Name of the model.
    judge
        Compares the answer with the problem's gold answer.
    """
    text = f"{opened}\n{completion.text}" if opened and completion.reasoning is None else completion.text
    is_thinking = completion.reasoning is not None or tag_in(text) is not None
    transcript, unusable = _apart(text, completion, is_thinking=is_thinking)
    whole = _whole(text, completion)
    sampling = request.sampling
    row = {
        "chain_id": request.name,
        "question_id": problem.question_id,
        "question": request.question,
        "reasoning": transcript.reasoning,
        "answer": transcript.answer,
        **({} if problem.system_prompt is None else {"system_prompt": problem.system_prompt}),
        "source": {
            **problem.source,
            "model": model,
            "sample": sample,
            "seed": request.seed,
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "max_tokens": sampling.max_tokens,
            "n_tokens": completion.n_tokens,
            "finish_reason": completion.finish_reason,
            **({} if completion.transcript is None else _of_transcript(completion.transcript)),
            **({"thinking": "open" if behind_thinking(whole) is None else "closed"} if is_thinking else {}),
            **({} if completion.draws_from_all_tokens else {"draws_from_all_tokens": False}),
            **({} if unusable is None else {"unusable": unusable}),
        },
    }
    return row if problem.gold_answer is None else _judged(row, problem.gold_answer, whole, judge)


def judged_again(row: Mapping[str, Any], gold_answer: str, judge: Judge) -> dict[str, Any]:
    """Judge a row by another gold answer, as if it had been sampled with that."""
    reasoning, answer = row["reasoning"], row["answer"]
    thinking = row["source"].get("thinking")
    text = f"<think>{reasoning}" if thinking else f"{reasoning}\n{answer}"
    if thinking == "closed" and (answer or not tag_in(reasoning)):
        text += f"</think>{answer}"
    return _judged(row, gold_answer, text, judge)


def _judged(row: Mapping[str, Any], gold_answer: str, text: str, judge: Judge) -> dict[str, Any]:
    """Put the gold answer into a row, and the verdict on the text that the model wrote."""
    judged = judge.judge(text, gold_answer, cut_off=row["source"]["finish_reason"] in CUTS_OFF)
    decided = {} if judged.verdict == "undecided" else {"is_correct": judged.verdict == "correct"}
    behind = {name: value for name, value in row.items() if name == "system_prompt"}
    source = {name: value for name, value in row["source"].items() if name != "unusable"}
    unusable = {name: value for name, value in row["source"].items() if name == "unusable"}
    return {
        **{name: row[name] for name in ("chain_id", "question_id", "question", "reasoning", "answer")},
        "gold_answer": gold_answer,
        **decided,
        **behind,
        "source": {**source, "verdict": judged.verdict, "rule": judged.rule, **unusable},
    }


def _apart(text: str, completion: Completion, *, is_thinking: bool) -> tuple[Transcript, str | None]:
    """Take reasoning and answer apart, and say why one of them is missing."""
    if not is_thinking:
        transcript = take_off_answer(text)
        missing = next((name for name, part in transcript._asdict().items() if not part), None)
        return transcript, missing and f"the {missing} is empty"
    try:
        return take_apart(text, reasoning=completion.reasoning), None
    except UnusableError as error:
        if completion.reasoning is not None:
            return Transcript(completion.reasoning, completion.text), str(error)
        return Transcript(_without_tags(completion.text), ""), str(error)


def _without_tags(thinking: str) -> str:
    """Take off the tags around a thinking behind which there is nothing."""
    text = thinking.strip()
    for tags in THINKING_TAGS:
        text = text.removeprefix(tags.opening).removesuffix(tags.closing)
    return text.strip()


def _whole(text: str, completion: Completion) -> str:
    """Text to be judged: a thinking that is given apart and has nothing behind it was not closed."""
    return text if completion.reasoning is None or text.strip() else f"<think>{completion.reasoning}"


def _of_transcript(transcript: EvictionTranscript) -> dict[str, Any]:
    """Sum up the evictions for the source of a chain; the rest stands in the file of transcripts."""
    return {
        "policy": transcript.policy,
        "n_evictions": len(transcript.events),
        "n_evicted": transcript.n_evicted,
        "peak_cache_tokens": transcript.peak_tokens,
        "peak_cache_bytes": transcript.peak_bytes,
        "n_rewritten": transcript.n_rewritten,
    }
