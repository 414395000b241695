"""Runs for the reports: planted numbers, a crude annotation, and what the analyses find in them."""

import numpy as np
import pandas as pd
import pytest

from analyses.deletion_by_category import DeletionByCategory
from analyses.rank_correlation import RankCorrelation
from reasoning_anatomy.types import Annotation, ReasoningChain

KEYS = ("SYMBOLIC_MATH", "ENTITY_NAME", "META_DISCOURSE", "FUNCTION")


@pytest.fixture(scope="session")
def chains():
    return [
        ReasoningChain(
            chain_id=f"chain-{number}",
            question_id=f"question-{number // 2}",
            question=f"How many are {number} + 3?",
            reasoning=f"First, {number} + 3 = {number + 3}.\n\nSo she has {number + 3} in all, since {number} and 3 "
            + "more " * number,
            answer=f"{number + 3}",
            gold_answer=f"{number + 3}",
            is_correct=True,
        )
        for number in range(6)
    ]


@pytest.fixture(scope="session")
def make_full_run(make_planted_run, tmp_path_factory):
    """Write a run with an annotation and the analyses that the report shows."""

    def make(chains):
        run = make_planted_run(tmp_path_factory.mktemp("run"), chains, strength=0.5, keep=0.2)
        add_annotation(run)
        for analysis in (RankCorrelation(draws=99), DeletionByCategory(draws=99)):
            run.write_analysis(analysis.analyse(run))
        return run

    return make


@pytest.fixture(scope="session")
def full_run(make_full_run, chains):
    return make_full_run(chains)


@pytest.fixture(scope="session")
def plain_run(make_planted_run, chains, tmp_path_factory):
    return make_planted_run(tmp_path_factory.mktemp("plain"), chains)


@pytest.fixture(scope="session")
def sparse_run(make_full_run, chains):
    """Write a run with a second path, evaluated unpruned, after every fifth deletion and at the end."""
    run = make_full_run(chains)
    paths = run.paths()
    last = paths.groupby("chain_id")["deletion_step"].transform("max")
    is_evaluated = (paths["deletion_step"] % 5 == 0) | (paths["deletion_step"] == last)
    bent = (paths["nll_answer"] ** 2).where(is_evaluated)
    both = pd.concat([paths, paths.assign(strategy="sparse", nll_answer=bent, nll_joint=bent, nll_reasoning=bent)])
    both.to_parquet(run.folder / "paths.parquet")
    tokens = pd.read_parquet(run.folder / "tokens.parquet")
    tokens.assign(deletion_step_sparse=tokens["deletion_step_greedy"]).to_parquet(run.folder / "tokens.parquet")
    return run


def add_annotation(run, name="crude", shift=0):
    labels = {
        chain_id: Annotation(
            "Crude()", tuple(KEYS[(position + shift) % 4] for position in range(len(rows))), np.full(len(rows), 0.75)
        )
        for chain_id, rows in run.tokens().groupby("chain_id", sort=False)
    }
    run.write_annotations(name, labels)


@pytest.fixture(scope="session")
def annotate():
    return add_annotation
