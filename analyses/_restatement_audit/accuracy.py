"""How much of the accuracy of a sweep rests on the answer standing in what is kept."""

from typing import Final

import numpy as np
import pandas as pd

from analyses._restatement_audit.effects import DIFFERENCE, KEPT, SHARE_LEFT, STRIPPED, Part, in_order
from analyses._statistics.fieller import ratio_of_means
from analyses._threshold_comparison.answers import gather
from analyses._threshold_comparison.comparisons import with_restatements
from analyses._threshold_comparison.sample import AnswerSample
from reasoning_anatomy.errors import MissingError
from reasoning_anatomy.run.folder import Run
from reasoning_anatomy.types import FloatArray, IntArray

PART: Final = "accuracy"


def accuracies(run: Run, *, draws: int, confidence: float, seed: int) -> Part:
    """Compare the accuracy of every cell of a sweep with restatements kept and stripped.

    The tests are those of `threshold_comparison` (table ``restatements``).

    Raises
    ------
    MissingError
        There was no sweep with both.
    AnalysisError
        There are no answers at threshold 0, or no chain has a gold answer.
    """
    try:
        evidence = gather(run)
    except MissingError as error:
        raise MissingError(f"{error} --restatements kept stripped") from None
    answers = evidence.answers
    sample = AnswerSample(answers, draws, confidence, seed)
    found = with_restatements(sample)
    if found.empty:
        strategies = " ".join(dict.fromkeys(answers.cells.loc[answers.cells["reference"] == "", "strategy"]))
        raise MissingError(
            f"{run.folder}: no strategy was swept with restatements both kept and stripped; sweep it again with: "
            f"reasoning-anatomy sweep {run.folder} --strategies {strategies} --restatements kept stripped"
        )
    first, second = (found[name].to_numpy(dtype=np.int64) for name in ("first", "second"))
    correct, tokens = answers.outcomes["correct"], answers.outcomes["tokens_after"]
    is_paired = np.isfinite(correct[:, first] - correct[:, second])
    stripped, kept = (np.where(is_paired, correct[:, cells], np.nan) for cells in (first, second))
    cells = answers.cells.loc[first].reset_index(drop=True)
    terms = [f"accuracy at threshold {row.threshold:g}, {row.reading}" for row in cells.itertuples()]
    labels = pd.DataFrame({"part": PART, "annotator": "", "strategy": cells["strategy"], "term": terms})
    n_tokens = _tokens(answers.by_chain(np.where(is_paired, tokens[:, second], np.nan)))
    ratio = ratio_of_means(answers.by_question(stripped), answers.by_question(kept), confidence=confidence)
    parts = [
        pd.concat([labels, sample.shares(values)], axis=1).assign(
            p_value=np.nan, p_adjusted=np.nan, n_tokens=n_tokens, restatements=form
        )
        for form, values in ((KEPT, kept), (STRIPPED, stripped))
    ]
    difference = pd.concat([labels, found.reset_index(drop=True)], axis=1).assign(n_tokens=n_tokens, restatements=DIFFERENCE)
    share = parts[0].assign(estimate=ratio[0], ci_low=ratio[1], ci_high=ratio[2], restatements=SHARE_LEFT)
    rows = in_order([*parts, difference, share])
    refused = [term for term, is_cut_off in zip(terms, found["is_cut_off"], strict=True) if is_cut_off]
    said = (
        [f"{', '.join(refused)}: not compared, since more or fewer answers are cut off without restatements"] if refused else []
    )
    return Part(rows, evidence.exclusions, warnings=said)


def _tokens(by_chain: FloatArray) -> IntArray:
    return np.asarray(np.nansum(by_chain, axis=0).round().astype(np.int64))
