"""What needs no look at the model: how well place, length, frequency or category of a token alone foretell its deletion."""

from collections.abc import Mapping
from typing import Final

import numpy as np
import pandas as pd

from analyses._deletion_by_category.evidence import relative_step
from reasoning_anatomy.categories import CATEGORIES
from reasoning_anatomy.plugin_files import KINDS_OF_SCORE
from reasoning_anatomy.plugins import available
from reasoning_anatomy.types import FloatArray, IntArray

INDEPENDENT, COMPETITOR, OWN_FIRST_STEP = KINDS_OF_SCORE

POSITION: Final = "token position"
LENGTH: Final = "token length"
FREQUENCY: Final = "token frequency"
CATEGORY: Final = "category alone"

Scores = Mapping[str, FloatArray]
"""(n,) by chain_id."""


def kind_of(scorer: str) -> str:
    """Return the kind of a scorer, from its label: what its class says, or an independent signal if nobody knows it."""
    key = scorer.partition(":")[0]
    kinds = [info.kind_of_score for info in available("scorer").values() if key in info.names]
    return kinds[0] if kinds else INDEPENDENT


def competitors(tokens: pd.DataFrame, *, strategy: str, annotators: list[str], has_position: bool) -> dict[str, Scores]:
    """Score tokens by what is plain to see; higher = more important only if it turns out so.

    Whatever is learned from other tokens is learned from chains on other questions.

    Parameters
    ----------
    tokens
        Table of tokens, as `Run.tokens` gives it.
    strategy
        Whose deletions the categories are judged by.
    annotators
        Whose categories.
    has_position
        Whether some scorer is position already.

    Returns
    -------
    By name. ``token position``. ``token length`` in visible characters. ``token frequency``, share of the tokens of other
    questions. ``category alone (<annotator>)``, the mean relative deletion step that the category of the token has on other
    questions; that of all tokens if it has none. The last two need a second question.
    """
    tokens = tokens.sort_values(["chain_id", "position"], kind="stable").reset_index(drop=True)
    question = tokens["question_id"].astype("category").cat.codes.to_numpy().astype(np.int64)
    found: dict[str, FloatArray] = {}
    if not has_position:
        found[POSITION] = np.asarray(tokens["position"], dtype=np.float64)
    found[LENGTH] = np.asarray(tokens["text"].str.strip().str.len(), dtype=np.float64)
    if question.max(initial=0) > 0:
        found[FREQUENCY] = _frequency_elsewhere(tokens["text"], question)
        for annotator in annotators if f"deletion_step_{strategy}" in tokens else ():
            name = f"{CATEGORY} ({annotator})"
            found[name] = _step_elsewhere(tokens, question, f"category_{annotator}", f"deletion_step_{strategy}")
    starts = np.flatnonzero(tokens["chain_id"].ne(tokens["chain_id"].shift()).to_numpy())
    chain_ids = tokens["chain_id"].iloc[starts].tolist()
    return {name: dict(zip(chain_ids, np.split(values, starts[1:]), strict=True)) for name, values in found.items()}


def _frequency_elsewhere(text: "pd.Series[str]", question: IntArray) -> FloatArray:
    """Share of each token, by its text, among those of other questions; (n,) and (n,) numbers of the questions -> (n,)."""
    token = pd.factorize(text)[0]
    n_questions = int(question.max()) + 1
    _, pair, of_pair = np.unique(token * n_questions + question, return_inverse=True, return_counts=True)
    elsewhere = np.bincount(token)[token] - of_pair[pair]
    return np.asarray(elsewhere / (question.size - np.bincount(question)[question]))


def _step_elsewhere(tokens: pd.DataFrame, question: IntArray, category: str, deletion_step: str) -> FloatArray:
    """Mean relative deletion step of each token's category on other questions: tokens, chains, questions averaged in turn."""
    chain = tokens.groupby("chain_id", sort=False)[deletion_step]
    was_pruned = chain.transform("count").to_numpy() > 0
    step = np.full(len(tokens), np.nan)
    ordered: FloatArray = np.asarray(tokens[deletion_step].astype("Float64").to_numpy(na_value=np.nan), dtype=np.float64)
    for rows in chain.indices.values():
        if was_pruned[rows[0]]:
            step[rows] = relative_step(ordered[rows])
    kinds = tokens[category].astype(pd.CategoricalDtype(list(CATEGORIES))).cat.codes.to_numpy()
    table = pd.DataFrame({"question": question, "chain": tokens["chain_id"], "kind": kinds, "step": step})
    means = [
        _others(table.assign(kind=0), 1)[question, 0],
        _others(table[table["kind"] >= 0], len(CATEGORIES))[question, kinds],
    ]
    return np.asarray(np.where((kinds >= 0) & np.isfinite(means[1]), means[1], means[0]))


def _others(table: pd.DataFrame, n_kinds: int) -> FloatArray:
    """Mean step of every kind over the questions other than each; NaN if it occurs in none. -> (questions, kinds)."""
    of_chains = table.dropna(subset="step").groupby(["question", "kind", "chain"], sort=False)["step"].mean()
    of_questions = of_chains.groupby(["question", "kind"]).mean().reset_index()
    values = np.full((int(table["question"].max()) + 1, n_kinds), np.nan)
    values[of_questions["question"], of_questions["kind"]] = of_questions["step"]
    known = np.isfinite(values)
    sums = np.where(known, values, 0)
    n_others = known.sum(axis=0) - known
    return np.asarray(np.divide(sums.sum(axis=0) - sums, n_others, out=np.full(values.shape, np.nan), where=n_others > 0))
