"""The work of a sweep: the answers and likelihoods that chains lack, written context by context."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field

import numpy as np

from reasoning_anatomy.errors import EncodingError, MeasurementError, PluginError
from reasoning_anatomy.evaluation.answering import Answering
from reasoning_anatomy.evaluation.questions import Asker
from reasoning_anatomy.evaluation.selecting import Selector
from reasoning_anatomy.generation.batch import Sample
from reasoning_anatomy.generation.completion import sample_seed
from reasoning_anatomy.generation.contexts import Context, ContextReader, OpenContext
from reasoning_anatomy.generation.decoding import Decoder, ends_of_turn, sampler
from reasoning_anatomy.generation.stopping import StopRules
from reasoning_anatomy.generation.text import text_behind
from reasoning_anatomy.models.encoding import ChainEncoder
from reasoning_anatomy.models.finite import LOGITS, not_finite
from reasoning_anatomy.models.loading import LoadedModel
from reasoning_anatomy.models.memory import OUT_OF_MEMORY, is_out_of_memory
from reasoning_anatomy.progress import Stage
from reasoning_anatomy.run.evaluations import Answer, GoldLikelihood, context_digest
from reasoning_anatomy.run.selection import Kept
from reasoning_anatomy.run.sweep import SweepFolder
from reasoning_anatomy.specs import Reading
from reasoning_anatomy.types import EncodedChain


@dataclass(eq=False)
class Asked:
    """One context of one chain, and the answers that are to come from it.

    Attributes
    ----------
    chain_id, reading, kept
        What is read.
    context
        Its ids.
    n_samples
        Answers that there are to be.
    samples
        Those that are written now, by their numbers; none when all are.
    """

    chain_id: str
    reading: Reading
    kept: Kept
    context: Context
    n_samples: int
    samples: dict[int, "Sample[Asked]"] = field(default_factory=dict)


@dataclass(eq=False)
class SweepWork:
    """Answers chains with one model.

    Attributes
    ----------
    folder
        Of the sweep.
    encoder
        Of the run.
    answering
        With its stem.
    loaded
        The model.
    stage
        Shows progress, one step for each chain.
    n_rows
        Answers that are written at the same time.
    """

    folder: SweepFolder
    encoder: ChainEncoder
    answering: Answering
    loaded: LoadedModel
    stage: Stage
    n_rows: int

    def __post_init__(self) -> None:
        self.reader = ContextReader(self.loaded)
        self.decoder = Decoder[Asked](
            self.loaded,
            choose=sampler(self.answering.sampling),
            rules=StopRules(
                ends_of_turn=ends_of_turn(self.loaded) | self.encoder.ends_of_turn,
                strings=self.answering.sampling.stop,
                loop_tokens=self.answering.loop_tokens,
            ),
            n_rows=self.n_rows,
        )
        self._claims: dict[str, ExitStack] = {}
        self._left: dict[str, set[Asked]] = {}

    def answer(self, chains: Sequence[EncodedChain]) -> None:
        """Write what these chains lack; what another process works on is left to it.

        A chain that cannot be answered is recorded with its reason, and the others go on.
        """
        try:
            for sample in self.decoder.write(self._contexts(chains)):
                asked = sample.key
                if asked.samples and all(each.finish_reason for each in asked.samples.values()):
                    self._settle(asked)
        finally:
            for claim in self._claims.values():
                claim.close()
            self._claims.clear()

    def _contexts(self, chains: Sequence[EncodedChain]) -> Iterator[tuple[OpenContext, Sequence[Sample[Asked]]]]:
        """Read the contexts of one chain after the other."""
        for chain in chains:
            claim = ExitStack()
            if not claim.enter_context(self.folder.claim(chain.chain_id)):
                claim.close()
                continue
            self._claims[chain.chain_id] = claim
            self._left[chain.chain_id] = set()
            self.folder.forget_failure(chain.chain_id)
            try:
                yield from self._contexts_of(chain)
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error) or self.n_rows > 1:  # with fewer rows there may be room to read
                    raise
                self.folder.add_failure(chain.chain_id, OUT_OF_MEMORY)
                self._left[chain.chain_id].clear()
            except (MeasurementError, EncodingError) as error:
                self.folder.add_error(chain.chain_id, error)
                self._left[chain.chain_id].clear()
            self._release_if_done(chain.chain_id)

    def _contexts_of(self, chain: EncodedChain) -> Iterator[tuple[OpenContext, Sequence[Sample[Asked]]]]:
        asker = Asker(chain, self.encoder, self.answering)
        room = self._room(chain, asker)
        asked = self._asked(chain, asker)
        self._left[chain.chain_id] = set(asked)
        for index, opened in self.reader.read([each.context for each in asked]):
            each = asked[index]
            if not (opened.logits.isfinite().any() and np.isfinite(opened.logp).all()):
                what = "the model gives likelihoods that are not finite numbers"
                raise MeasurementError(chain.chain_id, not_finite(what, self.loaded.model.dtype))
            if each.context.n_scored:
                likelihood = GoldLikelihood(-float(opened.logp.mean()), each.context.n_scored)
                self.folder.add_gold(chain.chain_id, each.reading, each.kept, likelihood)
                self._left[chain.chain_id].discard(each)
            else:
                each.samples = self._samples(chain, each, room)
                yield opened, list(each.samples.values())

    def _asked(self, chain: EncodedChain, asker: Asker) -> list[Asked]:
        """List the contexts from which an answer or the likelihood of the gold answer is missing, each once.

        What a strategy keeps of the chain may be unknown, because it has no path of it; the other strategies go on.
        """
        selector = Selector(chain, self.folder, self.loaded)
        has_gold = chain.chain.gold_answer is not None
        to_answer: dict[str, Asked] = {}
        to_score: dict[str, Asked] = {}
        for condition in self.folder.configuration.conditions.values():
            try:
                kept, reading = selector.kept(condition), condition.reading
            except (MeasurementError, PluginError) as error:
                self.folder.add_error(chain.chain_id, error)
                continue
            known = to_answer.get(digest := context_digest(reading, kept))
            n_samples = max(condition.samples, known.n_samples if known else 0)
            to_answer[digest] = Asked(chain.chain_id, reading, kept, asker.to_answer(kept, reading), n_samples)
            if has_gold and digest not in to_score and self.folder.gold(chain.chain_id, reading, kept) is None:
                to_score[digest] = Asked(chain.chain_id, reading, kept, asker.to_score_gold(kept, reading), 0)
        lacking = [each for each in to_answer.values() if self._missing(each)]
        return [*lacking, *to_score.values()]

    def _missing(self, asked: Asked) -> list[int]:
        known = {answer.sample for answer in self.folder.answers(asked.chain_id, asked.reading, asked.kept)}
        return [number for number in range(asked.n_samples) if number not in known]

    def _samples(self, chain: EncodedChain, asked: Asked, room: int) -> dict[int, Sample[Asked]]:
        seed = self.answering.sampling.seed
        return {number: Sample(asked, sample_seed(seed, chain.chain_id, number), room) for number in self._missing(asked)}

    def _room(self, chain: EncodedChain, asker: Asker) -> int:
        """Tokens that an answer may have: as many at every threshold, so that they fit behind the whole chain."""
        most, length = self.answering.sampling.max_tokens, self.loaded.context_length
        room = most if length is None else min(most, length - asker.n_before_answer)
        if length is not None and max(asker.n_before_answer + 1, asker.n_with_gold) > length:
            raise MeasurementError(
                chain.chain_id,
                f"has {asker.n_before_answer} tokens before the answer, {asker.n_with_gold} with the gold answer, but the "
                f"model's context holds {length}; leave the chain out or use a model with a longer context",
            )
        return room

    def _settle(self, asked: Asked) -> None:
        """Write the answers from a context, and why some of them could not be made."""
        stem, stop = str(self.answering.stem), self.answering.sampling.stop
        before = asked.context.tail if len(asked.context.tail) else asked.context.ids
        finished = {number: each for number, each in asked.samples.items() if each.finish_reason != "not_finite"}
        if len(finished) < len(asked.samples):
            self.folder.add_failure(asked.chain_id, not_finite(LOGITS, self.loaded.model.dtype))
        answers = [
            Answer(
                sample=number,
                seed=sample.seed,
                text=stem + text_behind(self.loaded.tokenizer, before, sample.written, stop=stop),
                n_tokens=len(sample.ids),
                finish_reason=str(sample.finish_reason),
            )
            for number, sample in finished.items()
        ]
        if answers:
            self.folder.add_answers(asked.chain_id, asked.reading, asked.kept, answers)
        asked.samples.clear()
        self._left[asked.chain_id].discard(asked)
        self._release_if_done(asked.chain_id)

    def _release_if_done(self, chain_id: str) -> None:
        if not self._left[chain_id] and chain_id in self._claims:
            self._claims.pop(chain_id).close()
            self.stage.advance()
