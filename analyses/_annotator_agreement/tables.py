"""Tables beside the measures of agreement: who called what how, and where."""

import numpy as np
import pandas as pd

from analyses._annotator_agreement.labels import Labels
from analyses._statistics.agreement import cohen_kappa, confusion, observed_agreement
from reasoning_anatomy.categories import CATEGORIES


def confusion_table(labels: Labels, pairs: list[tuple[int, int]]) -> pd.DataFrame:
    """Tokens by the category that each of two annotators gave them, one row per cell."""
    rows = [
        (labels.annotators[a], labels.annotators[b], CATEGORIES[row], CATEGORIES[column], int(count))
        for a, b in pairs
        for (row, column), count in np.ndenumerate(confusion(labels.codes[a], labels.codes[b], len(CATEGORIES)))
    ]
    return pd.DataFrame(rows, columns=["annotator_a", "annotator_b", "category_a", "category_b", "n_tokens"])


def per_chain(labels: Labels, pairs: list[tuple[int, int]]) -> pd.DataFrame:
    """Agreement of every pair of annotators on every chain."""
    chains = pd.factorize(np.array(labels.chain_ids, dtype=object))
    rows = []
    for a, b in pairs:
        for number, chain_id in enumerate(chains[1]):
            of_chain = labels.codes[:, chains[0] == number]
            counts = confusion(of_chain[a], of_chain[b], len(CATEGORIES))
            if counts.any():
                facts = (int(counts.sum()), float(observed_agreement(counts)), float(cohen_kappa(counts)))
                rows.append((labels.annotators[a], labels.annotators[b], str(chain_id), *facts))
    return pd.DataFrame(rows, columns=["annotator_a", "annotator_b", "chain_id", "n_tokens", "agreement", "kappa"])


def per_annotator(labels: Labels) -> pd.DataFrame:
    """How often every annotator used every category."""
    rows = [
        (name, category, int((codes == place).sum()))
        for name, codes in zip(labels.annotators, labels.codes, strict=True)
        for place, category in enumerate(CATEGORIES)
    ]
    return pd.DataFrame(rows, columns=["annotator", "category", "n_tokens"])
