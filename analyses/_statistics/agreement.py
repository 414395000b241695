"""Agreement of annotators from counts of pairs of labels; many matrices at once.

A *confusion* counts tokens by the category that one annotator (rows) and another (columns) gave them. *Coincidences* count the
pairs of labels within every token, among any number of annotators: token by token, every ordered pair of its m labels counts
1 / (m - 1), so that they sum to the number of labels that can be paired.
"""

import numpy as np
import numpy.typing as npt

from reasoning_anatomy.types import FloatArray, IntArray

MISSING = -1


def confusion(first: IntArray, second: IntArray, n_categories: int) -> FloatArray:
    """Count pairs of labels: (n,) and (n,) category numbers, `MISSING` = none -> (categories, categories)."""
    both = (first != MISSING) & (second != MISSING)
    cells = first[both] * n_categories + second[both]
    return np.bincount(cells, minlength=n_categories**2).reshape(n_categories, n_categories).astype(np.float64)


def coincidences(labels: IntArray, n_categories: int) -> FloatArray:
    """Count pairs within tokens: (annotators, n) category numbers, `MISSING` = none -> (categories, categories)."""
    counts = (labels[:, :, None] == np.arange(n_categories)).sum(axis=0).astype(np.float64)  # (n, categories)
    n_labels = counts.sum(axis=1)
    counts, n_labels = counts[n_labels > 1], n_labels[n_labels > 1]
    weighted = counts / (n_labels - 1)[:, None]
    return np.asarray(weighted.T @ counts - np.diag(weighted.sum(axis=0)))


def merged(matrices: FloatArray, groups: IntArray) -> FloatArray:
    """Merge categories by the (categories,) number of their group; (..., categories, categories) -> (..., groups, groups)."""
    member = (groups[:, None] == np.arange(groups.max() + 1)).astype(np.float64)
    return np.asarray(member.T @ matrices @ member)


def observed_agreement(confusions: FloatArray) -> FloatArray:
    """Share of tokens with the same label; (..., k, k) -> (...), NaN without tokens."""
    return _ratio(np.trace(confusions, axis1=-2, axis2=-1), confusions.sum(axis=(-2, -1)))


def cohen_kappa(confusions: FloatArray) -> FloatArray:
    """Agreement of two annotators beyond chance; (..., k, k) confusions -> (...), NaN if both use one label only.

    References
    ----------
    Cohen (1960), A coefficient of agreement for nominal scales, Educational and Psychological Measurement 20:37.
    """
    total = confusions.sum(axis=(-2, -1))
    by_chance = _ratio((confusions.sum(axis=-1) * confusions.sum(axis=-2)).sum(axis=-1), total**2)
    return _ratio(observed_agreement(confusions) - by_chance, 1 - by_chance)


def krippendorff_alpha(coincident: FloatArray) -> FloatArray:
    """Nominal agreement of any number of annotators beyond chance; (..., k, k) coincidences -> (...), NaN for one label.

    References
    ----------
    Krippendorff (2011), Computing Krippendorff's alpha-reliability, University of Pennsylvania.
    """
    margins = coincident.sum(axis=-1)
    total = margins.sum(axis=-1)
    disagree = total - np.trace(coincident, axis1=-2, axis2=-1)
    expected = _ratio(total**2 - (margins**2).sum(axis=-1), total - 1)
    return 1 - _ratio(disagree, expected)


def f1(confusions: FloatArray) -> FloatArray:
    """F1 of every category, the same whoever is taken for the truth; (..., k, k) -> (..., k), NaN if nobody uses it."""
    both = np.diagonal(confusions, axis1=-2, axis2=-1)
    return _ratio(2 * both, confusions.sum(axis=-1) + confusions.sum(axis=-2))


def _ratio(numerator: npt.ArrayLike, denominator: npt.ArrayLike) -> FloatArray:
    top, bottom = np.asarray(numerator, dtype=np.float64), np.asarray(denominator, dtype=np.float64)
    nothing = np.full(np.broadcast(top, bottom).shape, np.nan)
    return np.asarray(np.divide(top, bottom, out=nothing, where=np.abs(bottom) > 1e-12))
