"""From the files of a sweep to its table, one row per answer."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import pandas as pd

from reasoning_anatomy import plugins
from reasoning_anatomy.answers import Judge, Judgement, answer_values, read_answer, restatements
from reasoning_anatomy.claims import claimed, expect_held
from reasoning_anatomy.errors import MeasurementError
from reasoning_anatomy.files import atomic_path, remove_temporary
from reasoning_anatomy.run.evaluations import Answer
from reasoning_anatomy.run.eviction_table import write_evictions
from reasoning_anatomy.run.folder import Run
from reasoning_anatomy.run.layout import EVALUATIONS_NAME, LOCK_NAME
from reasoning_anatomy.run.manifest import Condition
from reasoning_anatomy.run.selection import Kept
from reasoning_anatomy.run.sweep import SweepFolder
from reasoning_anatomy.run.written import WrittenText
from reasoning_anatomy.specs import CUTS_OFF
from reasoning_anatomy.types import EncodedChain, IntArray, ReasoningChain

_TEXT: Final = ("reference", "extracted", "verdict", "rule", "same_as_chain")
_COUNTS: Final = ("steps_before", "steps_after", "peak_cache_tokens", "peak_cache_bytes", "n_evictions", "n_rewritten")


def write_evaluations(run: Run) -> None:
    """Write ``evaluations.parquet``, and ``evictions.parquet`` if there are any, from the answers that the run has.

    Columns are as in `Run.evaluations` and `Run.evictions`.

    The same files give the same bytes.
    """
    with claimed(run.folder / LOCK_NAME, wait=True), Judge() as judge:  # so that who ends last, writes last
        folder = SweepFolder(run, run.manifest.configuration)
        verdicts = _Verdicts(judge)
        rows = [row for chain_id in folder.chain_ids for row in _rows_of_chain(folder, chain_id, verdicts)]
        if rows:
            kinds = dict.fromkeys(_TEXT, "str") | dict.fromkeys(_COUNTS, "Int64") | {"states_answer": "boolean"}
            table = pd.DataFrame(rows).astype(kinds)
            remove_temporary(run.folder / EVALUATIONS_NAME)
            with atomic_path(run.folder / EVALUATIONS_NAME) as temporary:
                table.to_parquet(temporary, index=False)
                expect_held(run.folder / LOCK_NAME)
        write_evictions(folder)


@dataclass(eq=False)
class _Verdicts:
    """Judges every response once."""

    judge: Judge
    known: dict[tuple[str, str, bool, bool], Judgement] = field(default_factory=dict)

    def of(self, answer: Answer, gold: str, *, thinking_opened: bool) -> Judgement:
        asked = answer.text, gold, thinking_opened, answer.finish_reason in CUTS_OFF
        if asked not in self.known:
            self.known[asked] = self.judge.judge(answer.text, gold, thinking_opened=thinking_opened, cut_off=asked[3])
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
            "states_answer": self._states_answer(self.chain.reasoning, self.encoded.spans[kept.positions]),
        }

    def of_text(self, written: WrittenText, steps_by: str) -> dict[str, Any]:
        """Say what was left of the thinking of a text when that had ended, and what it took to write it."""
        transcript = written.transcript
        n_before = transcript.n_thinking
        ends = np.minimum(transcript.token_ends[:n_before], len(written.answer.text)).astype(np.int64)
        spans = np.stack([np.append(0, ends[:-1]), ends], axis=1) if n_before else np.empty((0, 2), dtype=np.int64)
        gone = np.array([token for event in transcript.events for token in event.evicted], dtype=np.int64)
        is_of_thinking = (gone >= 0) & (gone < n_before)
        left = np.setdiff1d(np.arange(n_before), gone)
        n_after = max(0, n_before - transcript.n_evicted + int((~is_of_thinking).sum()))
        steps = self._cut(written.answer.text, spans, steps_by or self.default_steps)
        return {
            "achieved_ratio": n_after / n_before if n_before else np.nan,
            "steps_before": None if steps is None else len(np.unique(steps)),
            "steps_after": None if steps is None else len(np.unique(steps[left])),
            "tokens_before": n_before,
            "tokens_after": n_after,
            "states_answer": self._states_answer(written.answer.text, spans[left]),
            "peak_cache_tokens": transcript.peak_tokens,
            "peak_cache_bytes": transcript.peak_bytes,
            "n_evictions": len(transcript.events),
            "n_rewritten": transcript.n_rewritten,
        }

    def of_answer(self, answer: Answer, *, thinking_opened: bool = False) -> dict[str, Any]:
        gold, own = self.chain.gold_answer, read_answer(self.chain.answer).text
        unjudged = read_answer(answer.text, thinking_opened=thinking_opened).text
        judged = None if gold is None else self.verdicts.of(answer, gold, thinking_opened=thinking_opened)
        return {
            "sample": answer.sample,
            "seed": answer.seed,
            "tokens_generated": answer.n_tokens,
            "finish_reason": answer.finish_reason,
            "response": answer.text,
            "extracted": unjudged if judged is None else judged.extracted,
            "verdict": None if judged is None else judged.verdict,
            "rule": None if judged is None else judged.rule,
            "same_as_chain": None if own is None else self.verdicts.of(answer, own, thinking_opened=thinking_opened).verdict,
        }

    def _steps_by(self, segmenter: str) -> IntArray | None:
        """(n,) steps; None if the segmenter refuses the chain."""
        if segmenter not in self._steps:
            try:
                self._steps[segmenter] = plugins.load("segmenter", segmenter).segment(self.chain, self.encoded.spans)
            except MeasurementError:
                self._steps[segmenter] = None
        return self._steps[segmenter]

    def _cut(self, text: str, spans: IntArray, segmenter: str) -> IntArray | None:
        """(n,) steps of the tokens with which a text begins; None if the segmenter refuses it."""
        thinking = text[: spans[-1, 1]] if len(spans) else ""
        if not thinking.strip():
            return np.zeros(len(spans), dtype=np.int64)
        try:
            chain = self.chain.model_copy(update={"reasoning": thinking, "step_starts": None})
            return plugins.load("segmenter", segmenter).segment(chain, spans)
        except MeasurementError:
            return None

    def _states_answer(self, text: str, spans: IntArray) -> bool | None:
        """Whether what is kept of a text states the gold answer."""
        if self.chain.gold_answer is None:
            return None
        kept = "".join(text[start:end] for start, end in spans)
        return bool(restatements(kept, answer_values(self.chain.gold_answer)))


def _rows_of_chain(folder: SweepFolder, chain_id: str, verdicts: _Verdicts) -> Iterator[dict[str, Any]]:
    configuration = folder.configuration
    chain, encoded = folder.run.chains[chain_id], folder.run.encoded(chain_id)
    of_chain = _Chain(chain, encoded, verdicts, configuration.counts_steps_by)
    whose = {"chain_id": chain_id, "question_id": chain.question_id}
    for condition in sorted(configuration.conditions.values(), key=_order):
        if condition.is_live:
            yield from ({**_EMPTY, **whose, **row} for row in _rows_written(folder, condition, of_chain))
            continue
        kept = folder.kept(chain_id, condition)
        answers = [] if kept is None else folder.answers(chain_id, condition.reading, kept)
        if kept is None or not answers:
            continue
        gold = None if chain.gold_answer is None else folder.gold(chain_id, condition.reading, kept)
        shared = {**_of_condition(condition), **of_chain.of_kept(kept, condition.steps)}
        shared["nll_gold"] = np.nan if gold is None else gold.nll
        for answer in answers[: condition.samples]:
            yield {**_EMPTY, **whose, **shared, **of_chain.of_answer(answer)}


def _rows_written(folder: SweepFolder, condition: Condition, of_chain: _Chain) -> Iterator[dict[str, Any]]:
    """Rows of the texts on a question, if a chain is the first of it."""
    chain_id = of_chain.chain.chain_id
    if folder.first_of_question[of_chain.chain.question_id] != chain_id:
        return
    for written in folder.texts(chain_id, condition):
        of_text = of_chain.of_text(written, condition.steps)
        of_answer = of_chain.of_answer(written.answer, thinking_opened=written.thinking_opened)
        yield {**_of_condition(condition), **of_text, **of_answer, "nll_gold": np.nan}


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
    "peak_cache_tokens", "peak_cache_bytes", "n_evictions", "n_rewritten",
)  # fmt: skip
_EMPTY: Final[Mapping[str, None]] = dict.fromkeys(EVALUATION_COLUMNS)
"""A row in which nothing is known: the order of the columns."""
