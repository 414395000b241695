"""The rankings that are made at the stages of a path, and how well each foretells the deletions after a stage."""

import ast
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from analyses._exclusions import MIN_TOKENS
from analyses._plugins import parsed
from analyses._rank_correlation.reading import importance_order
from analyses._rank_dynamics.judging import Judgement, judge_all
from analyses._statistics.foretelling import TERMS, lowest_of_any
from reasoning_anatomy.errors import AnalysisError, MissingError
from reasoning_anatomy.run.folder import Run
from reasoning_anatomy.types import FloatArray, IntArray, PathStages, PruningPath

SCORER: Final = "candidate_nll"
"""Key of the scorer whose stages are read."""


@dataclass(frozen=True, eq=False)
class Rankings:
    """How well rankings foretell, in every chain.

    Attributes
    ----------
    chain_ids, question_ids
        Of every chain.
    keep_ratios
        (stages,) at which rankings are made and judged, descending from 1.
    scorers
        Labels of further rankings, made once.
    found
        (chains, stages + scorers, stages, 4) the `TERMS` of every ranking (made at a stage, or by a scorer) at every stage
        where it is judged; NaN where it is made later, or nothing can be judged.
    compared
        (chains, stages, 2, 4) the `TERMS` of the ranking made at a stage and of the first one, over the tokens of `n_compared`.
    n_judged
        (chains, stages) tokens that rankings are judged on: those that are left, without the very next deletion; 0 = nothing
        can be judged.
    n_compared
        (chains, stages) the same without the lowest of either of the two rankings.
    n_after
        (chains, stages) how many of those of ``n_judged`` are deleted later.
    window
        (chains,) how many deletions the overlap is about.
    exclusions
        Chains left out, by reason.
    """

    chain_ids: tuple[str, ...]
    question_ids: tuple[str, ...]
    keep_ratios: tuple[float, ...]
    scorers: tuple[str, ...]
    found: FloatArray
    compared: FloatArray
    n_judged: IntArray
    n_compared: IntArray
    n_after: IntArray
    window: IntArray
    exclusions: Mapping[str, int]


@dataclass(frozen=True, eq=False)
class _Chain:
    found: FloatArray
    compared: FloatArray
    n_judged: IntArray
    n_compared: IntArray
    n_after: IntArray
    window: int


def stages_label(run: Run, wanted: str | None) -> str:
    """Label of the scorer whose stages are read: the one that is wanted, or the first.

    Raises
    ------
    MissingError
        There is none with a second stage; the message has the command that measures it.
    """
    known = run.manifest.configuration.scorers
    labels = [label for label in known if label.partition(":")[0] == SCORER]
    if wanted is not None and wanted not in labels:
        raise MissingError(f"{run.folder}: has no {SCORER} with the label {wanted!r}; it has {', '.join(labels) or 'none'}")
    labels = [label for label in labels if wanted in (None, label) and len(keep_ratios_of(known[label])) > 1]
    if not labels:
        raise MissingError(
            f"{run.folder}: no rankings have been made at several stages of a path; make them with: reasoning-anatomy run "
            f"CHAINS.jsonl --out {run.folder} --strategies greedy --scorers {SCORER}"
        )
    return labels[0]


def keep_ratios_of(provenance: str) -> tuple[float, ...]:
    """Stages of the scorer, from its ``repr``."""
    return tuple(ast.literal_eval(parsed(provenance)[1].get("keep_ratios", "()")))


def strategy_of(provenance: str) -> str:
    """Label of the strategy whose path the scorer follows, from its ``repr``."""
    return str(ast.literal_eval(parsed(provenance)[1]["strategy"]))


