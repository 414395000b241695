"""Runs for the reports: planted numbers, a crude annotation, and what the analyses find in them."""

import dataclasses

import numpy as np
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
def sparse_run(make_full_run, chains, add_paths):
    """Write a run with a second path, evaluated unpruned, after every fifth deletion and at the end."""
    run = make_full_run(chains)
    paths = {chain_id: run.path(chain_id, "greedy") for chain_id in run.measured}
    return add_paths(run, "sparse", {chain_id: _evaluated_seldom(path) for chain_id, path in paths.items()})


def _evaluated_seldom(path):
    step = np.arange(len(path.deleted) + 1)
    bent = np.where((step % 5 == 0) | (step == step[-1]), path.nll_answer**2, np.nan)
    return dataclasses.replace(path, strategy="sparse()", nll_answer=bent, nll_joint=bent, nll_reasoning=bent)


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
