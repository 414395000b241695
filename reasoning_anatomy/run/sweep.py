"""What a sweep has put into a run folder, chain by chain, and what it still lacks."""

import json
import traceback
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from reasoning_anatomy.claims import claimed
from reasoning_anatomy.errors import ReasoningAnatomyError, reason_of
from reasoning_anatomy.files import write_atomic
from reasoning_anatomy.run.evaluations import (
    Answer,
    GoldLikelihood,
    context_digest,
    read_answers,
    read_gold,
    read_kept,
    write_answers,
    write_gold,
    write_kept,
)
from reasoning_anatomy.run.folder import Run
from reasoning_anatomy.run.manifest import Condition, Configuration
from reasoning_anatomy.run.origin import Origin, origin_of, question_digest
from reasoning_anatomy.run.selection import Kept
from reasoning_anatomy.run.status import names_in, reason_if_any
from reasoning_anatomy.run.written import WrittenText, read_texts, write_text
from reasoning_anatomy.specs import Reading
from reasoning_anatomy.types import ReasoningChain
from reasoning_anatomy.unusable import Unusable


@dataclass(frozen=True)
class SweepFolder:
    """The files of a run's sweep. Every method may be called from any thread.

    Attributes
    ----------
    run
        The run.
    configuration
        With ``answering`` and the conditions of the sweep.
    """

    run: Run
    configuration: Configuration

    @property
    def chain_ids(self) -> list[str]:
        """Chains that are encoded, in the order of the run."""
        return [chain_id for chain_id in self.run.chains if self.run.layout.encoded(chain_id).exists()]

    @property
    def of_pruned(self) -> list[Condition]:
        """Conditions under which chains are pruned and answered again."""
        return [condition for condition in self.configuration.conditions.values() if not condition.is_live]

    @property
    def live(self) -> list[Condition]:
        """Conditions under which questions are answered anew."""
        return [condition for condition in self.configuration.conditions.values() if condition.is_live]

    @cached_property
    def first_of_question(self) -> Mapping[str, str]:
        """chain_id of the first chain of every question, whose files hold what is written anew on it, by question_id."""
        return {chain.question_id: chain.chain_id for chain in reversed(list(self.run.chains.values()))}

    @cached_property
    def pass_rates(self) -> Mapping[str, float]:
        """Share of the samples that are correct, by question_id; questions of which no sample is judged are left out.

        Samples that were left out of the run as unusable count, too: most are those that came to no answer.
        """
        judged: dict[str, list[bool]] = {}
        samples: list[ReasoningChain | Unusable] = [*self.run.chains.values(), *self.run.unusable]
        for sample in samples:
            if sample.question_id is not None and sample.is_correct is not None:
                judged.setdefault(sample.question_id, []).append(sample.is_correct)
        return {question: sum(correct) / len(correct) for question, correct in judged.items()}

    def pass_rate(self, chain_id: str, condition: Condition) -> float | None:
        """Pass rate of a chain's question, if what a condition keeps depends on it and it is known."""
        return self.pass_rates.get(self.run.chains[chain_id].question_id) if condition.by_pass_rate else None

    def kept(self, chain_id: str, condition: Condition) -> Kept | None:
        """Read what a condition keeps of a chain; None if that is not known yet."""
        path = self._kept_path(chain_id, condition)
        origin = self._origin_of_kept(chain_id, condition)
        return read_kept(path, origin=origin, run_folder=self.run.folder) if path.exists() else None

    def add_kept(self, chain_id: str, condition: Condition, kept: Kept) -> None:
        """Write what a condition keeps of a chain."""
        path = self._kept_path(chain_id, condition)
        write_kept(path, kept, condition.selection, chain_id=chain_id, origin=self._origin_of_kept(chain_id, condition))

    def answers(self, chain_id: str, reading: Reading, kept: Kept) -> list[Answer]:
        """Answers from what is kept of a chain, ordered by sample."""
        return self._answers(chain_id, context_digest(reading, kept), names_in(self.run.layout.evaluations(chain_id)))

    def add_answers(self, chain_id: str, reading: Reading, kept: Kept, answers: Sequence[Answer]) -> None:
        """Write answers from what is kept of a chain."""
        path = self.run.layout.answers(chain_id, context_digest(reading, kept), answers[0].sample)
        write_answers(path, answers, chain_id=chain_id, origin=self._origin(chain_id))

    def gold(self, chain_id: str, reading: Reading, kept: Kept) -> GoldLikelihood | None:
        """Likelihood of the gold answer from what is kept of a chain; None if it is not known yet."""
        path = self._gold_path(chain_id, reading, kept)
        return read_gold(path, origin=self._origin(chain_id), run_folder=self.run.folder) if path.exists() else None

    def add_gold(self, chain_id: str, reading: Reading, kept: Kept, likelihood: GoldLikelihood) -> None:
        """Write the likelihood of the gold answer from what is kept of a chain."""
        path = self._gold_path(chain_id, reading, kept)
        write_gold(path, likelihood, chain_id=chain_id, origin=self._origin(chain_id))

    def texts(self, chain_id: str, condition: Condition) -> list[WrittenText]:
        """Texts that were written on a chain's question under a live condition, ordered by sample; those that are there."""
        paths = (self.run.layout.written(chain_id, condition.plugins[0], sample) for sample in range(condition.samples))
        there = [path for path in paths if path.exists()]
        return read_texts(there, origin=self._origin_of_text(chain_id, condition.plugins[0]), run_folder=self.run.folder)

    def missing_texts(self, chain_id: str, policy: str, n_samples: int) -> list[int]:
        """Numbers of the texts that are not written yet under a policy, named by its ``repr``."""
        return self._missing_texts(names_in(self.run.layout.evaluations(chain_id)), chain_id, policy, n_samples)

    def add_text(self, chain_id: str, policy: str, text: WrittenText) -> None:
        """Write a text that was written on a chain's question under a policy."""
        path = self.run.layout.written(chain_id, policy, text.answer.sample)
        write_text(path, text, chain_id=chain_id, origin=self._origin_of_text(chain_id, policy))

    def claim_texts(self, chain_id: str, policy: str) -> AbstractContextManager[bool]:
        """Claim the texts on a chain's question under a policy, see `claimed`."""
        return claimed(self.run.layout.claim(chain_id, f"written {policy}"))

    def add_failure(self, chain_id: str, reason: str, **more: str) -> None:
        """Write why the model could not answer from what is left of a chain; the next sweep tries again."""
        _write_failure(self.run.layout.evaluation_failure(chain_id), chain_id, reason, **more)

    def add_failed_text(self, chain_id: str, policy: str, reason: str) -> None:
        """Write why a text could not be written on a chain's question under a policy; the next sweep tries again."""
        _write_failure(self.run.layout.writing_failure(chain_id, policy), chain_id, reason, policy=policy)

    def forget_failed_texts(self, chain_id: str, policy: str) -> None:
        """Remove the record of an earlier failure under a policy."""
        self.run.layout.writing_failure(chain_id, policy).unlink(missing_ok=True)

    def add_error(self, chain_id: str, error: ReasoningAnatomyError) -> None:
        """Write why the model could not answer, from an error; with the traceback of the crash that led to it, if one did."""
        cause = error.__cause__
        is_crash = cause is not None and not isinstance(cause, ReasoningAnatomyError)
        trace = {"traceback": "".join(traceback.format_exception(cause))} if is_crash else {}
        self.add_failure(chain_id, reason_of(error), **trace)

    def forget_failure(self, chain_id: str) -> None:
        """Remove the record of an earlier failure."""
        self.run.layout.evaluation_failure(chain_id).unlink(missing_ok=True)

    def claim(self, chain_id: str) -> AbstractContextManager[bool]:
        """Claim the answers of a chain, see `claimed`."""
        return claimed(self.run.layout.claim(chain_id, "sweep"))

    def status(self) -> "SweepStatus":
        """Count the chains of which all conditions are answered."""
        done, failed, left = list[str](), dict[str, str](), list[str]()
        for chain_id in self.run.chains:
            if not self.lacking(chain_id, self.configuration.conditions.values()):
                done.append(chain_id)
            elif (reason := self._why_failed(chain_id)) is not None:
                failed[chain_id] = reason
            else:
                left.append(chain_id)
        return SweepStatus(done, failed, left)

    def lacking(self, chain_id: str, conditions: Iterable[Condition]) -> list[Condition]:
        """List the conditions that lack an answer, or the likelihood of the gold answer, for a chain.

        A live condition lacks texts for the first chain of a question, and nothing for the others.
        """
        has_gold = self.run.chains[chain_id].gold_answer is not None
        names = names_in(self.run.layout.evaluations(chain_id))
        n_answers: dict[str, int] = {}
        lacking = []
        for condition in conditions:
            if condition.is_live:
                is_first = self.first_of_question[self.run.chains[chain_id].question_id] == chain_id
                if is_first and self._missing_texts(names, chain_id, condition.plugins[0], condition.samples):
                    lacking.append(condition)
                continue
            reading = condition.reading
            kept = self.kept(chain_id, condition) if self._kept_path(chain_id, condition).name in names else None
            if kept is None or (has_gold and self._gold_path(chain_id, reading, kept).name not in names):
                lacking.append(condition)
                continue
            digest = context_digest(reading, kept)
            if digest not in n_answers:  # many conditions share a context
                n_answers[digest] = len(self._answers(chain_id, digest, names))
            if n_answers[digest] < condition.samples:
                lacking.append(condition)
        return lacking

    def _answers(self, chain_id: str, digest: str, names: Collection[str]) -> list[Answer]:
        folder, of_context = self.run.layout.evaluations(chain_id), f"answers-{digest}-"
        paths = [folder / name for name in sorted(names) if name.startswith(of_context) and name.endswith(".json")]
        return read_answers(paths, origin=self._origin(chain_id), run_folder=self.run.folder)

    def _missing_texts(self, names: Collection[str], chain_id: str, policy: str, n_samples: int) -> list[int]:
        return [n for n in range(n_samples) if self.run.layout.written(chain_id, policy, n).name not in names]

    def _why_failed(self, chain_id: str) -> str | None:
        """Why a chain, or its question, could not be answered; None if nobody has said so."""
        if not (names := names_in(self.run.layout.failures(chain_id))):
            return None
        policies = dict.fromkeys(condition.plugins[0] for condition in self.live)
        of_texts = (self.run.layout.writing_failure(chain_id, policy) for policy in policies)
        files = [self.run.layout.evaluation_failure(chain_id), *of_texts]
        reasons = (reason_if_any(path) for path in files if path.name in names)
        return next((reason for reason in reasons if reason is not None), None)

    def _origin_of_text(self, chain_id: str, policy: str) -> Origin:
        """Say what a text is made from: of its chain, nothing but the question."""
        chain, configuration = self.run.chains[chain_id], self.configuration
        shared = origin_of(configuration, chain, policy)
        written = {"question": question_digest(chain), "answering": configuration.answering, "writing": configuration.writing}
        return {name: shared[name] for name in ("model", "encoding", "plugin")} | written

    def _origin(self, chain_id: str) -> Origin:
        origin = origin_of(self.configuration, self.run.chains[chain_id])
        return {**origin, "answering": self.configuration.answering}

    def _gold_path(self, chain_id: str, reading: Reading, kept: Kept) -> Path:
        gold = self.run.chains[chain_id].gold_answer or ""
        return self.run.layout.gold(chain_id, context_digest(reading, kept, gold=gold))

    def _kept_path(self, chain_id: str, condition: Condition) -> Path:
        """File of what a condition keeps, which has another name if that depends on something that is another now.

        What restates the answer depends on the gold answer, which may be corrected, and a rule may depend on the pass rate,
        which further samples of the question change.
        """
        gold = self.run.chains[chain_id].gold_answer if condition.restatements == "stripped" else None
        rate = self.pass_rate(chain_id, condition)
        depends_on = (f", gold {gold}" if gold else "") + ("" if rate is None else f", pass rate {rate!r}")
        return self.run.layout.kept(chain_id, condition.selection.label + depends_on)

    def _origin_of_kept(self, chain_id: str, condition: Condition) -> Origin:
        origin = {**origin_of(self.configuration, self.run.chains[chain_id]), "plugins": list(condition.plugins)}
        return origin | ({"pass_rate": self.pass_rate(chain_id, condition)} if condition.by_pass_rate else {})


def _write_failure(path: Path, chain_id: str, reason: str, **more: str) -> None:
    write_atomic(path, json.dumps({"chain_id": chain_id, "reason": reason, **more}, indent=2) + "\n")


@dataclass(frozen=True)
class SweepStatus:
    """How far a sweep has come.

    Attributes
    ----------
    done
        chain_id of chains of which every condition is answered.
    failed
        Reason by chain_id, for chains that could not be answered.
    left
        chain_id of chains that are neither done nor failed.
    """

    done: Sequence[str]
    failed: Mapping[str, str]
    left: Sequence[str]

    @property
    def n_chains(self) -> int:
        """Chains of the run."""
        return len(self.done) + len(self.failed) + len(self.left)

    @property
    def n_done(self) -> int:
        """Chains of which every condition is answered."""
        return len(self.done)

    @property
    def n_left(self) -> int:
        """Chains that are neither done nor failed."""
        return len(self.left)
