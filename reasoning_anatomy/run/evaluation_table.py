"""From the files of a sweep to its table, one row per answer."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import pandas as pd
from filelock import FileLock

from reasoning_anatomy import plugins
from reasoning_anatomy.answers import Judge, Judgement, answer_values, read_answer, restatements
from reasoning_anatomy.errors import MeasurementError
from reasoning_anatomy.files import atomic_path, remove_temporary
from reasoning_anatomy.run.evaluations import Answer
from reasoning_anatomy.run.folder import Run
from reasoning_anatomy.run.layout import EVALUATIONS_NAME, LOCK_NAME
from reasoning_anatomy.run.manifest import Condition
from reasoning_anatomy.run.selection import Kept
from reasoning_anatomy.run.sweep import SweepFolder
from reasoning_anatomy.specs import CUTS_OFF
from reasoning_anatomy.types import EncodedChain, IntArray, ReasoningChain

_TEXT: Final = ("reference", "extracted", "verdict", "rule", "same_as_chain")


def write_evaluations(run: Run) -> None:
    """Write ``evaluations.parquet`` from the answers that the run has; columns as in `Run.evaluations`.

    The same files give the same bytes.
    """
    with FileLock(run.folder / LOCK_NAME), Judge() as judge:  # so that who ends last, writes last
        folder = SweepFolder(run, run.manifest.configuration)
        verdicts = _Verdicts(judge)
        rows = [row for chain_id in folder.chain_ids for row in _rows_of_chain(folder, chain_id, verdicts)]
        if rows:
            table = pd.DataFrame(rows).astype(
                dict.fromkeys(_TEXT, "str") | {"states_answer": "boolean", "steps_before": "Int64", "steps_after": "Int64"}
            )
            remove_temporary(run.folder / EVALUATIONS_NAME)
            with atomic_path(run.folder / EVALUATIONS_NAME) as temporary:
                table.to_parquet(temporary, index=False)


@dataclass(eq=False)
class _Verdicts:
    """Judges every response once."""

    judge: Judge
    known: dict[tuple[str, str, bool], Judgement] = field(default_factory=dict)

    def of(self, answer: Answer, gold: str) -> Judgement:
        asked = answer.text, gold, answer.finish_reason in CUTS_OFF
        if asked not in self.known:
            self.known[asked] = self.judge.judge(answer.text, gold, cut_off=asked[2])
        return self.known[asked]


@dataclass(frozen=True, eq=False)
class _Chain:
    """What the rows of one chain share."""

    chain: ReasoningChain
    encoded: EncodedChain
    verdicts: _Verdicts
    default_steps: str
    _steps: dict[str, IntArray | None] = field(default_factory=dict)

    def of_kept(self, kept: Kept, steps_by: str) -> dict[str, Any]:
        n_after, steps = len(kept.positions), self._steps_by(steps_by or self.default_steps)
        return {
            "achieved_ratio": n_after / kept.n_reasoning,
            "steps_before": None if steps is None else len(np.unique(steps)),
            "steps_after": None if steps is None else len(np.unique(steps[kept.positions])),
            "tokens_before": kept.n_reasoning,
            "tokens_after": n_after,
            "states_answer": self._states_answer(kept),
        }

    def of_answer(self, answer: Answer) -> dict[str, Any]:
        gold, own = self.chain.gold_answer, read_answer(self.chain.answer).text
        judged = None if gold is None else self.verdicts.of(answer, gold)
        return {
            "sample": answer.sample,
            "seed": answer.seed,
            "tokens_generated": answer.n_tokens,
            "finish_reason": answer.finish_reason,
            "response": answer.text,
            "extracted": read_answer(answer.text).text if judged is None else judged.extracted,
            "verdict": None if judged is None else judged.verdict,
            "rule": None if judged is None else judged.rule,
            "same_as_chain": None if own is None else self.verdicts.of(answer, own).verdict,
        }

    def _steps_by(self, segmenter: str) -> IntArray | None:
        """(n,) steps; None if the segmenter refuses the chain."""
        if segmenter not in self._steps:
            try:
                self._steps[segmenter] = plugins.load("segmenter", segmenter).segment(self.chain, self.encoded.spans)
            except MeasurementError:
                self._steps[segmenter] = None
        return self._steps[segmenter]

    def _states_answer(self, kept: Kept) -> bool | None:
        """Whether what is kept states the gold answer."""
        if self.chain.gold_answer is None:
            return None
        text = "".join(self.chain.reasoning[start:end] for start, end in self.encoded.spans[kept.positions])
        return bool(restatements(text, answer_values(self.chain.gold_answer)))


def _rows_of_chain(folder: SweepFolder, chain_id: str, verdicts: _Verdicts) -> Iterator[dict[str, Any]]:
    configuration = folder.configuration
    chain, encoded = folder.run.chains[chain_id], folder.run.encoded(chain_id)
    of_chain = _Chain(chain, encoded, verdicts, configuration.counts_steps_by)
    for condition in sorted(configuration.conditions.values(), key=_order):
        kept = folder.kept(chain_id, condition)
        answers = [] if kept is None else folder.answers(chain_id, condition.reading, kept)
        if kept is None or not answers:
            continue
        gold = None if chain.gold_answer is None else folder.gold(chain_id, condition.reading, kept)
        shared = {**_of_condition(condition), **of_chain.of_kept(kept, condition.steps)}
        shared["nll_gold"] = np.nan if gold is None else gold.nll
        for answer in answers[: condition.samples]:
            row = {"chain_id": chain_id, "question_id": chain.question_id, **shared, **of_chain.of_answer(answer)}
            yield {name: row[name] for name in EVALUATION_COLUMNS}


def _order(condition: Condition) -> tuple[str, str, float, str, str]:
    """Place of a condition in the table, in whatever order conditions were added."""
    return condition.reference, condition.strategy, condition.threshold, condition.restatements, condition.reading


def _of_condition(condition: Condition) -> dict[str, Any]:
    return {
        "strategy": condition.strategy,
        "threshold": condition.threshold,
        "reference": condition.reference or None,
        "reading": condition.reading,
        "restatements": condition.restatements,
        "requested_ratio": 1 - condition.threshold,
    }


EVALUATION_COLUMNS: Final = (
    "chain_id", "question_id", "strategy", "threshold", "reference", "reading", "restatements", "sample", "seed",
    "requested_ratio", "achieved_ratio", "steps_before", "steps_after", "tokens_before", "tokens_after", "tokens_generated",
    "finish_reason", "response", "extracted", "verdict", "rule", "same_as_chain", "states_answer", "nll_gold",
)  # fmt: skip
