"""How far apart deleting the least important token first and the most important one first are, and where chance lies between.

If a few tokens carry the answer, it matters much which ones go: worst-first loses the answer at once, best-first keeps it long.
If what the answer needs is spread over all tokens, the two curves lie close together, and random deletions beside them.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np
import pandas as pd

from analyses._sample import QuestionSample
from analyses._statistics.families import adjust
from analyses._statistics.questions import pseudo_values, question_means
from analyses._strategy_comparison.curves import Curves
from analyses._strategy_comparison.strategies import Reversal
from reasoning_anatomy.types import RESULT_COLUMNS, FloatArray

DISTANCE: Final = "worst first - best first"
AVOIDED: Final = "share of the area of worst first that best first avoids"
PLACE: Final = "place of {} between best first (0) and worst first (1)"
"""Terms of `concentration`."""


def concentration(curves: Curves, pairs: Sequence[Reversal], sample: QuestionSample) -> pd.DataFrame:
    """Compare the areas of best-first, worst-first and the baselines.

    Returns
    -------
    One row per pair of strategies, ``best_first`` and ``worst_first``, and term: distances of areas, in nats per token, with
    ``p_adjusted`` by Holm over those of the pair; shares, which are ratios of means and have no p-value.
    """
    number = {name: at for at, name in enumerate(curves.names)}
    baselines = [strategy.name for strategy in curves.strategies if strategy.role == "baseline"]
    rows = []
    for pair in pairs:
        best, worst = curves.area[:, number[pair.best_first]], curves.area[:, number[pair.worst_first]]
        chance = {name: curves.area[:, number[name]] for name in baselines}
        distances = {DISTANCE: worst - best}
        for name, area in chance.items():
            distances |= {f"{name} - best first": area - best, f"worst first - {name}": worst - area}
        shares = {AVOIDED: (worst - best, worst)}
        shares |= {PLACE.format(name): (area - best, worst - best) for name, area in chance.items()}
        found = _distances(distances, curves, sample)
        is_apart = bool(found["ci_low"].iloc[0] > 0)
        rows.append(pd.concat([found, _shares(shares, curves, sample, is_apart=is_apart)]).assign(**vars(pair)))
    return pd.concat(rows, ignore_index=True)[["best_first", "worst_first", *RESULT_COLUMNS]]


def ratio_by_question(top: FloatArray, bottom: FloatArray) -> FloatArray:
    """Ratio of two means over questions, as pseudo-values; (questions,) and (questions,) -> (questions, 1)."""

    def measure(sums: FloatArray) -> FloatArray:
        denominator = sums[:, 1]
        ratio = np.divide(sums[:, 0], denominator, out=np.full(len(sums), np.nan), where=denominator != 0)
        return np.asarray(ratio[:, None])

    return np.asarray(pseudo_values(np.stack([top, bottom], axis=1), measure))


def _distances(distances: dict[str, FloatArray], curves: Curves, sample: QuestionSample) -> pd.DataFrame:
    values = np.stack(list(distances.values()), axis=1)
    found = sample.summary(
        values, pd.DataFrame({"term": list(distances)}), n_tokens=curves.n_tokens[:, None], lowest=-np.inf, highest=np.inf
    )
    return found.assign(p_adjusted=adjust(found["p_value"].to_numpy(), "holm"))


def _shares(
    shares: dict[str, tuple[FloatArray, FloatArray]], curves: Curves, sample: QuestionSample, *, is_apart: bool
) -> pd.DataFrame:
    """Shares of the distance; none unless the two curves are known to be apart, since nothing can be divided by chance."""
    questions = sample.questions
    values = [
        ratio_by_question(question_means(top[:, None], questions)[:, 0], question_means(bottom[:, None], questions)[:, 0])
        if is_apart
        else np.full((int(questions.max()) + 1, 1), np.nan)
        for top, bottom in shares.values()
    ]
    labels = pd.DataFrame({"term": list(shares)})
    by_question = QuestionSample(tuple(dict.fromkeys(sample.question_ids)), sample.draws, sample.confidence, sample.seed)
    found = by_question.summary(
        np.concatenate(values, axis=1), labels, n_tokens=np.zeros((len(values[0]), 1), dtype=np.int64), lowest=-np.inf,
        highest=np.inf,
    )  # fmt: skip
    is_known = found["n_questions"] > 0
    return found.assign(
        p_value=np.nan,
        p_adjusted=np.nan,
        n_chains=np.where(is_known, len(curves.chain_ids), 0),
        n_tokens=np.where(is_known, curves.n_tokens.sum(), 0),
    )