def gather(run: Run, label: str, *, scorers: Sequence[str], window: float) -> Rankings:
    """Judge the rankings in every chain that can be used.

    Parameters
    ----------
    run
        With the stages.
    label
        Of the scorer that has them.
    scorers
        Labels of scorers whose rankings are judged beside, made once on the unpruned chain.
    window
        Share of a chain's tokens that the overlap is about.

    Raises
    ------
    AnalysisError
        No chain can be used.
    """
    provenance = run.manifest.configuration.scorers[label]
    strategy = strategy_of(provenance)
    exclusions: Counter[str] = Counter()
    chains: dict[str, _Chain] = {}
    judgements: list[Judgement] = []
    for chain_id in run.chains:
        found = _read_chain(run, chain_id, label, strategy, scorers, window, exclusions)
        if isinstance(found, str):
            exclusions[found] += 1
        else:
            chains[chain_id] = found[0]
            judgements += found[1]
    judge_all(judgements)
    counts = {reason: count for reason, count in sorted(exclusions.items()) if count}
    if not chains:
        reasons = ", ".join(f"{count} {reason}" for reason, count in counts.items())
        raise AnalysisError(
            f"{run.folder}: none of {len(run.chains)} chains can be used ({reasons}); the path of {strategy} has to go on "
            "after a keep ratio of the stages"
        )
    return Rankings(
        chain_ids=tuple(chains),
        question_ids=tuple(run.chains[chain_id].question_id for chain_id in chains),
        keep_ratios=keep_ratios_of(provenance),
        scorers=tuple(scorers),
        found=np.stack([chain.found for chain in chains.values()]),
        compared=np.stack([chain.compared for chain in chains.values()]),
        n_judged=np.stack([chain.n_judged for chain in chains.values()]),
        n_compared=np.stack([chain.n_compared for chain in chains.values()]),
        n_after=np.stack([chain.n_after for chain in chains.values()]),
        window=np.array([chain.window for chain in chains.values()]),
        exclusions=counts,
    )


def _read_chain(
    run: Run, chain_id: str, label: str, strategy: str, scorers: Sequence[str], window: float, exclusions: Counter[str]
) -> tuple[_Chain, list[Judgement]] | str:
    """Say what is to be judged of one chain, or why nothing can be."""
    path = run.path(chain_id, strategy)
    if path is None:
        return "not_measured"
    scores = run.token_scores(chain_id, label)
    if scores is None or scores.stages is None:
        return "scorer_not_measured" if run.missing_score(chain_id, label) is None else "no_score"
    if path.n_reasoning < MIN_TOKENS:
        return f"fewer_than_{MIN_TOKENS}_tokens"
    beside = np.full((len(scorers), path.n_reasoning), np.nan)
    for row, name in zip(beside, scorers, strict=True):
        of_scorer = run.token_scores(chain_id, name, with_profile=False)
        if of_scorer is None or not np.isfinite(of_scorer.score).all():
            exclusions[f"no_score_of_{name}"] += 1
        else:
            row[:] = of_scorer.score
    found, judgements = _judge(scores.stages, path, beside, max(1, round(window * path.n_reasoning)))
    return (found, judgements) if judgements else "no_deletion_after_a_stage"


def _judge(stages: PathStages, path: PruningPath, beside: FloatArray, window: int) -> tuple[_Chain, list[Judgement]]:
    """Say what is to be judged of one chain, at every stage after which two tokens or more are deleted.

    The very next deletion is left out: greedy search makes it from the ranking of this very stage, which so foretells nothing.
    By that the ranking loses its lowest token. Where it is compared with the first one, both lose the lowest of either.
    """
    n_stages = len(stages.keep_ratios)
    found = np.full((n_stages + len(beside), n_stages, len(TERMS)), np.nan)
    compared = np.full((n_stages, 2, len(TERMS)), np.nan)
    n_judged, n_compared, n_after = np.zeros((3, n_stages), dtype=np.int64)
    importance = importance_order(path)
    judgements = []
    for stage, is_left in enumerate(stages.is_left):
        n_deleted = path.n_reasoning - int(is_left.sum())
        if len(path.deleted) <= n_deleted + 1 or path.n_reasoning - n_deleted - 1 < MIN_TOKENS:
            continue
        is_judged = is_left.copy()
        is_judged[path.deleted[n_deleted]] = False
        made = [*range(stage + 1), *range(n_stages, len(found))]
        rankings, both = np.concatenate([stages.nll[: stage + 1], beside]), stages.nll[[stage, 0]]
        is_compared = is_judged & ~lowest_of_any(np.where(is_left, both, np.inf))
        judgements += [
            Judgement(rankings[:, is_judged], importance[is_judged], window, found, (made, stage)),
            Judgement(both[:, is_compared], importance[is_compared], window, compared, (stage, slice(None))),
        ]
        n_judged[stage], n_compared[stage] = is_judged.sum(), is_compared.sum()
        n_after[stage] = len(path.deleted) - n_deleted - 1
    return _Chain(found, compared, n_judged, n_compared, n_after, window), judgements
