"""From what a model wrote on a problem to a chain."""

from typing import Any

from reasoning_anatomy.answers import Judge, take_off_answer
from reasoning_anatomy.errors import UnusableError
from reasoning_anatomy.generation.completion import Completion
from reasoning_anatomy.generation.request import Request
from reasoning_anatomy.problems import Problem
from reasoning_anatomy.specs import CUTS_OFF
from reasoning_anatomy.thinking import THINKING_TAGS, Transcript, tag_in, take_apart


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
    transcript, unusable = _apart(text, completion)
    judged = (
        None
        if problem.gold_answer is None
        else judge.judge(_whole(text, completion), problem.gold_answer, cut_off=completion.finish_reason in CUTS_OFF)
    )
    decided = None if judged is None or judged.verdict == "undecided" else judged.verdict == "correct"
    sampling = request.sampling
    return {
        "chain_id": request.name,
        "question_id": problem.question_id,
        "question": request.question,
        "reasoning": transcript.reasoning,
        "answer": transcript.answer,
        **({} if problem.gold_answer is None else {"gold_answer": problem.gold_answer}),
        **({} if decided is None else {"is_correct": decided}),
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
            **({} if judged is None else {"verdict": judged.verdict, "rule": judged.rule}),
            **({} if unusable is None else {"unusable": unusable}),
        },
    }


def _apart(text: str, completion: Completion) -> tuple[Transcript, str | None]:
    """Take reasoning and answer apart, and say why one of them is missing."""
    if completion.reasoning is None and not tag_in(text):
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
