"""Which tokens of the reasoning state the answer already."""

import numpy as np
import numpy.typing as npt

from reasoning_anatomy.answers.restating import answer_values, restatements
from reasoning_anatomy.steps.sentences import step_of_token
from reasoning_anatomy.types import IntArray, ReasoningChain


def restatements_in(chain: ReasoningChain, spans: IntArray) -> list[IntArray]:
    """Find the tokens of every statement of the answer in the reasoning, the chain's own answer or the gold one.

    Parameters
    ----------
    chain
        The chain.
    spans
        (n, 2) half-open character spans of its reasoning tokens.

    Returns
    -------
    (k,) positions for each statement, one or more.
    """
    values = answer_values(chain.answer) | answer_values(chain.gold_answer or "")
    starts, ends = spans.T
    found = [np.flatnonzero((starts < end) & (ends > start)) for start, end in restatements(chain.reasoning, values)]
    return [positions for positions in found if len(positions)]


def restates(chain: ReasoningChain, spans: IntArray) -> npt.NDArray[np.bool_]:
    """(n,) whether a token is in a statement of the answer (`restatements_in`) or in the last sentence."""
    steps = step_of_token(chain.reasoning, spans)
    stated: npt.NDArray[np.bool_] = steps == steps[-1]
    for positions in restatements_in(chain, spans):
        stated[positions] = True
    return stated
