"""Whole texts written anew on the questions of a run, while eviction policies empty the cache."""

import dataclasses
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, Final

from reasoning_anatomy import plugins
from reasoning_anatomy.errors import PluginError, RunError, SampleError
from reasoning_anatomy.eviction import EvictionPolicy
from reasoning_anatomy.eviction.nothing import Nothing
from reasoning_anatomy.generation.completion import Completion, Sampling, sample_seed
from reasoning_anatomy.generation.local import LocalModel
from reasoning_anatomy.generation.request import Request
from reasoning_anatomy.progress import Stage
from reasoning_anatomy.run.evaluations import Answer
from reasoning_anatomy.run.manifest import Condition
from reasoning_anatomy.run.sweep import SweepFolder
from reasoning_anatomy.run.writer import RunWriter
from reasoning_anatomy.run.written import WrittenText
from reasoning_anatomy.types import ReasoningChain

_MATCHED: Final = ("every", "steps", "protect_prompt", "n_sink", "newest", "positions")
"""Options that a baseline has from the policy that it accompanies, unless it names them."""

_CLAIMED: Final = 512
"""Texts that one process claims together: several times as many as are written at the same time."""


def policy_pairs(specs: Sequence[str], baselines: Sequence[str]) -> list[tuple[EvictionPolicy, EvictionPolicy | None]]:
    """Policies of a sweep, each with the one that it accompanies.

    Parameters
    ----------
    specs, baselines
        Of policies with thresholds of their own, and of those that accompany each.

    Raises
    ------
    PluginError
        A policy names an option that thresholds say.
    """
    policies = [_without_threshold(spec) for spec in specs]
    beside = [
        (_accompanying(policy, baseline, spec), policy)
        for policy in policies
        for spec, baseline in zip(baselines, map(_without_threshold, baselines), strict=True)
    ]
    return [*((policy, None) for policy in policies), *(pair for pair in beside if pair[0] != pair[1])]


def policy_at(policy: EvictionPolicy, threshold: float) -> EvictionPolicy:
    """Make the policy that a threshold of a sweep means; at 0 nothing is evicted."""
    return policy.at(threshold) if threshold > 0 else Nothing()


def expect_one_text(chains: Iterable[ReasoningChain]) -> None:
    """Raise `RunError` if two chains of one question have another text of it."""
    first: dict[str, ReasoningChain] = {}
    for chain in chains:
        known = first.setdefault(chain.question_id, chain)
        if (known.question, known.system_prompt) != (chain.question, chain.system_prompt):
            raise RunError(
                f"chains {known.chain_id!r} and {chain.chain_id!r} have the question_id {chain.question_id!r}, but different "
                "questions or system prompts, so that what to write on is not known; give one of them another question_id"
            )


def write_texts(folder: SweepFolder, writer: RunWriter, local: LocalModel, sampling: Sampling) -> None:
    """Write the texts that the questions of a run lack under the live conditions of a sweep.

    Parameters
    ----------
    folder
        Of the sweep.
    writer
        Of the run.
    local
        The model.
    sampling
        How tokens are drawn.

    Raises
    ------
    ModelError
        Writing as under a policy changes what the model computes, or memory runs out with one text.
    """
    lacking = [_lacking_texts(folder, repr(policy), n_samples) for policy, n_samples in _by_policy(folder.live)]
    if not any(lacking):
        return
    with writer.stages.add("write", sum(len(numbers) for each in lacking for numbers in each.values())) as stage:
        _WritingWork(folder, local, sampling, stage).write()
        stage.finish()  # what other processes write is no step of this one
    writer.add_checks(local.checks)


