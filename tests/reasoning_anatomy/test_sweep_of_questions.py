"""Twenty questions, a real model, from chains to a verdict."""

from pathlib import Path

import pytest

from analyses.threshold_comparison import ThresholdComparison
from reasoning_anatomy.evaluation import Answering, SweepPlan, sweep
from reasoning_anatomy.generation.completion import Sampling
from reasoning_anatomy.models.loading import LoadedModel
from reasoning_anatomy.types import ReasoningChain


@pytest.mark.slow
def test_twenty_questions_come_to_a_verdict(tmp_path: Path, smollm2: LoadedModel, example_chains: list[ReasoningChain]) -> None:
    by_question = {chain.question_id: chain for chain in reversed(example_chains)}
    chains = list(by_question.values())[:20]
    plan = SweepPlan(strategies=("step_percentile:steps=sentences",), baselines=("random_steps",), thresholds=(0.5,))
    answering = Answering(sampling=Sampling(temperature=0, max_tokens=8))
    run = sweep(tmp_path / "run", plan, chains=chains, model=smollm2, answering=answering)
    answers = run.evaluations()
    assert answers.groupby(["strategy", "threshold"]).size().tolist() == [20] * 4
    whole, pruned = (answers[answers["threshold"] == threshold] for threshold in (0, 0.5))
    assert (pruned["tokens_after"] < pruned["tokens_before"]).mean() > 0.8
    assert pruned.groupby("chain_id")["tokens_after"].nunique().eq(1).all(), "the baseline is as long as the strategy"
    # the chains are short and say what they come to: with all of it the answer is read off, by far more often than without
    assert (whole["verdict"] == "correct").mean() > 0.5
    assert whole["nll_gold"].mean() < pruned["nll_gold"].mean()
    result = ThresholdComparison(margin=0.1).analyse(run)
    cells = result.details["thresholds"]
    verdicts = {"better", "worse", "not worse by more than the margin", "undecided", "not compared: truncation differs"}
    assert set(cells["verdict"].dropna()) <= verdicts
    assert cells["n_questions"].eq(20).all()
