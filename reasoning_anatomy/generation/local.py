"""Sample with a model that is loaded here: many samples at a time, each with its own random numbers."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

from reasoning_anatomy.errors import EncodingError, PluginError, RunError, SampleError
from reasoning_anatomy.eviction import EvictionPolicy, WaitsForClosing
from reasoning_anatomy.generation.batch import Sample
from reasoning_anatomy.generation.check import check_decoding
from reasoning_anatomy.generation.completion import LOOP_TOKENS, Completion, Sampling
from reasoning_anatomy.generation.contexts import Context, ContextReader, OpenContext
from reasoning_anatomy.generation.decoding import Decoder, ends_of_turn, sampler
from reasoning_anatomy.generation.evicting import Evictor
from reasoning_anatomy.generation.request import Request
from reasoning_anatomy.generation.rows import fewer_rows, rows_that_fit
from reasoning_anatomy.generation.stopping import StopRules
from reasoning_anatomy.generation.text import text_behind
from reasoning_anatomy.models.encoding import ChainEncoder
from reasoning_anatomy.models.finite import LOGITS, not_finite
from reasoning_anatomy.models.loading import LoadedModel, load_model
from reasoning_anatomy.options import expect_at_least
from reasoning_anatomy.plugins import label
from reasoning_anatomy.progress import Stages
from reasoning_anatomy.specs import EncodingOptions, ModelSpec
from reasoning_anatomy.types import IntArray


def open_local(
    spec: ModelSpec,
    encoding: EncodingOptions,
    *,
    loop_tokens: int,
    ends_with_thinking: bool,
    policy: EvictionPolicy | None,
    stages: Stages,
) -> tuple["LocalModel", dict[str, Any], str]:
    """Load a model -> what makes samples, which model it is, and the thinking tag that its prompt opens.

    Raises
    ------
    RunError
        Samples are to end with the thinking of a model that does not think in tags.
    """
    with stages.add("load", 1) as stage:
        loaded = load_model(spec)
        stage.advance()
    encoder = ChainEncoder(loaded.tokenizer, encoding, context_length=loaded.context_length)
    if ends_with_thinking and not encoder.closing_tag:
        raise RunError(f"{spec.id}: does not think in tags, as far as its files tell; leave out --ends-with-thinking")
    local = LocalModel(
        loaded=loaded, encoder=encoder, ends_with_thinking=ends_with_thinking, policy=policy, loop_tokens=loop_tokens
    )
    return local, local.identity(), encoder.opened_thinking


@dataclass(frozen=True, eq=False)
class _Asked:
    request: Request
    prompt: IntArray


@dataclass(kw_only=True)
class LocalModel:
    """A model that is loaded here, as `ServedModel` is one behind a server.

    Attributes
    ----------
    loaded
        The model.
    encoder
        Of its prompts.
    n_rows
        Samples that are written at the same time; None takes as many as fit into memory. It is halved whenever memory runs out.
    ends_with_thinking
        Whether a sample ends where the model closes its thinking.
    policy
        What leaves the cache while samples are written; None evicts nothing.
    loop_tokens
        A sample ends that has only repeated a piece of at most 128 tokens over this many tokens; 0 lets it go on.
    checks
        What was found when decoding was compared with the model's own ``generate``, before the first sample; see
        `check_decoding`.

    Raises
    ------
    ValueError
        An option is out of its range.
    PluginError
        The policy evicts where samples end.
    """

    loaded: LoadedModel
    encoder: ChainEncoder
    n_rows: int | None = None
    ends_with_thinking: bool = False
    policy: EvictionPolicy | None = None
    loop_tokens: int = LOOP_TOKENS
    checks: dict[str, float] = field(default_factory=dict, init=False)
    _is_checked: bool = field(default=False, init=False)

    def __post_init__(self) -> None:
        expect_at_least(self, n_rows=1, loop_tokens=0)
        if self.ends_with_thinking and isinstance(self.policy, WaitsForClosing) and self.policy.waits_for_closing:
            raise PluginError(
                f"policy {label(self.policy)!r}: evicts where the thinking is closed, but samples end there; leave out "
                "--ends-with-thinking"
            )

    def complete(self, requests: Iterable[Request]) -> Iterator[tuple[Request, Completion | SampleError]]:
        """Make samples. Those of one question that follow one another read its prompt once.

        Parameters
        ----------
        requests
            All with the same ``sampling``.

        Yields
        ------
        A request with its completion, or with the reason why this one cannot be made, as they are finished.

        Raises
        ------
        ModelError
            Writing many samples at a time changes what the model computes, or memory runs out with one.
        """
        waiting = list(requests)
        while waiting:
            done = set[str]()
            try:
                for request, outcome in self._complete(waiting):
                    done.add(request.name)
                    yield request, outcome
            except (RuntimeError, MemoryError) as error:
                self.n_rows = fewer_rows(self.loaded, self.n_rows or 1, error)
            else:
                return
            waiting = [request for request in waiting if request.name not in done]

    def identity(self) -> dict[str, Any]:
        """Say which model this is: all that its samples depend on beside how they are drawn, as JSON can hold it."""
        return {
            "name": self.loaded.id,
            "weights": self.loaded.weights_digest(),
            "template": self.encoder.template_digest,
            "template_variables": list(self.encoder.options.template_variables),
            "date": self.encoder.options.date,
            "dtype": str(self.loaded.model.dtype).removeprefix("torch."),
            "quantization": self.loaded.quantization,
            "ends_with_thinking": self.ends_with_thinking,
            "loop_tokens": self.loop_tokens,
            **({} if self.policy is None else {"evicts": repr(self.policy)}),
        }

    def _complete(self, requests: Sequence[Request]) -> Iterator[tuple[Request, Completion | SampleError]]:
        sampling = requests[0].sampling
        unusable: list[tuple[Request, SampleError]] = []
        prompts: list[tuple[IntArray, list[Request]]] = []
        for _, group in groupby(requests, key=lambda request: (request.system_prompt, request.question)):
            of_question = list(group)
            try:
                prompts.append((self._prompt(of_question[0]), of_question))
            except EncodingError as error:
                unusable += [(request, SampleError(request.name, str(error))) for request in of_question]
        yield from unusable
        if not prompts:
            return
        longest = max(len(prompt) for prompt, _ in prompts) + sampling.max_tokens
        if self.loaded.context_length is not None:
            longest = min(longest, self.loaded.context_length)
        evictor = None
        if self.policy is not None:
            evictor = Evictor(self.loaded, self.policy, self.encoder, n_positions=longest)
        if not self._is_checked:
            self.checks = check_decoding(
                self.loaded, (prompt for prompt, _ in prompts), evicts_with=self.encoder if self.policy else None
            )
            self._is_checked = True
        self.n_rows = rows_that_fit(self.loaded, longest, asked=self.n_rows)
        decoder = Decoder[_Asked](
            self.loaded, choose=sampler(sampling), rules=self._rules(sampling), n_rows=self.n_rows, evictor=evictor
        )
        for sample in decoder.write(self._opened(prompts, sampling)):
            yield sample.key.request, self._outcome(sample, sampling, evictor)

    def _opened(
        self, prompts: Sequence[tuple[IntArray, list[Request]]], sampling: Sampling
    ) -> Iterator[tuple[OpenContext, list[Sample[_Asked]]]]:
        reader = ContextReader(self.loaded, keeps_all=self.policy is not None)
        for prompt, requests in prompts:
            length = self.loaded.context_length
            room = sampling.max_tokens if length is None else min(sampling.max_tokens, length - len(prompt))
            yield (
                reader.open(Context(prompt)),
                [Sample(_Asked(request, prompt), request.seed, room) for request in requests],
            )

    def _prompt(self, request: Request) -> IntArray:
        return self.encoder.prompt(request.question, request.system_prompt, owner=request.name)

    def _rules(self, sampling: Sampling) -> StopRules:
        closing = self.encoder.tag_ids(self.encoder.closing_tag).tolist() if self.ends_with_thinking else []
        return StopRules(
            ends_of_turn=ends_of_turn(self.loaded) | self.encoder.ends_of_turn,
            strings=sampling.stop,
            closing=tuple(closing),
            loop_tokens=self.loop_tokens,
        )

    def _outcome(self, sample: Sample[_Asked], sampling: Sampling, evictor: Evictor | None) -> Completion | SampleError:
        transcript = None if evictor is None else evictor.transcript(sample)
        if sample.finish_reason == "not_finite":
            return SampleError(sample.key.request.name, not_finite(LOGITS, self.loaded.model.dtype))
        text = text_behind(self.loaded.tokenizer, sample.key.prompt, sample.written, stop=sampling.stop)
        return Completion(text, len(sample.ids), sample.finish_reason or "length", transcript=transcript)
