"""Whether some of several conditions, which every question has been in, rank otherwise than the rest."""

from dataclasses import dataclass

import numpy as np
from scipy.stats import chi2, rankdata

from reasoning_anatomy.types import FloatArray


@dataclass(frozen=True, eq=False)
class Friedman:
    """Friedman's test; a leading axis of the values is one of all fields.

    Attributes
    ----------
    mean_ranks
        (..., conditions) over questions, 1 = lowest value.
    statistic, p_value
        (...); NaN if every question is tied throughout.
    """

    mean_ranks: FloatArray
    statistic: FloatArray
    p_value: FloatArray


def friedman(values: FloatArray) -> Friedman:
    """Test whether conditions have the same distribution within questions.

    Parameters
    ----------
    values
        (..., questions, conditions), none missing; ties share their ranks.

    Notes
    -----
    The statistic is that of `scipy.stats.friedmanchisquare`, with its correction for ties. The p-value is that of its
    chi-squared approximation.

    References
    ----------
    Friedman (1937), The use of ranks to avoid the assumption of normality implicit in the analysis of variance, JASA 32:675.
    """
    n_questions, n_conditions = values.shape[-2:]
    ranks = rankdata(values, axis=-1)
    mean_ranks = ranks.mean(axis=-2)
    middle = (n_conditions + 1) / 2
    between = n_questions * ((mean_ranks - middle) ** 2).sum(axis=-1)
    within = ((ranks - middle) ** 2).sum(axis=(-2, -1)) / (n_questions * (n_conditions - 1))
    statistic = np.divide(between, within, out=np.full(np.shape(between), np.nan), where=within > 0)
    return Friedman(mean_ranks, statistic, np.asarray(chi2.sf(statistic, n_conditions - 1)))