@dataclass(eq=False)
class _WritingWork:
    """Writes texts with one model.

    Attributes
    ----------
    folder
        Of the sweep.
    local
        The model, which is given one policy after the other.
    sampling
        How tokens are drawn.
    stage
        Shows progress, one step for each text.
    """

    folder: SweepFolder
    local: LocalModel
    sampling: Sampling
    stage: Stage

    def write(self) -> None:
        """Write what the questions lack; what another process works on is left to it.

        A text that cannot be written is recorded with its reason, and the others go on.
        """
        for policy, n_samples in _by_policy(self.folder.live):
            self.local.policy = policy
            waiting = deque(_lacking_texts(self.folder, repr(policy), n_samples))
            while waiting:
                with self._claimed(waiting, policy, n_samples) as requests:
                    for request, outcome in self.local.complete([request for request, _, _ in requests.values()]):
                        self._keep(*requests[request.name], outcome)
                        self.stage.advance()

    @contextmanager
    def _claimed(
        self, waiting: deque[str], policy: EvictionPolicy, n_samples: int
    ) -> Iterator[Mapping[str, "tuple[Request, str, int]"]]:
        """Claim the first of the questions that wait, and make their requests, by name, with chain_id and number of sample."""
        requests: dict[str, tuple[Request, str, int]] = {}
        with ExitStack() as claims:
            while waiting and len(requests) < _CLAIMED:
                chain_id = waiting.popleft()
                if claims.enter_context(self.folder.claim_texts(chain_id, repr(policy))):
                    self.folder.forget_failed_texts(chain_id, repr(policy))
                    for number in self.folder.missing_texts(chain_id, repr(policy), n_samples):
                        request = self._request(self.folder.run.chains[chain_id], number)
                        requests[request.name] = request, chain_id, number
            yield requests

    def _request(self, chain: ReasoningChain, number: int) -> Request:
        return Request(
            name=f"{chain.question_id}-s{number}",
            question=chain.question,
            seed=sample_seed(self.sampling.seed, chain.question_id, number),
            sampling=self.sampling,
            system_prompt=chain.system_prompt,
        )

    def _keep(self, request: Request, chain_id: str, number: int, outcome: Completion | SampleError) -> None:
        policy = repr(self.local.policy)
        if isinstance(outcome, SampleError):
            self.folder.add_failed_text(chain_id, policy, outcome.reason)
            return
        assert outcome.transcript is not None
        answer = Answer(number, request.seed, outcome.text, outcome.n_tokens, outcome.finish_reason)
        opened = bool(self.local.encoder.opened_thinking)
        self.folder.add_text(chain_id, policy, WrittenText(answer, outcome.transcript, opened))


def _lacking_texts(folder: SweepFolder, policy: str, n_samples: int) -> dict[str, list[int]]:
    """Numbers of the texts that are not written yet under a policy, by the first chain of their question."""
    missing = {each: folder.missing_texts(each, policy, n_samples) for each in folder.first_of_question.values()}
    return {chain_id: numbers for chain_id, numbers in missing.items() if numbers}


def policies_of(conditions: Iterable[Condition]) -> list[EvictionPolicy]:
    """Policies of live conditions as they are at their thresholds, each once."""
    return [policy for policy, _ in _by_policy(conditions)]


def _by_policy(conditions: Iterable[Condition]) -> list[tuple[EvictionPolicy, int]]:
    """Policies as they are at their thresholds, each once, with the largest number of samples."""
    found: dict[str, tuple[EvictionPolicy, int]] = {}
    for condition in conditions:
        policy = policy_at(plugins.load("policy", condition.strategy), condition.threshold)
        _, n_samples = found.get(repr(policy), (policy, 0))
        found[repr(policy)] = policy, max(n_samples, condition.samples)
    return list(found.values())


def _without_threshold(spec: str) -> EvictionPolicy:
    """Load a policy, and refuse options that thresholds say."""
    policy = plugins.load("policy", spec)
    low, high = policy.at(0.25), policy.at(0.75)
    for name in _options(policy):
        if getattr(low, name) != getattr(high, name) and plugins.is_named(spec, name):
            raise PluginError(f"policy {spec!r}: in a sweep, thresholds say its {name}; leave {name} out")
    return policy


def _accompanying(policy: EvictionPolicy, baseline: EvictionPolicy, spec: str) -> EvictionPolicy:
    """Let a baseline evict as often as a policy, and protect the same, as far as both have the options."""
    shared = {name for name in _MATCHED if name in _options(policy) and name in _options(baseline)}
    same = {name: getattr(policy, name) for name in shared if not plugins.is_named(spec, name)}
    if same.get("every") == 0:  # only where the thinking ends
        del same["every"]
    made: Any = baseline
    changed: EvictionPolicy = dataclasses.replace(made, **same)
    return changed


def _options(policy: EvictionPolicy) -> set[str]:
    return {field.name for field in dataclasses.fields(policy)}
