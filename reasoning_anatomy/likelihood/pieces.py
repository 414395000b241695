"""Likelihood of a chain without one of its pieces, such as a step."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from reasoning_anatomy.likelihood.full import FullLikelihood
from reasoning_anatomy.likelihood.packed_attention import KVSlots
from reasoning_anatomy.likelihood.shared import SharedLikelihood
from reasoning_anatomy.models.capabilities import shares_prefixes, tokens_per_pass
from reasoning_anatomy.models.loading import LoadedModel
from reasoning_anatomy.models.memory import is_out_of_memory, release_memory
from reasoning_anatomy.types import DeletionScores, EncodedChain, FloatArray, IntArray

_NO_SLOTS: Final = np.empty(0, dtype=np.int64)


def open_pieces(
    loaded: LoadedModel, chain: EncodedChain, kept: IntArray, *, token_budget: int | None = None
) -> "SharedPieces | FullPieces":
    """Make the likelihood of what is left of a chain, of which whole pieces can be left out.

    Parameters
    ----------
    loaded
        The model.
    chain
        A chain encoded for it.
    kept
        (k,) positions of the reasoning tokens that are left, ascending; there may be none. In what is returned, positions
        count these tokens, from 0.
    token_budget
        As for `open_likelihood`.

    Raises
    ------
    MeasurementError
        A likelihood is not a finite number, or memory runs out on a single token (or a single pass, for models that cannot
        share prefixes).
    """
    token_budget = tokens_per_pass(loaded, token_budget)
    left = chain.keep(kept if len(kept) else np.array([0]))  # an encoded chain has at least one reasoning token
    likelihood: SharedPieces | FullPieces
    if shares_prefixes(loaded, len(left.ids)):
        likelihood = SharedPieces(loaded, left, token_budget=token_budget, store_bytes=0)
    else:
        likelihood = FullPieces(loaded, left, token_budget=token_budget)
    if not len(kept):
        likelihood.delete(0)
    return likelihood


class FullPieces(FullLikelihood):
    """Every piece that is left out by a forward pass from the first token."""

    def score_pieces(self, pieces: Sequence[IntArray], *, reasoning: bool) -> DeletionScores:
        """Score the deletion of each of some pieces; see `SharedPieces.score_pieces`."""
        without = [self._sequence(np.setdiff1d(self.kept, piece)) for piece in pieces]
        lengths = np.array([len(ids) for ids in without])
        answer, remaining = np.zeros((2, len(pieces)))
        for length in np.unique(lengths):
            of_length = np.flatnonzero(lengths == length)
            logp = self._token_logp([without[index] for index in of_length], reasoning=reasoning)
            answer[of_length], remaining[of_length] = logp[:, -self._m :].sum(axis=1), logp[:, : -self._m].sum(axis=1)
        return DeletionScores(_firsts(pieces), answer, remaining if reasoning else None)


@dataclass(frozen=True, eq=False)
class _Continuation:
    """What is run if a piece is left out: r tokens, from the one before the piece on, by their slots in the prefix."""

    piece: int
    n_prefix: int  # tokens before them
    run: IntArray  # (r,)
    following: IntArray  # (r,) the token that each predicts


class SharedPieces(SharedLikelihood):
    """Every piece that is left out by running what follows it: candidates share what is before them."""

    def score_pieces(self, pieces: Sequence[IntArray], *, reasoning: bool) -> DeletionScores:
        """Score the deletion of each of some pieces.

        Parameters
        ----------
        pieces
            Positions of each: kept ones that follow one another.
        reasoning
            Whether the likelihood of the remaining reasoning is wanted as well as that of the answer.

        Returns
        -------
        Of each piece; its position is that of the first token.

        Raises
        ------
        MeasurementError
            A likelihood is not a finite number, or memory runs out on a single token.
        """
        answer, remaining = np.empty((2, len(pieces)))
        before = np.concatenate([[0.0], np.cumsum(self.token_logp())])
        waiting = sorted(map(self._continuation, range(len(pieces)), pieces), key=lambda each: -len(each.run))
        while waiting:
            pack = waiting[: self._n_fitting(waiting)]
            try:
                logps = self._logp_of(pack, reasoning=reasoning)
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                self._shrink(sum(len(each.run) for each in pack), error)
                continue
            for each, logp in zip(pack, logps, strict=True):
                answer[each.piece] = logp[-self._m :].sum()
                remaining[each.piece] = before[each.n_prefix + 1 - self._n_prompt] + logp[: -self._m].sum()
            waiting = waiting[len(pack) :]
        self._expect_finite(answer, "the answer")
        if reasoning:
            self._expect_finite(remaining, "the reasoning")
        return DeletionScores(_firsts(pieces), answer, remaining if reasoning else None)

    def _continuation(self, number: int, piece: IntArray) -> _Continuation:
        start = int(np.searchsorted(self.kept, piece[0]))
        before, after = self._context_slots()[: self._n_prompt + start], self._n_prompt + self.kept[start + len(piece) :]
        slots = np.concatenate([before[-1:], after, np.arange(self._n_prompt + self._n, len(self._ids))])
        return _Continuation(number, len(before) - 1, slots[:-1], slots[1:])

    def _n_fitting(self, waiting: list[_Continuation]) -> int:
        ends = np.cumsum([len(each.run) for each in waiting])
        return max(1, int(np.searchsorted(ends, self.token_budget, side="right")))

    def _logp_of(self, pack: list[_Continuation], *, reasoning: bool) -> list[FloatArray]:
        """Log-likelihood of what each predicts, the answer alone if the reasoning is not asked for."""
        if len(pack) > 1:
            return self._logp_of_parts(pack, KVSlots(0), slice(None), reasoning=reasoning)
        length, parts = len(pack[0].run), list[FloatArray]()
        own = KVSlots(length if length > self.token_budget else 0)
        for start in range(0, length, self.token_budget):
            parts += self._logp_of_parts(pack, own, slice(start, start + self.token_budget), reasoning=reasoning)
        return [np.concatenate(parts)]

    def _logp_of_parts(self, pack: list[_Continuation], own: KVSlots, part: slice, *, reasoning: bool) -> list[FloatArray]:
        """Run the same part of each; ``own`` holds the keys and values of what is before it, and takes those of the part."""
        runs, following = [each.run[part] for each in pack], [each.following[part] for each in pack]
        n_prefix, start = np.array([each.n_prefix for each in pack]), part.start or 0
        written = np.arange(len(runs[0])) if own.n_slots else _NO_SLOTS
        layout = self._layout(
            runs, prefix_slots=self._context_slots()[: n_prefix.max()], n_prefix=n_prefix, own=own,
            own_slots=[np.arange(start)] * len(pack), written_tokens=written, written_slots=start + written,
        )  # fmt: skip
        first_wanted = 0 if reasoning else self._n_prompt + self._n
        is_wanted = [slots >= first_wanted for slots in following]
        slots, wanted = np.concatenate(following), np.flatnonzero(np.concatenate(is_wanted))
        logp = self._forward(layout, self._ids[np.concatenate(runs)], wanted, self._ids[slots[wanted]][None])[0]
        return np.split(logp, np.cumsum([each.sum() for each in is_wanted])[:-1])

    def _shrink(self, n_tokens: int, error: RuntimeError | MemoryError) -> None:
        """Halve the budget, after a pass of ``n_tokens`` or of the budget did not fit."""
        tried = min(self.token_budget, n_tokens)
        if tried == 1:
            raise self._out_of_memory() from error
        self.token_budget = tried // 2
        release_memory()


def _firsts(pieces: Sequence[IntArray]) -> IntArray:
    return np.array([piece[0] for piece in pieces], dtype=np.int64)
