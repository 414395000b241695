"""Which token comes next: the likeliest, or one drawn with random numbers of its sample alone."""

from typing import Final

import numpy as np
import numpy.typing as npt
from torch import Tensor

from reasoning_anatomy.generation.completion import Sampling
from reasoning_anatomy.types import FloatArray, IntArray

_FIRST_LOOK: Final = 256
"""Most likely tokens among which a nucleus is looked for before all are sorted."""
_GOLDEN: Final = np.uint64(0x9E3779B97F4A7C15)

UIntArray = npt.NDArray[np.uint64]


def choose(logits: Tensor, *, seeds: IntArray, steps: IntArray, sampling: Sampling) -> IntArray:
    """Choose the next token of every row.

    Tokens are drawn by the Gumbel-max trick: to the log-probability of every token in the nucleus a Gumbel number is added, and
    the largest sum wins. The number is a function of seed, step and token, so that a sample is the same in any batch, and two
    contexts with nearly the same probabilities mostly go on with the same token.

    Parameters
    ----------
    logits
        (rows, vocabulary) float32; finite, or minus infinity for tokens that cannot be.
    seeds
        (rows,) of the samples.
    steps
        (rows,) how many tokens each sample has so far.
    sampling
        Temperature and nucleus; at temperature 0 the likeliest token is taken, the lowest id in a tie.

    Returns
    -------
    (rows,) token ids.
    """
    if sampling.temperature == 0:
        return logits.argmax(dim=1).cpu().numpy().astype(np.int64)
    scaled = logits / sampling.temperature
    ids, logp = _nucleus(scaled - scaled.logsumexp(dim=1, keepdim=True), sampling.top_p)
    chosen = np.argmax(logp + gumbel(seeds, steps, ids), axis=1)
    return np.take_along_axis(ids, chosen[:, None], axis=1)[:, 0]


def gumbel(seeds: IntArray, steps: IntArray, tokens: IntArray) -> FloatArray:
    """Gumbel numbers of samples (rows,) at steps (rows,) for tokens (rows, candidates). -> (rows, candidates) float64."""
    of_step = _mixed(seeds.astype(np.uint64) + steps.astype(np.uint64) * _GOLDEN)
    bits = _mixed(of_step[:, None] ^ _mixed(tokens.astype(np.uint64)))
    uniform = ((bits >> np.uint64(12)).astype(np.float64) + 0.5) * 2.0**-52  # exact, and never 0 or 1
    return np.asarray(-np.log(-np.log(uniform)))


def _nucleus(logp: Tensor, top_p: float) -> tuple[IntArray, FloatArray]:
    """Ids and log-probabilities, each (rows, candidates), of the likeliest tokens that together have ``top_p``; -inf beyond."""
    if top_p == 1:
        return np.broadcast_to(np.arange(logp.shape[1]), logp.shape), logp.double().cpu().numpy()
    n_looked_at = min(_FIRST_LOOK, logp.shape[1])
    while True:
        largest, ids = logp.topk(n_looked_at, dim=1)
        found = largest.double().cpu().numpy()
        before = np.cumsum(np.exp(found), axis=1) - np.exp(found)
        if n_looked_at == logp.shape[1] or (before[:, -1] >= top_p).all():
            return ids.cpu().numpy().astype(np.int64), np.where(before < top_p, found, -np.inf)
        n_looked_at = min(8 * n_looked_at, logp.shape[1])


def _mixed(x: UIntArray) -> UIntArray:
    """Mix the bits of 64-bit integers: SplitMix64 (Steele, Lea and Flood, 2014)."""
    x = x + _GOLDEN
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))
