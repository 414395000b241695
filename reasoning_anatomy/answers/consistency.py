"""Whether what chains say about their own correctness fits their answers."""

from collections.abc import Iterable
from typing import Final

from reasoning_anatomy.answers.judging import Judgement, judge_exactly
from reasoning_anatomy.types import ReasoningChain

_LONGEST: Final = 40


def contradiction(chain: ReasoningChain) -> Judgement | None:
    """Judge the answer of a chain by its gold answer; None unless the verdict contradicts ``is_correct``.

    Only the rules that need no other process are asked, so formulas that are merely written differently contradict nothing.
    """
    if chain.is_correct is None or chain.gold_answer is None:
        return None
    judgement = judge_exactly(chain.answer, chain.gold_answer)
    return judgement if judgement.verdict == ("wrong" if chain.is_correct else "correct") else None


def correctness_notes(chains: Iterable[ReasoningChain]) -> list[str]:
    """Say if chains are marked correct or wrong against what answer and gold answer say; no sentence if all is well."""
    found = [(chain, judgement) for chain in chains if (judgement := contradiction(chain))]
    if not found:
        return []
    chain, judgement = found[0]
    n_chains = "1 chain" if len(found) == 1 else f"{len(found)} chains"
    return [
        f"{n_chains} with an is_correct that contradicts the answer, such as {chain.chain_id!r}: is_correct is "
        f"{str(chain.is_correct).lower()}, but the answer {_shown(judgement.extracted or chain.answer)} is "
        f"{judgement.verdict} for {_shown(chain.gold_answer or '')}, by the rule {judgement.rule!r}; correct whichever is wrong"
    ]


def _shown(text: str) -> str:
    return repr(text if len(text) <= _LONGEST else text[: _LONGEST - 3] + "...")
