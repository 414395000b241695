"""Likelihood of a chain under deletions; what candidates share is computed once.

Deleting a token changes nothing before it, so a candidate deletion re-runs only the tokens after it. And what a
candidate computed between its own token and a token deleted later still holds at the next step, so its keys and
values are stored and only the rest is run again.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from torch import Tensor

from reasoning_anatomy.attention_interface import installed
from reasoning_anatomy.branch_attention import Pass, Slots, run_pass
from reasoning_anatomy.errors import MeasurementError, ModelError
from reasoning_anatomy.models import LoadedModel
from reasoning_anatomy.types import EncodedChain, FloatArray, IntArray

_NO_SLOTS: Final = np.empty(0, dtype=np.int64)


@dataclass(frozen=True)
class ChainNll:
    """Mean negative log-likelihoods of the current chain, in nats per token.

    Attributes
    ----------
    answer, joint, reasoning
        Of the answer, of kept reasoning and answer, of kept reasoning (NaN where none is left).
    """

    answer: float
    joint: float
    reasoning: float


@dataclass(frozen=True, eq=False)
class DeletionScores:
    """Log-likelihoods in nats (sums) if one more token were deleted, for each of the k kept tokens in order.

    Attributes
    ----------
    positions
        (k,) the candidates.
    answer
        (k,) of the answer.
    reasoning
        (k,) of the reasoning that would be left, or None where it was not asked for.
    """

    positions: IntArray
    answer: FloatArray
    reasoning: FloatArray | None


@dataclass(frozen=True, eq=False)
class _Branch:
    """One candidate: which token it leaves out, what it sees, what it runs."""

    candidate: int
    n_base: int  # tokens of the closed-up chain before the candidate
    stored: IntArray  # kept positions after the candidate whose keys and values are in the store
    run: IntArray  # kept positions to run, before the answer


class ChainLikelihood:
    """The likelihood of one chain while its reasoning tokens are deleted one by one.

    Must be used inside `reasoning_anatomy.attention_interface.installed`.

    Parameters
    ----------
    loaded
        The model.
    chain
        Encoded for it.
    token_budget
        Tokens of one forward pass.
    store_bytes
        Memory that the stored keys and values of candidates may take; where they need more, candidates run
        again from the token that they leave out.

    Attributes
    ----------
    token_forwards
        Tokens that were run through the model so far.
    """

    def __init__(self, loaded: LoadedModel, chain: EncodedChain, *, token_budget: int, store_bytes: int) -> None:
        self._loaded = loaded
        self._chain = chain
        self.token_budget = token_budget
        self._n_prompt, self._n, self._m = len(chain.prompt_ids), chain.n_reasoning, len(chain.answer_ids)
        self._ids = chain.ids
        self._base = Slots(len(self._ids))
        self._own = Slots(self._n * (self._n - 1) // 2)
        self._valid_until = np.arange(self._n)  # stored branch tokens of a candidate lie before this position
        self._logp = np.full(len(self._ids), np.nan)  # of every token of the chain, by slot
        self._logp_skipping = np.full(self._n, np.nan)  # of the token after a position, without that position
        self._branch_logp = np.full((0, 0), np.nan)
        self._answer_logp = np.full((self._n, self._m), np.nan)  # by candidate, as scored last; NaN = not scored since
        self.kept = np.arange(self._n)
        self.token_forwards = 0
        self._run_base(first=0)
        self._stores = self._own.n_slots * self._base.bytes_per_slot <= store_bytes

    @property
    def n_answer(self) -> int:
        """Number of answer tokens."""
        return self._m

    def nll(self) -> ChainNll:
        """Of the chain as it is now."""
        logp = self.token_logp()
        reasoning, answer = logp[: len(self.kept)], logp[len(self.kept) :]
        return ChainNll(-answer.mean(), -logp.mean(), -reasoning.mean() if len(reasoning) else np.nan)

    def token_logp(self) -> FloatArray:
        """(k + m,) log-likelihood in nats of every kept reasoning token and every answer token."""
        return np.concatenate([self._logp[self._n_prompt + self.kept], self._logp[self._n_prompt + self._n :]])

    def delete(self, position: int) -> None:
        """Delete one kept reasoning token; later positions close up."""
        index = int(np.searchsorted(self.kept, position))
        if index == len(self.kept) or self.kept[index] != position:
            raise ValueError(f"{self._chain.chain_id}: position {position} is not there to delete")
        self.kept = np.delete(self.kept, index)
        self._valid_until[:position] = np.minimum(self._valid_until[:position], position)
        self._valid_until[position:] = np.arange(position, self._n)
        answer_logp = self._answer_logp[position].copy()
        self._answer_logp[:] = np.nan
        # The two tokens before the gap have new successors, so what they predict is computed again.
        self._run_base(first=max(self._n_prompt - 1, self._n_prompt + index - 2), answer_logp=answer_logp)

    def score_deletions(self, *, reasoning: bool) -> DeletionScores:
        """Score every deletion of one more token.

        Parameters
        ----------
        reasoning
            Whether the likelihood of the remaining reasoning is wanted as well as that of the answer.
        """
        if reasoning and not self._branch_logp.size:
            self._branch_logp = np.full((self._n, self._n), np.nan)
        branches = [self._branch(index, reasoning=reasoning) for index in range(len(self.kept))]
        for pack in self._packs(branches):
            self._run_branches(pack, reasoning=reasoning)
        if self._stores:
            self._valid_until[self.kept] = self._n
        answer_logp = self._answer_logp[self.kept]
        self._expect_finite(answer_logp, "the answer")
        remaining = self._remaining_reasoning() if reasoning else None
        return DeletionScores(self.kept.copy(), answer_logp.sum(axis=1), remaining)

    def _remaining_reasoning(self) -> FloatArray:
        before = np.concatenate([[0.0], np.cumsum(self._logp[self._n_prompt + self.kept])[:-1]])
        after = [self._branch_logp[position, self.kept[index + 1 :]].sum() for index, position in enumerate(self.kept)]
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
        for start in range(first, len(inputs), self.token_budget):
            run = inputs[start : start + self.token_budget]
            predicts = np.flatnonzero(np.arange(start, start + len(run)) >= self._n_prompt - 1)
            layout = self._pass(
                [run], base_slots=inputs[:start], n_base=np.array([start]), own_slots=[_NO_SLOTS],
                target=self._base, target_tokens=np.arange(len(run)), target_slots=run,
            )  # fmt: skip
            following = slots[start + predicts + 1]
            next_but_one = slots[np.minimum(start + predicts + 2, len(slots) - 1)]
            logp = self._forward(layout, self._ids[run], predicts, np.stack([self._ids[following], self._ids[next_but_one]]))
            self._logp[following] = logp[0]
            is_reasoning = following < reasoning_end
            self._logp_skipping[following[is_reasoning] - self._n_prompt] = logp[1, is_reasoning]
        if is_known:
            self._logp[reasoning_end:] = answer_logp
        self._expect_finite(self._logp[slots[self._n_prompt :]], "the chain")

    def _branch(self, index: int, *, reasoning: bool) -> _Branch:
        candidate = int(self.kept[index])
        end = max(index + 1, int(np.searchsorted(self.kept, self._valid_until[candidate])))
        start = end
        if end > index + 1 and (reasoning or end == len(self.kept)):
            start = end - 1  # what this token predicts has changed
        return _Branch(candidate, self._n_prompt + index, self.kept[index + 1 : start], self.kept[start:])

    def _packs(self, branches: list[_Branch]) -> list[list[_Branch]]:
        """Group branches of like length; a group passes the budget by less than one branch."""
        lengths = [len(branch.run) + self._m - 1 for branch in branches]
        share = sum(lengths) / max(1, -(-sum(lengths) // self.token_budget))  # packs of about the same size
        packs: list[list[_Branch]] = []
        done = 0
        for index in sorted(range(len(branches)), key=lambda index: -lengths[index]):
            if done >= share * len(packs):
                packs.append([])
            packs[-1].append(branches[index])
            done += lengths[index]
        return packs

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
        kept_later = np.flatnonzero(slots < self._n_prompt + self._n) if self._stores else _NO_SLOTS
        return self._pass(
            runs, base_slots=base_slots, n_base=n_base,
            own_slots=[self._own_slot(branch.candidate, branch.stored) for branch in pack],
            target=self._own, target_tokens=kept_later,
            target_slots=self._own_slot(candidates[kept_later], slots[kept_later] - self._n_prompt),
        )  # fmt: skip

    def _context_slots(self) -> IntArray:
        """Slots of prompt and kept reasoning, in order."""
        return np.concatenate([np.arange(self._n_prompt), self._n_prompt + self.kept])

    def _own_slot(self, candidate: IntArray | int, position: IntArray) -> IntArray:
        """Slot of the token at ``position`` in the branch of ``candidate`` < position: rows of a triangle, end to end."""
        row_start = candidate * (2 * self._n - candidate - 1) // 2
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
        self.token_forwards += len(ids)
        logits = run_pass(self._loaded.model, layout, self._tensor(ids), logits_at=self._tensor(at)).float()
        chosen = logits.gather(1, self._tensor(np.ascontiguousarray(targets.T)))
        logp = chosen - logits.logsumexp(dim=1, keepdim=True)
        return logp.T.double().cpu().numpy()

    def _tensor(self, array: np.ndarray) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(array)).to(self._loaded.device)

    def _expect_finite(self, logp: FloatArray, what: str) -> None:
        if not np.isfinite(logp).all():
            raise MeasurementError(
                self._chain.chain_id,
                f"the model gives {what} a likelihood that is not a finite number ({self._loaded.model.dtype}); "
                "try --dtype float32",
            )


@torch.inference_mode()
def largest_likelihood_change(loaded: LoadedModel, chain: EncodedChain) -> float:
    """Largest change of a token's nll, in nats, between the model as it is and prefix sharing.

    Raises
    ------
    ModelError
        It is too large to be rounding: this model's attention is of a kind that prefix sharing does not know.
    """
    ids = torch.from_numpy(chain.ids).to(loaded.device)
    plain = loaded.model(input_ids=ids[None], use_cache=False).logits[0, :-1].float().log_softmax(dim=1)
    first = len(chain.prompt_ids)
    expected = plain.gather(1, ids[1:, None])[first - 1 :, 0].double().cpu().numpy()
    with installed(loaded.model):
        in_two_pieces = (len(ids) + 1) // 2  # shows what passes from token to token outside the attention
        likelihood = ChainLikelihood(loaded, chain, token_budget=in_two_pieces, store_bytes=0)
    change = np.abs(likelihood.token_logp() - expected)
    tolerance = 1e-3 if loaded.model.dtype == torch.float32 else 0.1
    if not change.mean() <= tolerance:
        raise ModelError(
            f"{loaded.id}: sharing prefixes changes the nll of a token by {change.mean():.2g} nats on average, where at most "
            f"{tolerance} is rounding; the attention of {type(loaded.model).__name__} cannot be pruned by this version"
        )
    return float(change.max())
