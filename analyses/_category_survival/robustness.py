"""How many wrong labels the difference between the two classes bears."""

import zlib
from collections.abc import Sequence
from typing import Final

import numpy as np
import pandas as pd

from analyses._category_survival.reading import ChainTokens, Reading
from analyses._sample import QuestionSample
from analyses._schemes import ENDINGS
from analyses._statistics.label_noise import differences, kinds_of_error, mislabelled
from analyses._statistics.position import adjusted_contrasts, position_terms
from analyses._statistics.survival import relative_times, restricted_times
from reasoning_anatomy.categories import CATEGORIES, SCHEMES, SYMBOLIC_COMPUTATION
from reasoning_anatomy.types import FloatArray

REPETITIONS: Final = 20
"""Of the wrong labels at every share."""

_IS_SYMBOLIC: Final = np.array([name == SYMBOLIC_COMPUTATION for name in SCHEMES["classes"]])


def label_noise(
    reading: Reading, sample: QuestionSample, *, shares: Sequence[float], confusion: FloatArray, seed: int, term: str
) -> pd.DataFrame:
    """Compute the difference between the classes with a share of the labels wrong.

    Parameters
    ----------
    reading
        The chains.
    sample
        Of them.
    shares
        Of the labels that are replaced; 0 is added.
    confusion
        (6, 6) how often each category is taken for each other one; all zero = every other one is as likely.
    seed
        Of the wrong labels; those of a chain do not depend on the other chains.
    term
        Name of the difference.

    Returns
    -------
    One row per ending and share: means over `REPETITIONS` of the estimate and of the ends of its interval, and the share of the
    repetitions whose interval holds zero.
    """
    every_share = np.array([0.0, *sorted(set(shares) - {0.0})])
    errors = kinds_of_error(confusion)
    values = np.stack([_of_chain(chain, reading.horizon, every_share, errors, seed) for chain in reading.chains])
    n_tokens = np.array([int((chain.category >= 0).sum()) for chain in reading.chains])[:, None]
    parts = []
    for number, ending in enumerate(ENDINGS):
        labels = pd.DataFrame({"share_wrong": np.repeat(every_share, REPETITIONS), "term": term + ending})
        found = sample.summary(
            values[:, number].reshape(len(values), -1),
            labels,
            n_tokens=n_tokens,
            lowest=-reading.horizon,
            highest=reading.horizon,
        )
        holds_zero = ((found["ci_low"] <= 0) & (found["ci_high"] >= 0)).astype(float)
        found["share_holding_zero"] = holds_zero.where(found["ci_low"].notna())
        parts.append(found.groupby(["term", "share_wrong"], sort=False, as_index=False).mean())
    columns = ["term", "share_wrong", "estimate", "ci_low", "ci_high", "share_holding_zero", "n_questions", "n_chains"]
    return pd.concat(parts, ignore_index=True)[columns]


def confusion_of(tokens: pd.DataFrame, annotator: str, other: str) -> FloatArray:
    """Count how often one annotator's category is each category of another. -> (6, 6)."""
    first, second = (
        pd.Categorical(tokens[f"category_{name}"], categories=CATEGORIES).codes.astype(np.int64) for name in (annotator, other)
    )
    is_both = (first >= 0) & (second >= 0)
    n = len(CATEGORIES)
    return np.bincount(first[is_both] * n + second[is_both], minlength=n * n).reshape(n, n).astype(np.float64)


def _of_chain(chain: ChainTokens, horizon: float, shares: FloatArray, errors: FloatArray, seed: int) -> FloatArray:
    """(2, shares, repetitions) raw and given position; NaN throughout if the chain has no value with its own labels."""
    found = np.full((len(ENDINGS), len(shares), REPETITIONS), np.nan)
    is_used = chain.category >= 0
    own = _IS_SYMBOLIC[chain.category[is_used]]
    if own.all() or not own.any():
        return found
    outcome = restricted_times(*relative_times(chain.step), horizon)
    place = position_terms(len(outcome))
    rng = np.random.default_rng([seed, zlib.crc32(chain.chain_id.encode())])
    labels = mislabelled(chain.category[is_used], errors, shares, repetitions=REPETITIONS, rng=rng)
    is_first = _IS_SYMBOLIC[labels]
    found[0] = differences(outcome[is_used], is_first)
    member = np.stack([is_used & _IS_SYMBOLIC[chain.category], is_used & ~_IS_SYMBOLIC[chain.category]], axis=1)
    if np.isfinite(adjusted_contrasts(outcome[:, None], member, np.array([[1.0, -1.0]]), place)).all():
        found[1] = differences(outcome[is_used], is_first, place[is_used])
    return found
