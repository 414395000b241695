"""Exact greedy pruning of whole steps."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from reasoning_anatomy import plugins
from reasoning_anatomy.likelihood.pieces import FullPieces, SharedPieces, open_pieces
from reasoning_anatomy.models.loading import LoadedModel
from reasoning_anatomy.options import expect_at_least, expect_ratio
from reasoning_anatomy.pruning import PruningJob
from reasoning_anatomy.pruning._search import Objective, choose, unpruned
from reasoning_anatomy.pruning._steps import scores_of_units, steps_of
from reasoning_anatomy.pruning._threshold import unit_ends
from reasoning_anatomy.types import EncodedChain, FloatArray, IntArray, PruningPath


@dataclass(frozen=True, kw_only=True)
class StepGreedy:
    """Delete, again and again, the step whose loss hurts the likelihood least (exact).

    As `greedy`, with whole steps: in each round every step that is left is scored with its ids really removed and later
    positions closed up, and the step with the lowest objective is deleted. Ties go to the first step. A round starts from the
    ids that are left, so that an interrupted chain continues from any of them to the very same numbers. Within a step, tokens
    are listed in the order of the text. The score of a step says by how much its deletion raised the objective, in nats per
    token.

    Attributes
    ----------
    steps
        Key and options of the segmenter that cuts the steps.
    objective
        As for `greedy`: ``"answer"``, ``"joint"`` or ``"influence"``; the number of tokens left, by which the last two divide,
        depends on the step.
    keep_ratio
        Stop once no more than this fraction of the reasoning tokens is left (rounded down); 0 deletes all.
    tie_tolerance
        Objectives within this many nats per token are a tie; the default is what float32 rounds away.
    token_budget
        Tokens of one forward pass, halved whenever memory runs out, as for `greedy`. A step that is followed by more is run in
        several. Changes speed and memory, and numbers in the last digits.
    """

    steps: str = "sentences"
    objective: Objective = "answer"
    keep_ratio: float = 0.0
    tie_tolerance: float = 1e-5
    token_budget: int | None = None

    def __post_init__(self) -> None:
        expect_ratio(self, "keep_ratio")
        expect_at_least(self, token_budget=1, tie_tolerance=0)
        plugins.load("segmenter", self.steps)  # refuses an unknown segmenter before anything is measured

    def prune(self, chain: EncodedChain, *, loaded: LoadedModel, job: PruningJob | None = None) -> PruningPath:
        """Delete tokens of one chain; see `Strategy.prune`."""
        job, step = job or PruningJob(), steps_of(self.steps, chain)
        path, likelihood = self._begin(chain, loaded, job.begun)
        kept = np.flatnonzero(np.isnan(path.deletion_step))
        while len(path.deleted) < self._n_deletions(chain):
            deletion = self._best(likelihood, step[kept])
            deleted = kept[deletion.indices]
            kept = np.delete(kept, deletion.indices)
            likelihood = open_pieces(loaded, chain, kept, token_budget=likelihood.token_budget)
            path = self._extended(path, deleted, deletion, likelihood)
            job.save(path)
            for _ in deleted:
                job.advance()
        return path

    def token_forwards(self, chain: EncodedChain, *, shares_prefixes: bool) -> int:
        """Tokens that a path runs through the model at most, whatever the order of the steps; see `ForeseesCost`."""
        lengths = np.sort(np.bincount(steps_of(self.steps, chain)))  # the shortest go first, at worst
        n_rounds = int(np.searchsorted(np.cumsum(lengths), self._n_deletions(chain))) + 1 if self._n_deletions(chain) else 0
        p, m, n_steps = len(chain.prompt_ids), len(chain.answer_ids), len(lengths)
        n_kept = np.concatenate([[0], np.cumsum(lengths[::-1])])  # by the number of steps that are left
        left = np.arange(n_steps, n_steps - n_rounds, -1)
        after_a_step = np.cumsum(n_kept)[left - 1]  # summed over the steps, the longest at the end
        scored = after_a_step + left * m if shares_prefixes else (left - 1) * n_kept[left] + left * (p + m)
        opened = p + n_kept[n_steps - np.arange(n_rounds + 1)] + m - shares_prefixes
        nothing_left = (m + 1 if shares_prefixes else 1 + p + m) if n_rounds == n_steps else 0
        return int(scored.sum() + opened.sum() + nothing_left)

    def _n_deletions(self, chain: EncodedChain) -> int:
        return chain.n_reasoning - int(chain.n_reasoning * self.keep_ratio)

    def _begin(
        self, chain: EncodedChain, loaded: LoadedModel, begun: PruningPath | None
    ) -> tuple[PruningPath, SharedPieces | FullPieces]:
        """Take up a path, or begin one, and the likelihood of what it leaves."""
        if begun is not None:
            kept = np.flatnonzero(np.isnan(begun.deletion_step))
            return begun, open_pieces(loaded, chain, kept, token_budget=begun.token_budget)
        likelihood = open_pieces(loaded, chain, np.arange(chain.n_reasoning), token_budget=self.token_budget)
        path = dataclasses.replace(
            unpruned(self, chain.n_reasoning, likelihood), token_forwards=likelihood.token_forwards,
            token_budget=likelihood.token_budget, unit=np.empty(0, dtype=np.int64), unit_score=np.empty(0),
        )  # fmt: skip
        return path, likelihood

    def _best(self, likelihood: SharedPieces | FullPieces, step: IntArray) -> "_Deletion":
        """Find the best step to delete, of those (k,) that are left."""
        pieces = np.split(np.arange(len(step)), np.flatnonzero(np.diff(step)) + 1)
        before = likelihood.token_forwards
        objectives, now = self._objectives(likelihood, pieces)
        best, margin = choose(objectives, self.tie_tolerance)
        return _Deletion(pieces[best], margin, float(objectives[best] - now), likelihood.token_forwards - before)

    def _objectives(self, likelihood: SharedPieces | FullPieces, pieces: Sequence[IntArray]) -> tuple[FloatArray, float]:
        """(pieces,) objective if each were deleted, in nats per token that is left, and the objective before."""
        scores, nll = likelihood.score_pieces(pieces, reasoning=self.objective != "answer"), likelihood.nll()
        if scores.reasoning is None:
            return -scores.answer / likelihood.n_answer, nll.answer
        after, logp = scores.answer + scores.reasoning, likelihood.token_logp()
        n_left = len(logp) - np.array([len(piece) for piece in pieces])
        if self.objective == "joint":
            return -after / n_left, nll.joint
        survivors_now = logp.sum() - np.array([logp[piece].sum() for piece in pieces])
        return (survivors_now - after) / n_left, 0.0

    def _extended(
        self, path: PruningPath, deleted: IntArray, deletion: "_Deletion", likelihood: SharedPieces | FullPieces
    ) -> PruningPath:
        """Join a step to a path; the likelihood is evaluated after its last token alone."""
        nll, k = likelihood.nll(), len(deleted)
        inside, unit_score = np.full(k - 1, np.nan), np.append(scores_of_units(path), deletion.importance)
        unit = np.repeat(np.arange(len(unit_score)), np.diff(unit_ends(path), prepend=0, append=len(path.deleted) + k))
        return dataclasses.replace(
            path,
            deleted=np.concatenate([path.deleted, deleted]),
            margin=np.concatenate([path.margin, np.full(k, deletion.margin)]),
            n_ties=path.n_ties + (deletion.margin <= self.tie_tolerance),
            nll_answer=np.concatenate([path.nll_answer, inside, [nll.answer]]),
            nll_joint=np.concatenate([path.nll_joint, inside, [nll.joint]]),
            nll_reasoning=np.concatenate([path.nll_reasoning, inside, [nll.reasoning]]),
            token_forwards=path.token_forwards + deletion.token_forwards + likelihood.token_forwards,
            token_budget=likelihood.token_budget,
            unit=unit,
            unit_score=unit_score,
        )


@dataclass(frozen=True, eq=False)
class _Deletion:
    """The step that a round deletes: its tokens among those that are left, and what was found out about it at what cost."""

    indices: IntArray
    margin: float
    importance: float
    token_forwards: int
