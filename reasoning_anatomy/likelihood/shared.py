"""Likelihood of a chain under deletions, for models whose candidates can share what they have in common.

Deleting a token changes nothing before it, so a candidate deletion re-runs only the tokens after it. And what a candidate
computed between its own token and a token deleted later is still valid at the next step, so its keys and values are stored and
only the rest is run again.
"""

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch

from reasoning_anatomy.likelihood.base import ChainLikelihood
from reasoning_anatomy.likelihood.packed_attention import KVSlots, PackedLayout, run_packed
from reasoning_anatomy.models.attention_interface import installed
from reasoning_anatomy.models.loading import LoadedModel
from reasoning_anatomy.models.memory import is_out_of_memory, release_memory
from reasoning_anatomy.types import DeletionScores, EncodedChain, FloatArray, IntArray

_NO_SLOTS: Final = np.empty(0, dtype=np.int64)


@dataclass(frozen=True, eq=False)
class _Candidate:
    """A deletion to score: which token it leaves out, what it sees, what it runs."""

    position: int
    n_prefix: int  # tokens of the closed-up chain before the candidate
    stored: IntArray  # kept positions after the candidate whose keys and values are in the store
    to_run: IntArray  # kept positions after those, run before the answer


class SharedLikelihood(ChainLikelihood):
    """The likelihood of a chain under deletions, where nothing is computed twice that memory can hold.

    For models that attend through the interface of transformers and pass nothing from token to token except by attention,
    full or in a sliding window.

    Parameters
    ----------
    loaded, chain, token_budget
        As for every `ChainLikelihood`.
    store_bytes
        Memory for the keys and values of candidates, which stay valid until a token among them is deleted. If all
        candidates together need more, those at the end of the chain have it and the others run again from the token that
        they leave out.

    Attributes
    ----------
    _prefix
        Keys and values of the chain as it is now, whose first tokens the candidates share. The slot of a token is its
        index in ``_ids``, the p prompt, n reasoning and m answer tokens of the unpruned chain, and never changes.
    _own
        Keys and values of the kept reasoning tokens after a candidate, computed without the candidate: one slot for each
        pair of positions from ``_first_storing`` on, laid out by `_in_triangle`.
    _first_storing
        First position whose candidate has slots in ``_own``; n if none has.
    _stored_stop
        (n,) by candidate: what ``_own`` holds of it is valid at positions before this one; its own position if nothing is.
    _logp
        (p + n + m,) log-likelihood of every token of the chain as it is now, by index in ``_ids``; NaN for the prompt, and
        out of date for deleted tokens.
    _logp_skipping
        (n,) log-likelihood, given what is before a kept position, of the token after it: the first that changes if that
        position is deleted. The token before the position predicts it, so no candidate has to run for it.
    _later_logp
        (n (n - 1) / 2,) by candidate and later position, laid out by `_in_triangle`: log-likelihood of the later reasoning
        token without the candidate. Valid up to ``_stored_stop``, and computed again from there at each scoring. In float32,
        as the model's logits are, and allocated when the reasoning is first asked for: 2 n² bytes, 134 MB at n = 8,192.
    _scored_reasoning
        Whether the last scoring kept ``_later_logp`` in step with ``_own``.
    _answer_logp
        (n, m) log-likelihood of every answer token without a candidate; NaN if it was not scored since the last deletion.
    """

    def __init__(self, loaded: LoadedModel, chain: EncodedChain, *, token_budget: int, store_bytes: int) -> None:
        super().__init__(loaded, chain, token_budget=token_budget)
        self._prefix = KVSlots(len(self._ids))
        self._logp = np.full(len(self._ids), np.nan)
        self._logp_skipping = np.full(self._n, np.nan)
        self._later_logp = np.empty(0, dtype=np.float32)
        self._scored_reasoning = False
        self._answer_logp = np.full((self._n, self._m), np.nan)
        self._run_prefix(first=0)
        n_slots = store_bytes // self._prefix.bytes_per_slot
        n_storing = min(self._n, (1 + math.isqrt(1 + 8 * n_slots)) // 2)
        self._own = KVSlots(n_storing * (n_storing - 1) // 2)
        self._first_storing = self._n - n_storing
        self._stored_stop = np.arange(self._n)

    def token_logp(self) -> FloatArray:
        """(k + m,) log-likelihood in nats of every kept reasoning token and every answer token."""
        return np.concatenate([self._logp[self._n_prompt + self.kept], self._logp[self._n_prompt + self._n :]])

    def _delete(self, indices: IntArray) -> None:
        first = self.kept[indices[0]]
        self.kept = np.delete(self.kept, indices)
        self._stored_stop[:first] = np.minimum(self._stored_stop[:first], first)
        self._stored_stop[first:] = np.arange(first, self._n)
        answer_logp = self._answer_logp[first].copy() if len(indices) == 1 else None
        self._answer_logp[:] = np.nan
        # The two tokens before the gap have new successors, so what they predict is computed again.
        self._run_prefix(first=max(self._n_prompt - 1, self._n_prompt + int(indices[0]) - 2), answer_logp=answer_logp)

    def score_deletions(self, *, reasoning: bool, candidates: IntArray | None = None) -> DeletionScores:
        """Score the deletion of one more token; see `ChainLikelihood.score_deletions`."""
        candidates = self.kept if candidates is None else candidates
        if reasoning and not len(self._later_logp):
            self._later_logp = np.full(self._n * (self._n - 1) // 2, np.nan, dtype=np.float32)
        if reasoning and not self._scored_reasoning:
            self._stored_stop = np.arange(self._n)  # the likelihoods of what is stored are not known
        self._scored_reasoning = reasoning
        waiting = self._longest_first(candidates, reasoning=reasoning)
        while waiting:
            n_next = self._n_next(waiting)
            if self._fits(waiting[:n_next], reasoning=reasoning):
                waiting = waiting[n_next:]
            else:
                waiting = self._longest_first(np.sort([candidate.position for candidate in waiting]), reasoning=reasoning)
        self._stored_stop[candidates[candidates >= self._first_storing]] = self._n
        answer_logp = self._answer_logp[candidates]
        self._expect_finite(answer_logp, "the answer")
        remaining = self._remaining_reasoning(candidates) if reasoning else None
        return DeletionScores(candidates.copy(), answer_logp.sum(axis=1), remaining)

    def _fits(self, pack: list[_Candidate], *, reasoning: bool) -> bool:
        """Run a pack of candidates; if memory runs out, use less of it from now on and return False."""
        try:
            self._run_candidates(pack, reasoning=reasoning)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
        else:
            return True
        n_tokens = sum(len(candidate.to_run) for candidate in pack) + len(pack) * (self._m - 1)
        if len(pack) > 1:
            self.token_budget = max(1, min(self.token_budget, n_tokens) // 2)
        elif self._own.n_slots:
            self._own = KVSlots(0)
            self._first_storing = self._n
            self._stored_stop = np.arange(self._n)
        else:
            raise self._out_of_memory()
        release_memory()
        return False

    def _remaining_reasoning(self, candidates: IntArray) -> FloatArray:
        """(c,) summed log-likelihood of the kept reasoning tokens without each candidate."""
        indices = np.searchsorted(self.kept, candidates)
        before = np.concatenate([[0.0], np.cumsum(self._logp[self._n_prompt + self.kept])])[indices]
        after = [self._later_logp[_in_triangle(self.kept[i], self.kept[i + 1 :], self._n)] for i in indices]
        remaining: FloatArray = before + np.array([logp.astype(np.float64).sum() for logp in after])
        self._expect_finite(remaining, "the reasoning")
        return remaining

    def _run_prefix(self, *, first: int, answer_logp: FloatArray | None = None) -> None:
        """Run the chain as it is from its token number ``first`` on, in chunks of at most the budget.

        The answer is left out if its likelihood (m,) is known from scoring the deletion that was made.
        """
        reasoning_end = self._n_prompt + self._n
        slots = np.concatenate([self._context_slots(), np.arange(reasoning_end, len(self._ids))])
        is_known = answer_logp is not None and bool(np.isfinite(answer_logp).all())
        inputs = slots[: self._n_prompt + len(self.kept)] if is_known else slots[:-1]
        start = first
        while start < len(inputs):
            start += self._run_chunk(inputs, start, slots)
        if is_known:
            self._logp[reasoning_end:] = answer_logp
        self._expect_finite(self._logp[slots[self._n_prompt :]], "the chain")

    def _run_chunk(self, inputs: IntArray, start: int, slots: IntArray) -> int:
        """Run one chunk of the chain from ``start`` on and return its length; 0 if memory runs out on more than one token."""
        run = inputs[start : start + self.token_budget]
        predicts = np.flatnonzero(np.arange(start, start + len(run)) >= self._n_prompt - 1)
        layout = self._layout(
            [run], prefix_slots=inputs[:start], n_prefix=np.array([start]), own=self._prefix, own_slots=[_NO_SLOTS],
            written_tokens=np.arange(len(run)), written_slots=run,
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

    def _context_slots(self) -> IntArray:
        """(p + k,) slots of prompt and kept reasoning, in order."""
        return np.concatenate([np.arange(self._n_prompt), self._n_prompt + self.kept])

    def _longest_first(self, positions: IntArray, *, reasoning: bool) -> list[_Candidate]:
        """Make the candidates at some kept positions, those that run the most tokens first."""
        candidates = [self._candidate(int(index), reasoning=reasoning) for index in np.searchsorted(self.kept, positions)]
        return sorted(candidates, key=lambda candidate: -len(candidate.to_run))

    def _candidate(self, index: int, *, reasoning: bool) -> _Candidate:
        position = int(self.kept[index])
        end = max(index + 1, int(np.searchsorted(self.kept, self._stored_stop[position])))
        start = end
        if end > index + 1 and (reasoning or end == len(self.kept)):
            start = end - 1  # what this token predicts has changed
        return _Candidate(position, self._n_prompt + index, self.kept[index + 1 : start], self.kept[start:])

    def _n_next(self, waiting: list[_Candidate]) -> int:
        """Take the next candidates that fit into an equal share of the passes that are needed; at least one."""
        ends = np.cumsum([len(candidate.to_run) + self._m - 1 for candidate in waiting])
        share = ends[-1] / max(1, -(-ends[-1] // self.token_budget))
        return max(1, int(np.searchsorted(ends, share, side="right")))

    def _run_candidates(self, pack: list[_Candidate], *, reasoning: bool) -> None:
        answer_slots = np.arange(self._n_prompt + self._n, len(self._ids))
        for candidate in pack:
            self._predict_from_prefix(candidate, reasoning=reasoning)
        runs = [np.concatenate([self._n_prompt + candidate.to_run, answer_slots[:-1]]) for candidate in pack]
        predicted = [np.concatenate([run, answer_slots[-1:]])[1:] for run in runs]
        slots, predicted_slots = np.concatenate(runs), np.concatenate(predicted)
        if not len(slots):
            return
        positions = np.repeat([candidate.position for candidate in pack], [len(run) for run in runs])
        layout = self._layout_of(pack, runs, slots, positions)
        wanted = np.flatnonzero(predicted_slots >= (0 if reasoning else answer_slots[0]))
        logp = self._forward(layout, self._ids[slots], wanted, self._ids[predicted_slots[wanted]][None])[0]
        is_answer = predicted_slots[wanted] >= answer_slots[0]
        in_answer, in_reasoning = wanted[is_answer], wanted[~is_answer]
        self._answer_logp[positions[in_answer], predicted_slots[in_answer] - answer_slots[0]] = logp[is_answer]
        if reasoning:
            later = predicted_slots[in_reasoning] - self._n_prompt
            self._later_logp[_in_triangle(positions[in_reasoning], later, self._n)] = logp[~is_answer]

    def _predict_from_prefix(self, candidate: _Candidate, *, reasoning: bool) -> None:
        """Predict the token after the candidate by the one before it, which the prefix holds."""
        after = np.concatenate([candidate.stored, candidate.to_run])
        logp = self._logp_skipping[candidate.position]
        if not len(after):
            self._answer_logp[candidate.position, 0] = logp
        elif reasoning:
            self._later_logp[_in_triangle(candidate.position, after[0], self._n)] = logp

    def _layout_of(self, pack: list[_Candidate], runs: list[IntArray], slots: IntArray, positions: IntArray) -> PackedLayout:
        """Lay out candidates that run ``runs``: the tokens of ``slots`` (T,), each for the candidate in ``positions`` (T,)."""
        n_prefix = np.array([candidate.n_prefix for candidate in pack])
        written = np.flatnonzero((slots < self._n_prompt + self._n) & (positions >= self._first_storing))
        return self._layout(
            runs, prefix_slots=self._context_slots()[: n_prefix.max()], n_prefix=n_prefix, own=self._own,
            own_slots=[self._own_slot(candidate.position, candidate.stored) for candidate in pack],
            written_tokens=written, written_slots=self._own_slot(positions[written], slots[written] - self._n_prompt),
        )  # fmt: skip

    def _own_slot(self, candidate: IntArray | int, later: IntArray) -> IntArray:
        """Slots in ``_own`` of the tokens at ``later`` positions, for candidates from ``_first_storing`` on."""
        first = self._first_storing
        return _in_triangle(candidate - first, later - first, self._n - first)

    def _layout(
        self, runs: list[IntArray], *, prefix_slots: IntArray, n_prefix: IntArray, own: KVSlots, own_slots: list[IntArray],
        written_tokens: IntArray, written_slots: IntArray,
    ) -> PackedLayout:  # fmt: skip
        """Lay out continuations that run ``runs`` and see the first ``n_prefix`` of ``prefix_slots``, then ``own_slots``."""
        lengths = np.array([len(run) for run in runs])
        length = int(lengths.max())
        ends = np.cumsum(lengths)
        steps = np.arange(length)
        token = np.minimum((ends - lengths)[:, None] + steps, ends[-1] - 1)
        n_own = np.array([len(slots) for slots in own_slots])
        padded_slots = np.zeros((len(runs), n_own.max()), dtype=np.int64)
        for row, slots in zip(padded_slots, own_slots, strict=True):
            row[: len(slots)] = slots
        return PackedLayout(
            row=self._tensor(np.flatnonzero(steps < lengths[:, None])), token=self._tensor(token.flatten()), length=length,
            prefix=self._prefix, prefix_slots=self._tensor(prefix_slots), n_prefix=self._tensor(n_prefix),
            own=own, own_slots=self._tensor(padded_slots), n_own=self._tensor(n_own),
            written_tokens=self._tensor(written_tokens), written_slots=self._tensor(written_slots),
        )  # fmt: skip

    @torch.inference_mode()
    def _forward(self, layout: PackedLayout, ids: IntArray, at: IntArray, targets: IntArray) -> FloatArray:
        """(rows, len(at)) log-likelihood of ``targets`` (rows, len(at)), predicted by the tokens ``at`` of ``ids`` (T,).

        In float32 arithmetic, whatever the dtype of the model.
        """
        with installed(self._loaded.model):
            logits = run_packed(self._loaded.model, layout, self._tensor(ids), logits_at=self._tensor(at)).float()
        chosen = logits.gather(1, self._tensor(np.ascontiguousarray(targets.T)))
        logp = chosen - logits.logsumexp(dim=1, keepdim=True)
        self.token_forwards += len(ids)
        return logp.T.cpu().double().numpy()


def _in_triangle(row: IntArray | int, column: IntArray, size: int) -> IntArray:
    """Index of (row, column), row < column < size, if the rows of a strict upper triangle are laid end to end."""
    return row * (2 * size - row - 1) // 2 + column - row - 1
