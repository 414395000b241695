"""Likelihood of a chain under deletions where candidates share what they have in common.

Deleting a token changes nothing before it, so a candidate deletion re-runs only the tokens after it. And what a
candidate computed between its own token and a token deleted later still holds at the next step, so its keys and
values are stored and only the rest is run again.
"""

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch

from reasoning_anatomy.likelihood.base import ChainLikelihood
from reasoning_anatomy.likelihood.branches import Pass, Slots, run_pass
from reasoning_anatomy.models.attention_interface import installed
from reasoning_anatomy.models.loading import LoadedModel
from reasoning_anatomy.models.memory import is_out_of_memory, release_memory
from reasoning_anatomy.types import DeletionScores, EncodedChain, FloatArray, IntArray

_NO_SLOTS: Final = np.empty(0, dtype=np.int64)


@dataclass(frozen=True, eq=False)
class _Branch:
    """One candidate: which token it leaves out, what it sees, what it runs."""

    candidate: int
    n_base: int  # tokens of the closed-up chain before the candidate
    stored: IntArray  # kept positions after the candidate whose keys and values are in the store
    run: IntArray  # kept positions to run, before the answer


class SharedLikelihood(ChainLikelihood):
    """The likelihood of a chain under deletions, where nothing is computed twice that memory can hold.

    For models that attend through the interface of transformers and pass nothing from token to token but by
    attention, full or in a sliding window.

    Parameters
    ----------
    loaded, chain, token_budget
        As for every `ChainLikelihood`.
    store_bytes
        Memory for the keys and values of candidates, which stay valid until a token among them is deleted. Where all
        need more, the candidates at the end of the chain have it and the others run again from the token that they
        leave out.
    """

    def __init__(self, loaded: LoadedModel, chain: EncodedChain, *, token_budget: int, store_bytes: int) -> None:
        super().__init__(loaded, chain, token_budget=token_budget)
        self._base = Slots(len(self._ids))
        self._own = Slots(0)
        self._valid_until = np.arange(self._n)  # stored branch tokens of a candidate lie before this position
        self._logp = np.full(len(self._ids), np.nan)  # of every token of the chain, by slot
        self._logp_skipping = np.full(self._n, np.nan)  # of the token after a position, without that position
        self._branch_logp = np.full((0, 0), np.nan)
        self._scored_reasoning = False
        self._answer_logp = np.full((self._n, self._m), np.nan)  # by candidate, as scored last; NaN = not scored since
        self._run_base(first=0)
        n_slots = store_bytes // self._base.bytes_per_slot
        n_storing = min(self._n, (1 + math.isqrt(1 + 8 * n_slots)) // 2)  # with the candidates at the end: a triangle
        self._first_storing = self._n - n_storing
        self._own = Slots(n_storing * (n_storing - 1) // 2)

    def token_logp(self) -> FloatArray:
        """(k + m,) log-likelihood in nats of every kept reasoning token and every answer token."""
        return np.concatenate([self._logp[self._n_prompt + self.kept], self._logp[self._n_prompt + self._n :]])

    def _delete(self, index: int) -> None:
        position = self.kept[index]
        self.kept = np.delete(self.kept, index)
        self._valid_until[:position] = np.minimum(self._valid_until[:position], position)
        self._valid_until[position:] = np.arange(position, self._n)
        answer_logp = self._answer_logp[position].copy()
        self._answer_logp[:] = np.nan
        # The two tokens before the gap have new successors, so what they predict is computed again.
        self._run_base(first=max(self._n_prompt - 1, self._n_prompt + index - 2), answer_logp=answer_logp)

    def score_deletions(self, *, reasoning: bool, candidates: IntArray | None = None) -> DeletionScores:
        """Score the deletion of one more token; see `ChainLikelihood.score_deletions`."""
        candidates = self.kept if candidates is None else candidates
        if reasoning and not self._branch_logp.size:
            self._branch_logp = np.full((self._n, self._n), np.nan)
        if reasoning and not self._scored_reasoning:
            self._valid_until = np.arange(self._n)  # of what is stored, the likelihood of the reasoning is not known
        self._scored_reasoning = reasoning
        waiting = self._branches(candidates, reasoning=reasoning)
        while waiting:
            n_next = self._n_next(waiting)
            if self._fits(waiting[:n_next], reasoning=reasoning):
                waiting = waiting[n_next:]
            else:
                waiting = self._branches(np.sort([branch.candidate for branch in waiting]), reasoning=reasoning)
        self._valid_until[candidates[candidates >= self._first_storing]] = self._n
        answer_logp = self._answer_logp[candidates]
        self._expect_finite(answer_logp, "the answer")
        remaining = self._remaining_reasoning(candidates) if reasoning else None
        return DeletionScores(candidates.copy(), answer_logp.sum(axis=1), remaining)

    def _fits(self, pack: list[_Branch], *, reasoning: bool) -> bool:
        """Run a pack; where memory does not suffice, take less of it from now on and return False."""
        try:
            self._run_branches(pack, reasoning=reasoning)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
        else:
            return True
        n_tokens = sum(len(branch.run) for branch in pack) + len(pack) * (self._m - 1)
        if len(pack) > 1:
            self.token_budget = max(1, min(self.token_budget, n_tokens) // 2)
        elif self._own.n_slots:
            self._own = Slots(0)
            self._first_storing = self._n
            self._valid_until = np.arange(self._n)
        else:
            raise self._out_of_memory()
        release_memory()
        return False

    def _remaining_reasoning(self, candidates: IntArray) -> FloatArray:
        indices = np.searchsorted(self.kept, candidates)
        before = np.concatenate([[0.0], np.cumsum(self._logp[self._n_prompt + self.kept])])[indices]
        after = [self._branch_logp[self.kept[index], self.kept[index + 1 :]].sum() for index in indices]
        remaining: FloatArray = before + np.array(after)
        self._expect_finite(remaining, "the reasoning")
        return remaining

    def _run_base(self, *, first: int, answer_logp: FloatArray | None = None) -> None:
        """Run the chain as it is from its token number ``first`` on, in pieces of the budget.

        The answer is left out where its likelihood (m,) is known from scoring the deletion that was made.
        """
        reasoning_end = self._n_prompt + self._n
        slots = np.concatenate([self._context_slots(), np.arange(reasoning_end, len(self._ids))])
        is_known = answer_logp is not None and bool(np.isfinite(answer_logp).all())
        inputs = slots[: self._n_prompt + len(self.kept)] if is_known else slots[:-1]
        start = first
        while start < len(inputs):
            start += self._run_piece(inputs, start, slots)
        if is_known:
            self._logp[reasoning_end:] = answer_logp
        self._expect_finite(self._logp[slots[self._n_prompt :]], "the chain")

    def _run_piece(self, inputs: IntArray, start: int, slots: IntArray) -> int:
        """Run one piece of the chain from ``start`` on and return its length; 0 where memory does not suffice for it."""
        run = inputs[start : start + self.token_budget]
        predicts = np.flatnonzero(np.arange(start, start + len(run)) >= self._n_prompt - 1)
        layout = self._pass(
            [run], base_slots=inputs[:start], n_base=np.array([start]), own_slots=[_NO_SLOTS],
            target=self._base, target_tokens=np.arange(len(run)), target_slots=run,
        )  # fmt: skip
        following = slots[start + predicts + 1]
        next_but_one = slots[np.minimum(start + predicts + 2, len(slots) - 1)]
        try:
            logp = self._forward(layout, self._ids[run], predicts, np.stack([self._ids[following], self._ids[next_but_one]]))
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            if len(run) == 1:
                raise self._out_of_memory() from error
            logp = None
        if logp is None:
            self.token_budget = max(1, len(run) // 2)
            release_memory()
            return 0
        self._logp[following] = logp[0]
        is_reasoning = following < self._n_prompt + self._n
        self._logp_skipping[following[is_reasoning] - self._n_prompt] = logp[1, is_reasoning]
        return len(run)

    def _branches(self, candidates: IntArray, *, reasoning: bool) -> list[_Branch]:
        """Lay out the branches of some candidates, the longest first."""
        branches = [self._branch(int(index), reasoning=reasoning) for index in np.searchsorted(self.kept, candidates)]
        return sorted(branches, key=lambda branch: -len(branch.run))

    def _branch(self, index: int, *, reasoning: bool) -> _Branch:
        candidate = int(self.kept[index])
        end = max(index + 1, int(np.searchsorted(self.kept, self._valid_until[candidate])))
        start = end
        if end > index + 1 and (reasoning or end == len(self.kept)):
            start = end - 1  # what this token predicts has changed
        return _Branch(candidate, self._n_prompt + index, self.kept[index + 1 : start], self.kept[start:])

    def _n_next(self, waiting: list[_Branch]) -> int:
        """Take the next branches that fit into an equal share of the passes that are needed; at least one."""
        ends = np.cumsum([len(branch.run) + self._m - 1 for branch in waiting])
        share = ends[-1] / max(1, -(-ends[-1] // self.token_budget))
        return max(1, int(np.searchsorted(ends, share, side="right")))

    def _run_branches(self, pack: list[_Branch], *, reasoning: bool) -> None:
        answer_slots = np.arange(self._n_prompt + self._n, len(self._ids))
        for branch in pack:
            self._predict_from_base(branch, reasoning=reasoning)
        runs = [np.concatenate([self._n_prompt + branch.run, answer_slots[:-1]]) for branch in pack]
        targets = [np.concatenate([run, answer_slots[-1:]])[1:] for run in runs]
        slots, target_slots = np.concatenate(runs), np.concatenate(targets)
        if not len(slots):
            return
        candidates = np.repeat([branch.candidate for branch in pack], [len(run) for run in runs])
        wanted = np.flatnonzero(target_slots >= (0 if reasoning else answer_slots[0]))
        logp = self._forward(
            self._branch_layout(pack, runs, slots, candidates), self._ids[slots], wanted, self._ids[target_slots[wanted]][None]
        )[0]
        is_answer = target_slots[wanted] >= answer_slots[0]
        self._answer_logp[candidates[wanted[is_answer]], target_slots[wanted[is_answer]] - answer_slots[0]] = logp[is_answer]
        if reasoning:
            rest = wanted[~is_answer]
            self._branch_logp[candidates[rest], target_slots[rest] - self._n_prompt] = logp[~is_answer]

    def _predict_from_base(self, branch: _Branch, *, reasoning: bool) -> None:
        """Predict the token after the candidate by the one before it, which the base holds."""
        after = np.concatenate([branch.stored, branch.run])
        logp = self._logp_skipping[branch.candidate]
        if not len(after):
            self._answer_logp[branch.candidate, 0] = logp
        elif reasoning:
            self._branch_logp[branch.candidate, after[0]] = logp

    def _branch_layout(self, pack: list[_Branch], runs: list[IntArray], slots: IntArray, candidates: IntArray) -> Pass:
        n_base = np.array([branch.n_base for branch in pack])
        base_slots = self._context_slots()[: n_base.max()]
        kept_later = np.flatnonzero((slots < self._n_prompt + self._n) & (candidates >= self._first_storing))
        return self._pass(
            runs, base_slots=base_slots, n_base=n_base,
            own_slots=[self._own_slot(branch.candidate, branch.stored) for branch in pack],
            target=self._own, target_tokens=kept_later,
            target_slots=self._own_slot(candidates[kept_later], slots[kept_later] - self._n_prompt),
        )  # fmt: skip

    def _own_slot(self, candidate: IntArray | int, position: IntArray) -> IntArray:
        """Slot of the token at ``position`` in the branch of ``candidate`` < position: rows of a triangle, end to end."""
        row = candidate - self._first_storing
        row_start = row * (2 * (self._n - self._first_storing) - row - 1) // 2
        return row_start + position - candidate - 1

    def _pass(
        self, runs: list[IntArray], *, base_slots: IntArray, n_base: IntArray, own_slots: list[IntArray],
        target: Slots, target_tokens: IntArray, target_slots: IntArray,
    ) -> Pass:  # fmt: skip
        """Lay out branches that run ``runs`` and see the first ``n_base`` of ``base_slots``, then ``own_slots``."""
        lengths = np.array([len(run) for run in runs])
        length = int(lengths.max())
        ends = np.cumsum(lengths)
        steps = np.arange(length)
        token = np.minimum((ends - lengths)[:, None] + steps, ends[-1] - 1)
        n_own = np.array([len(slots) for slots in own_slots])
        padded_slots = np.zeros((len(runs), n_own.max()), dtype=np.int64)
        for row, slots in zip(padded_slots, own_slots, strict=True):
            row[: len(slots)] = slots
        return Pass(
            place=self._tensor(np.flatnonzero(steps < lengths[:, None])), token=self._tensor(token.flatten()), length=length,
            base=self._base, base_slots=self._tensor(base_slots), n_base=self._tensor(n_base),
            own=self._own, own_slots=self._tensor(padded_slots), n_own=self._tensor(n_own),
            target=target, target_tokens=self._tensor(target_tokens), target_slots=self._tensor(target_slots),
        )  # fmt: skip

    @torch.inference_mode()
    def _forward(self, layout: Pass, ids: IntArray, at: IntArray, targets: IntArray) -> FloatArray:
        """Log-probabilities of ``targets`` (rows, len(at)) predicted by the tokens ``at``, in float32 arithmetic."""
        with installed(self._loaded.model):
            logits = run_pass(self._loaded.model, layout, self._tensor(ids), logits_at=self._tensor(at)).float()
        chosen = logits.gather(1, self._tensor(np.ascontiguousarray(targets.T)))
        logp = chosen - logits.logsumexp(dim=1, keepdim=True)
        self.token_forwards += len(ids)
        return logp.T.cpu().double().numpy()
