"""Likelihood of a chain under deletions by whole forward passes: nothing is shared, so it works for any causal model."""

import numpy as np
import torch

from reasoning_anatomy.likelihood.base import ChainLikelihood
from reasoning_anatomy.models.loading import LoadedModel
from reasoning_anatomy.models.memory import is_out_of_memory, release_memory
from reasoning_anatomy.types import DeletionScores, EncodedChain, FloatArray, IntArray


class FullLikelihood(ChainLikelihood):
    """The likelihood of a chain under deletions, every candidate by a forward pass from the first token.

    As in the published implementation, for models that cannot share prefixes: recurrent layers, linear or chunked attention,
    attention outside the interface of transformers. All candidates of a step have the same length, so a batch of them needs
    no padding.
    """

    def __init__(self, loaded: LoadedModel, chain: EncodedChain, *, token_budget: int) -> None:
        super().__init__(loaded, chain, token_budget=token_budget)
        self._logp = self._of_kept()

    def token_logp(self) -> FloatArray:
        """(k + m,) log-likelihood in nats of every kept reasoning token and every answer token."""
        return self._logp

    def score_deletions(self, *, reasoning: bool, candidates: IntArray | None = None) -> DeletionScores:
        """Score the deletion of one more token; see `ChainLikelihood.score_deletions`."""
        candidates = self.kept if candidates is None else candidates
        without = [self._sequence(self.kept[self.kept != candidate]) for candidate in candidates]
        logp = self._token_logp(without, reasoning=reasoning)
        remaining = logp[:, : -self._m].sum(axis=1) if reasoning else None
        return DeletionScores(candidates.copy(), logp[:, -self._m :].sum(axis=1), remaining)

    def _delete(self, indices: IntArray) -> None:
        self.kept = np.delete(self.kept, indices)
        self._logp = self._of_kept()

    def _of_kept(self) -> FloatArray:
        logp: FloatArray = self._token_logp([self._sequence(self.kept)], reasoning=True)[0]
        return logp

    def _sequence(self, kept: IntArray) -> IntArray:
        return np.concatenate([self._chain.prompt_ids, self._chain.reasoning_ids[kept], self._chain.answer_ids])

    def _token_logp(self, sequences: list[IntArray], *, reasoning: bool) -> FloatArray:
        """(sequences, tokens) log-likelihood of the answer, and of the reasoning before it if it is asked for."""
        length = len(sequences[0])
        n_wanted = length - self._n_prompt if reasoning else self._m
        rows: list[FloatArray] = []
        while len(rows) < len(sequences):
            n_next = max(1, min(len(sequences) - len(rows), self.token_budget // length))
            rows.extend(self._fitting(np.stack(sequences[len(rows) : len(rows) + n_next]), n_wanted))
        logp = np.array(rows)
        self._expect_finite(logp, "the chain" if reasoning else "the answer")
        return logp

    def _fitting(self, ids: IntArray, n_wanted: int) -> FloatArray:
        """(sequences, n_wanted), or no row if memory ran out; the budget is then smaller."""
        try:
            return self._forward(ids, n_wanted)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            if len(ids) == 1:
                raise self._out_of_memory() from error
        self.token_budget = ids.size // 2
        release_memory()
        return np.empty((0, n_wanted))

    @torch.inference_mode()
    def _forward(self, ids: IntArray, n_wanted: int) -> FloatArray:
        """(sequences, n_wanted) log-likelihood of the last tokens of ``ids`` (sequences, T)."""
        inputs = self._tensor(ids)
        logits = self._loaded.model(input_ids=inputs, use_cache=False, logits_to_keep=n_wanted + 1).logits[:, :-1].float()
        logp = logits.gather(2, inputs[:, -n_wanted:, None])[..., 0] - logits.logsumexp(dim=2)
        self.token_forwards += ids.size
        as_array: FloatArray = logp.cpu().double().numpy()
        return as_array
