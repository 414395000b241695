"""Sweeps of a tiny random model: what is kept, what is asked, what is answered, and how a sweep grows."""

import json
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from reasoning_anatomy import plugins
from reasoning_anatomy.answers import answer_values, restatements
from reasoning_anatomy.chains import write_chains
from reasoning_anatomy.errors import MissingError, ModelError, PluginError, RunError
from reasoning_anatomy.evaluation import Answering, SweepPlan, sweep, work
from reasoning_anatomy.generation.completion import Sampling, sample_seed
from reasoning_anatomy.generation.contexts import Context, ContextReader
from reasoning_anatomy.generation.generate import generate
from reasoning_anatomy.generation.local import LocalModel
from reasoning_anatomy.generation.rows import fewer_rows
from reasoning_anatomy.models.encoding import ChainEncoder, EncodingOptions
from reasoning_anatomy.models.loading import LoadedModel, ModelSpec, load_model
from reasoning_anatomy.pipeline.measuring import measure
from reasoning_anatomy.problems import Problem
from reasoning_anatomy.progress import Stages
from reasoning_anatomy.pruning import kept_at
from reasoning_anatomy.run import Run, open_run
from reasoning_anatomy.run.evaluation_table import EVALUATION_COLUMNS
from reasoning_anatomy.run.manifest import Condition
from reasoning_anatomy.run.sweep import SweepFolder
from reasoning_anatomy.types import ReasoningChain

SAMPLED = Answering(sampling=Sampling(temperature=1.0, max_tokens=4))
THRESHOLDS = (0.3, 0.6)
WHAT = ["strategy", "reference", "threshold", "reading", "restatements"]


def chain(number: int, *, gold: bool = True, **fields: Any) -> ReasoningChain:
    total = 10 * number + 12
    given = {
        "chain_id": f"c{number}", "question_id": f"q{number}", "question": f"What is {10 * number} + 12?",
        "reasoning": (
            f"We add two numbers. First {10 * number} + 12 = {total}. Let me check that. Yes, it holds. So we get {total}."
        ),
        "answer": f"ZEBRA {total}.", "gold_answer": str(total) if gold else None,
    }  # fmt: skip
    return ReasoningChain(**given | fields)


CHAINS = [chain(1), chain(2), chain(3, gold=False)]


@pytest.fixture(scope="module")
def tiny(tiny_model_folder: Path) -> LoadedModel:
    return load_model(str(tiny_model_folder))


@pytest.fixture(scope="module")
def swept(tiny: LoadedModel, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A sweep of everything at once; tests only read it."""
    plan = SweepPlan(
        strategies=("step_percentile", "random_tokens"),
        baselines=("truncation", "random_steps"),
        thresholds=THRESHOLDS,
        samples=2,
        readings=("closed_up", "evicted"),
        restatements=("kept", "stripped"),
    )
    return sweep(tmp_path_factory.mktemp("swept") / "run", plan, chains=CHAINS, model=tiny, answering=SAMPLED)


def small(folder: Path, tiny: LoadedModel, *, chains: Any = CHAINS, answering: Answering = SAMPLED, **plan: Any) -> Run:
    """Sweep one strategy without baselines at two thresholds, unless the test says otherwise."""
    options = {"strategies": ("random_steps",), "baselines": (), "thresholds": (0.5,)} | plan
    return sweep(folder, SweepPlan(**options), chains=chains, model=tiny, answering=answering)


def conditions_of(run: Run) -> list[Condition]:
    return list(run.manifest.configuration.conditions.values())


def kept_of(run: Run, chain_id: str, condition: Condition) -> np.ndarray:
    kept = SweepFolder(run, run.manifest.configuration).kept(chain_id, condition)
    assert kept is not None
    return kept.positions


def test_the_table_has_its_columns_and_one_row_per_answer(swept: Run) -> None:
    table = swept.evaluations()
    assert tuple(table.columns) == EVALUATION_COLUMNS
    kinds = {
        "threshold": "float64", "sample": "int64", "seed": "int64", "requested_ratio": "float64", "achieved_ratio": "float64",
        "steps_before": "Int64", "steps_after": "Int64", "tokens_before": "int64", "tokens_after": "int64",
        "tokens_generated": "int64", "states_answer": "boolean", "nll_gold": "float64", "peak_cache_tokens": "Int64",
        "peak_cache_bytes": "Int64", "n_evictions": "Int64", "n_rewritten": "Int64",
    }  # fmt: skip
    assert {name: str(kind) for name, kind in table.dtypes.items()} == {name: kinds.get(name, "str") for name in table.columns}
    # 3 chains, 3 thresholds, 2 readings, 2 restatements, 2 samples; 2 strategies, each with 2 baselines
    assert len(table) == 3 * 3 * 2 * 2 * 2 * (2 + 2 * 2)
    assert not table.duplicated(["chain_id", *WHAT, "sample"]).any()
    assert (table["achieved_ratio"] == table["tokens_after"] / table["tokens_before"]).all()
    assert (table["requested_ratio"] == 1 - table["threshold"]).all()
    assert set(table["reference"].dropna()) == {"step_percentile", "random_tokens"}
    assert table["finish_reason"].isin(["eos", "stop_string", "length", "loop"]).all()


def test_threshold_0_is_there_for_every_strategy_and_deletes_nothing(swept: Run) -> None:
    table = swept.evaluations()
    wholes = table[(table["threshold"] == 0) & (table["restatements"] == "kept")]
    assert (wholes["tokens_after"] == wholes["tokens_before"]).all()
    assert (wholes["steps_after"] == wholes["steps_before"]).all()
    assert wholes.groupby(["strategy", "reference"], dropna=False).size().tolist() == [3 * 2 * 2] * 6
    assert wholes.groupby(["chain_id", "sample"])["response"].nunique().eq(1).all()  # so both readings agree there


def test_what_is_kept_is_what_the_strategy_says(swept: Run, tiny: LoadedModel) -> None:
    for condition in conditions_of(swept):
        if condition.restatements == "stripped":
            continue
        for chain_id in swept.chains:
            strategy = plugins.load("strategy", condition.reference or condition.strategy)
            path = strategy.order(swept.encoded(chain_id), loaded=tiny)
            expected = kept_at(strategy, path, condition.threshold)
            positions = kept_of(swept, chain_id, condition)
            if condition.reference:
                assert len(positions) == len(expected)
            else:
                assert positions.tolist() == expected.tolist()
            if condition.strategy == "truncation":
                assert positions.tolist() == list(range(len(expected)))


def test_a_baseline_keeps_as_many_tokens_as_its_strategy(swept: Run) -> None:
    table = swept.evaluations()
    own, baselines = table[table["reference"].isna()], table[table["reference"].notna()]
    keys = ["chain_id", "threshold", "reading", "restatements", "sample"]
    both = baselines.merge(own, left_on=[*keys, "reference"], right_on=[*keys, "strategy"], suffixes=("", "_of_strategy"))
    assert len(both) == len(baselines)
    assert (both["tokens_after"] == both["tokens_after_of_strategy"]).all()
    assert both["tokens_after"].nunique() > 5


def test_steps_are_counted_by_their_tokens(swept: Run) -> None:
    table = swept.evaluations().set_index(["chain_id", *WHAT]).sort_index()
    for condition in conditions_of(swept):
        for chain_id in swept.chains:
            encoded, positions = swept.encoded(chain_id), kept_of(swept, chain_id, condition)
            segmenter = plugins.load("segmenter", condition.steps or "sentences")  # of the strategy, or of the sweep
            steps = segmenter.segment(encoded.chain, encoded.spans)
            reference = condition.reference or np.nan
            rows = table.loc[
                (chain_id, condition.strategy, reference, condition.threshold, condition.reading, condition.restatements)
            ]
            assert set(rows["steps_after"]) == {len(set(steps[positions]))}
            assert set(rows["tokens_after"]) == {len(positions)}


def test_samples_have_the_same_random_numbers_at_every_condition(swept: Run) -> None:
    table = swept.evaluations()
    for (chain_id, sample), rows in table.groupby(["chain_id", "sample"]):
        assert set(rows["seed"]) == {sample_seed(0, str(chain_id), int(sample))}
    assert table["seed"].nunique() == 6


def test_stripped_of_restatements_nothing_states_the_answer(swept: Run) -> None:
    for condition in conditions_of(swept):
        for chain_id, own in swept.chains.items():
            encoded, positions = swept.encoded(chain_id), kept_of(swept, chain_id, condition)
            words = {encoded.chain.reasoning[start:end].strip(" .") for start, end in encoded.spans[positions]}
            text = "".join(encoded.chain.reasoning[start:end] for start, end in encoded.spans[positions])
            if condition.restatements == "stripped":
                assert not restatements(text, answer_values(own.answer))
                assert "get" not in words  # the last sentence
            elif condition.threshold == 0:
                assert restatements(text, answer_values(own.answer))
    table = swept.evaluations()
    has_gold = table["chain_id"] != "c3"
    assert not table.loc[has_gold & (table["restatements"] == "stripped"), "states_answer"].any()
    assert table.loc[has_gold & (table["restatements"] == "kept") & (table["threshold"] == 0), "states_answer"].all()


def test_without_a_gold_answer_there_are_answers_without_verdicts(swept: Run) -> None:
    table = swept.evaluations()
    without, with_gold = table[table["chain_id"] == "c3"], table[table["chain_id"] != "c3"]
    for name in ("verdict", "rule", "states_answer", "nll_gold"):
        assert without[name].isna().all()
        assert with_gold[name].notna().all()
    assert without["response"].str.startswith("The answer is").all()
    assert table["same_as_chain"].isin(["correct", "wrong", "undecided"]).all()


def asked_by_hand(
    run: Run, chain_id: str, condition: Condition, behind: str, tiny: LoadedModel
) -> tuple[np.ndarray, np.ndarray]:
    """Ids before what stands behind the reasoning, all of them, and the ids of that."""
    encoded = run.encoded(chain_id)
    tail = tiny.tokenizer.encode(f"\n{behind}", add_special_tokens=False)
    return np.concatenate([encoded.prompt_ids, encoded.reasoning_ids]), np.array(tail)


def logits_by_hand(
    run: Run, chain_id: str, condition: Condition, behind: str, tiny: LoadedModel
) -> tuple[torch.Tensor, np.ndarray]:
    """Logits of one plain pass over what a condition leaves, or of one in which what follows does not see what was evicted."""
    whole, tail = asked_by_hand(run, chain_id, condition, behind, tiny)
    n_prompt, positions = len(run.encoded(chain_id).prompt_ids), kept_of(run, chain_id, condition)
    deleted = n_prompt + np.setdiff1d(np.arange(len(whole) - n_prompt), positions)
    ids = np.concatenate([whole, tail])
    options: dict[str, Any] = {}
    if condition.reading == "closed_up":
        ids = np.delete(ids, deleted)
    else:
        seen = torch.ones(len(ids), len(ids)).tril().bool()
        seen[len(whole) :, deleted] = False
        options["attention_mask"] = torch.zeros(len(ids), len(ids)).masked_fill(~seen, torch.finfo(torch.float32).min)[
            None, None
        ]
        options["position_ids"] = torch.arange(len(ids))[None]
    with torch.inference_mode():
        return tiny.model(input_ids=torch.tensor(ids)[None], **options).logits[0], ids


def test_likelihoods_of_the_gold_answer_are_those_of_whole_passes(swept: Run, tiny: LoadedModel) -> None:
    table = swept.evaluations().drop_duplicates(["chain_id", *WHAT]).set_index(["chain_id", *WHAT])["nll_gold"].sort_index()
    for condition in conditions_of(swept):
        for chain_id in ("c1", "c2"):
            gold = swept.chains[chain_id].gold_answer
            logits, ids = logits_by_hand(swept, chain_id, condition, f"The answer is: \\boxed{{{gold}}}", tiny)
            n = len(tiny.tokenizer.encode(f"{gold}}}", add_special_tokens=False))
            assert tiny.tokenizer.decode(ids[-n:]) == f"{gold}}}"
            logp = torch.log_softmax(logits[-n - 1 : -1].double(), dim=1).gather(1, torch.tensor(ids[-n:])[:, None])
            key = (chain_id, condition.strategy, condition.reference or np.nan, condition.threshold)
            found = table.loc[(*key, condition.reading, condition.restatements)]
            assert float(found.iloc[0] if isinstance(found, pd.Series) else found) == pytest.approx(
                -float(logp.mean()), abs=1e-5
            )


def test_answers_are_those_of_whole_passes(tmp_path: Path, tiny: LoadedModel) -> None:
    """Greedy, token by token, each from a pass over everything before it."""
    greedy = Answering(sampling=Sampling(temperature=0, max_tokens=3))
    run = small(tmp_path / "run", tiny, chains=CHAINS[:2], answering=greedy, readings=("closed_up", "evicted"))
    table = run.evaluations()
    for condition in conditions_of(run):
        for chain_id in run.chains:
            text = "The answer is"
            written: list[int] = []
            for _ in range(3):
                logits, _ = logits_by_hand(run, chain_id, condition, text + tiny.tokenizer.decode(written), tiny)
                written.append(int(logits[-1].argmax()))
            row = table[
                (table[["chain_id", "threshold", "reading"]] == [chain_id, condition.threshold, condition.reading]).all(axis=1)
            ]
            assert row["response"].tolist() == [text + tiny.tokenizer.decode(written)]
    at_half = table[table["threshold"] == 0.5].pivot_table(index="chain_id", columns="reading", values="nll_gold")
    assert (at_half["closed_up"] - at_half["evicted"]).abs().min() > 1e-3


def test_no_context_has_the_answer_of_the_chain(tmp_path: Path, tiny: LoadedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    contexts: list[Context] = []
    opening = ContextReader.open
    monkeypatch.setattr(ContextReader, "open", lambda self, context: contexts.append(context) or opening(self, context))
    run = small(tmp_path / "run", tiny, readings=("closed_up", "evicted"), restatements=("kept", "stripped"))
    texts = [tiny.tokenizer.decode(np.concatenate([context.ids, context.tail])) for context in contexts]
    assert len(texts) > 20
    assert not any("ZEBRA" in text for text in texts)
    assert all(text.count("<|im_start|>assistant") <= 1 for text in texts)
    begin = {text.partition("assistant\n")[0] for text in texts if "What is" in text and "assistant\n" in text}
    assert len(begin) == 3  # one prompt for each chain, at every threshold
    ends = {text[text.rindex("The answer") :] for text in texts if "The answer" in text}
    assert ends == {"The answer is", "The answer is: \\boxed{22}", "The answer is: \\boxed{32}"}
    assert sum("The answer" in text for text in texts) == len(texts) - 2  # those of the check of the model
    assert run.evaluations()["threshold"].nunique() == 2


def test_what_keeps_the_same_tokens_shares_its_answers(
    tmp_path: Path, tiny: LoadedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = []
    opening = ContextReader.open
    monkeypatch.setattr(ContextReader, "open", lambda self, context: opened.append(context) or opening(self, context))
    options = {
        "strategies": ("random_steps", "random_steps:seed=1"),
        "baselines": ("truncation",),
        "thresholds": (0.4, 0.45, 0.7),
    }
    run = small(tmp_path / "run", tiny, chains=CHAINS[:1], samples=2, readings=("closed_up", "evicted"), **options)
    folder = SweepFolder(run, run.manifest.configuration)
    distinct = set()
    for condition in conditions_of(run):
        kept = folder.kept("c1", condition)
        assert kept is not None
        distinct.add(("closed_up" if kept.is_everything else condition.reading, tuple(kept.positions)))
    assert 1 + 2 < len(distinct) < len(conditions_of(run))
    files = [path.name for path in run.layout.evaluations("c1").iterdir()]
    assert (
        sum(name.startswith("answers-") for name in files) == sum(name.startswith("gold-") for name in files) == len(distinct)
    )
    of_check = 2
    assert len(opened) == 2 * len(distinct) + of_check
    opened.clear()
    small(tmp_path / "run", tiny, chains=None, samples=2, readings=("closed_up", "evicted"), **options)
    assert opened == []


def test_a_sweep_that_grows_is_the_sweep_that_was_made_at_once(tmp_path: Path, tiny: LoadedModel) -> None:
    everything = {"strategies": ("random_steps", "step_percentile"), "baselines": ("truncation",), "thresholds": (0.3, 0.6)}
    at_once = small(tmp_path / "at_once", tiny, samples=3, **everything)
    grown = small(tmp_path / "grown", tiny, chains=CHAINS[:2], strategies=("step_percentile",), thresholds=(0.6,))
    small(tmp_path / "grown", tiny, chains=None, strategies=("random_steps",), baselines=("truncation",), thresholds=(0.6,))
    small(tmp_path / "grown", tiny, chains=CHAINS[2:], strategies=("step_percentile",), samples=2, thresholds=(0.3,))
    small(tmp_path / "grown", tiny, chains=None, samples=3, **everything)
    expected, found = at_once.evaluations(), open_run(grown.folder).evaluations()
    pd.testing.assert_frame_equal(found.drop(columns="nll_gold"), expected.drop(columns="nll_gold"), check_exact=True)
    pd.testing.assert_series_equal(found["nll_gold"], expected["nll_gold"], atol=1e-5, rtol=0)  # prefixes are shared otherwise


def test_chains_that_were_there_before_get_the_paths_of_new_strategies(tmp_path: Path, tiny: LoadedModel) -> None:
    run = small(tmp_path / "run", tiny, chains=CHAINS[:1], strategies=("greedy:keep_ratio=0.6",), thresholds=(0.2,))
    assert len(run.evaluations()) == 2
    run = small(tmp_path / "run", tiny, chains=CHAINS[1:2], strategies=("step_greedy",), thresholds=(0.2,))
    assert len(run.evaluations().query("strategy == 'step_greedy'")) == 4
    run = small(tmp_path / "run", tiny, chains=CHAINS[2:], strategies=("random_steps",), thresholds=(0.2,))
    assert run.evaluations().query("strategy == 'random_steps'")["chain_id"].unique().tolist() == ["c1", "c2", "c3"]
    status = SweepFolder(run, run.manifest.configuration).status()
    assert (status.n_chains, status.n_done, status.failed) == (3, 1, {})  # the others were never asked for greedy


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"answering": Answering(sampling=Sampling(temperature=0.5, max_tokens=4))}, "answering, sampling: "),
        ({"answering": Answering(sampling=SAMPLED.sampling, stem="So")}, "answering, stem: \"'The answer is'\" in the run"),
        ({"answering": Answering(sampling=SAMPLED.sampling, segmenter="paragraphs")}, "answering, segmenter: "),
        ({"answering": Answering(sampling=SAMPLED.sampling, gold_form="= GOLD")}, "answering, gold_form: "),
        ({"answering": Answering(sampling=SAMPLED.sampling, loop_tokens=0)}, "answering, loop_tokens: "),
    ],
)
def test_other_options_are_refused_by_name_before_anything_is_measured(
    tmp_path: Path, tiny: LoadedModel, change: dict[str, Any], message: str
) -> None:
    run = small(tmp_path / "run", tiny, chains=CHAINS[:1])
    before = {path: path.read_bytes() for path in run.folder.rglob("*") if path.is_file()}
    with pytest.raises(RunError) as error:
        small(run.folder, tiny, chains=CHAINS[1:], strategies=("greedy",), **change)
    assert message in str(error.value)
    assert {path: path.read_bytes() for path in run.folder.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize(
    ("plan", "message"),
    [
        ({"thresholds": (1.5,)}, "threshold 1.5: is a share, from 0"),
        ({"thresholds": (-0.1,)}, "threshold -0.1: is a share"),
        ({"thresholds": (float("nan"),)}, "threshold nan: is a share"),
        ({"strategies": ()}, "there is nothing to sweep"),
        ({"samples": 0}, "samples is 0; give 1 or more"),
        ({"readings": ()}, "is not a choice of closed_up, evicted"),
        ({"readings": ("read",)}, r"is not a choice of closed_up, evicted; got \['read'\]"),
        ({"restatements": ("some",)}, "is not a choice of kept, stripped"),
        ({"strategies": ("nonsense",)}, "nonsense"),
        ({"baselines": ("nonsense",)}, "nonsense"),
    ],
)
def test_a_plan_that_cannot_be_is_refused(tmp_path: Path, tiny: LoadedModel, plan: dict[str, Any], message: str) -> None:
    with pytest.raises(PluginError, match=message):
        small(tmp_path / "run", tiny, **plan)
    assert not (tmp_path / "run").exists()


def test_numbers_of_numpy_are_the_same_thresholds(tmp_path: Path, tiny: LoadedModel) -> None:
    plan = SweepPlan(strategies=("random_steps",), baselines=(), thresholds=tuple(np.array([0.5, 1.0])))
    assert list(plan.conditions()) == list(
        SweepPlan(strategies=("random_steps",), baselines=(), thresholds=(0.5, 1)).conditions()
    )


def test_a_strategy_is_no_baseline_of_itself() -> None:
    plan = SweepPlan(strategies=("random_tokens", "step_percentile"), baselines=("random_tokens",), thresholds=(0.5,))
    pairs = {(condition.strategy, condition.reference) for condition in plan.conditions().values()}
    assert pairs == {("random_tokens", ""), ("step_percentile", ""), ("random_tokens", "step_percentile")}


@pytest.mark.parametrize("spec", ["random_steps:steps=sentences", "random_steps:steps=list_items"])
def test_a_baseline_that_names_its_steps_keeps_them(spec: str) -> None:
    plan = SweepPlan(strategies=("step_percentile",), baselines=(spec,), thresholds=(0.5,))
    assert {condition.strategy for condition in plan.conditions().values() if condition.reference} == {
        plugins.label(plugins.load("strategy", spec))
    }


def test_a_segmenter_that_is_not_there_is_refused_before_anything_is_answered(tmp_path: Path, tiny: LoadedModel) -> None:
    with pytest.raises(PluginError, match="nonsense"):
        small(tmp_path / "run", tiny, answering=Answering(sampling=SAMPLED.sampling, segmenter="nonsense"))
    answering = Answering(sampling=SAMPLED.sampling, segmenter="paragraphs")
    run = small(tmp_path / "run", tiny, answering=answering, strategies=("random_tokens",))
    assert set(run.evaluations()["steps_before"]) == {1}


@pytest.mark.parametrize("gold_form", ["no place", "GOLD and GOLD"])
def test_a_form_without_one_place_for_the_gold_answer_is_refused(gold_form: str) -> None:
    with pytest.raises(ValueError, match="expected a text in which GOLD stands once"):
        Answering(gold_form=gold_form)


@pytest.mark.parametrize(("threshold", "n_left"), [(1.0, 1), (0.99, 1), (0.0, 5)])
def test_a_strategy_that_would_delete_everything_keeps_a_step(
    tmp_path: Path, tiny: LoadedModel, threshold: float, n_left: int
) -> None:
    run = small(tmp_path / "run", tiny, chains=CHAINS[:1], thresholds=(threshold,))
    assert set(run.evaluations().query(f"threshold == {threshold}")["steps_after"]) == {n_left}


def test_a_chain_of_one_step_is_answered_whole_or_without_its_reasoning(tmp_path: Path, tiny: LoadedModel) -> None:
    one = chain(1, reasoning="So we get 22.")
    options = {"restatements": ("kept", "stripped"), "readings": ("closed_up", "evicted")}
    table = small(tmp_path / "run", tiny, chains=[one], thresholds=(0.9,), **options).evaluations()
    assert set(table.query("restatements == 'kept'")["achieved_ratio"]) == {1.0}
    assert set(table.query("restatements == 'stripped'")["tokens_after"]) == {0}
    assert len(table) == 2 * 2 * 2
    assert table["nll_gold"].notna().all()


def test_steps_with_equal_scores_are_deleted_in_one_order(tmp_path: Path, tiny: LoadedModel) -> None:
    same = chain(1, reasoning="Same here. " * 6)
    first, second = (small(tmp_path / name, tiny, chains=[same], strategies=("step_percentile",)) for name in "ab")
    pd.testing.assert_frame_equal(first.evaluations(), second.evaluations())


def test_a_chain_beyond_the_context_fails_with_its_counts_and_the_others_are_done(tmp_path: Path, tiny: LoadedModel) -> None:
    """The chain fits with its own answer, but not with the text behind which the gold answer is scored."""
    encoder = ChainEncoder(tiny.tokenizer, EncodingOptions(), context_length=tiny.context_length)
    long = next(
        encoder.encode(made) for n in range(460, 300, -1) if _fits(encoder, made := chain(4, reasoning="word " * n, answer="4"))
    )
    run = small(tmp_path / "run", tiny, chains=[*CHAINS[:1], long.chain])
    assert set(run.evaluations()["chain_id"]) == {"c1"}
    status = SweepFolder(run, run.manifest.configuration).status()
    assert (status.n_chains, status.n_done, list(status.failed)) == (2, 1, ["c4"])
    assert "with the gold answer, but the model's context holds 512" in status.failed["c4"]


def _fits(encoder: ChainEncoder, made: ReasoningChain) -> bool:
    from reasoning_anatomy.errors import EncodingError

    try:
        encoder.encode(made)
    except EncodingError:
        return False
    return True


def test_logits_that_are_not_numbers_fail_their_chain_and_the_others_are_answered(
    tmp_path: Path, tiny: LoadedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The longer chain's are broken from the second token of an answer from all of it on."""
    long = chain(4, gold=False, reasoning="We add two numbers. " * 20 + "So we get 52.")
    expected = small(tmp_path / "whole", tiny, chains=[*CHAINS, long], samples=2)
    encoded, forward = expected.encoded("c4"), tiny.model.forward
    n_before = len(encoded.prompt_ids) + encoded.n_reasoning + len(tiny.tokenizer.encode("\nThe answer is"))

    def broken(*arguments: Any, **options: Any) -> Any:
        output = forward(*arguments, **options)
        if (positions := options.get("position_ids")) is not None:
            output.logits[(positions > n_before).any(dim=1)] = np.nan
        return output

    monkeypatch.setattr(tiny.model, "forward", broken)
    run = small(tmp_path / "run", tiny, chains=[*CHAINS, long], samples=2)
    found, whole = run.evaluations(), expected.evaluations()
    is_broken = (whole["chain_id"] == "c4") & (whole["threshold"] == 0)
    pd.testing.assert_frame_equal(found, whole[~is_broken].reset_index(drop=True), atol=1e-5, rtol=0)
    status = SweepFolder(run, run.manifest.configuration).status()
    assert (status.n_done, list(status.failed)) == (3, ["c4"])
    assert status.failed["c4"].startswith("the model gives logits that are not finite numbers in float32; ")
    monkeypatch.setattr(tiny.model, "forward", forward)
    pd.testing.assert_frame_equal(small(run.folder, tiny, chains=None, samples=2).evaluations(), whole, atol=1e-5, rtol=0)


def test_a_model_that_never_stops_is_cut_off_and_a_loop_is_named(
    tmp_path: Path, tiny: LoadedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = small(tmp_path / "run", tiny, chains=CHAINS[:1])
    assert set(run.evaluations()["finish_reason"]) == {"length"}
    assert set(run.evaluations()["tokens_generated"]) == {4}
    monkeypatch.setattr(work, "sampler", lambda sampling: lambda logits, samples: np.full(len(samples), 99))
    looping = Answering(sampling=Sampling(max_tokens=200), loop_tokens=16)
    rows = small(tmp_path / "looping", tiny, chains=CHAINS[:1], answering=looping).evaluations()
    assert set(rows["finish_reason"]) == {"loop"}
    assert set(rows["tokens_generated"]) == {16}


def test_a_run_that_was_imported_cannot_be_answered(
    tmp_path: Path, make_planted_run: Callable[..., Run], tiny: LoadedModel
) -> None:
    run = make_planted_run(tmp_path / "run", CHAINS)
    manifest = json.loads((run.folder / "run.json").read_text())
    plan = SweepPlan(strategies=("random_steps",))
    with pytest.raises(MissingError, match="was imported, so that how its chains are encoded is not known"):
        sweep(run.folder, plan, model=tiny)
    manifest["configuration"]["model"] = None
    (run.folder / "run.json").write_text(json.dumps(manifest))
    with pytest.raises(MissingError, match="was imported without a model, so that nothing can answer"):
        sweep(run.folder, plan)
    with pytest.raises(RunError, match="there is no run; measure one first, or name its chains"):
        sweep(tmp_path / "nothing", plan, model=tiny)


def test_pass_rates_are_those_of_the_samples_of_a_question(tmp_path: Path, tiny: LoadedModel) -> None:
    """TRAAC: the rate is the threshold if at least 0.8 of the samples are correct, a third of it below 0.3."""
    samples = [
        chain(n, chain_id=f"c{n}-s{sample}", is_correct=sample < n_correct)
        for n, n_correct in ((1, 4), (2, 1))
        for sample in range(4)
    ]
    spec = "traac"
    run = small(tmp_path / "run", tiny, chains=samples, strategies=(spec,), thresholds=(1.0,))
    strategy = plugins.load("strategy", spec)
    for chain_id, own in run.chains.items():
        path = strategy.order(run.encoded(chain_id), loaded=tiny)
        rate = {"q1": 1.0, "q2": 0.25}[own.question_id]
        condition = next(each for each in conditions_of(run) if each.threshold == 1.0)
        assert kept_of(run, chain_id, condition).tolist() == kept_at(strategy, path, 1.0, pass_rate=rate).tolist()
    unknown = small(tmp_path / "unknown", tiny, chains=[chain(1)], strategies=(spec,), thresholds=(0.6,))
    reason = SweepFolder(unknown, unknown.manifest.configuration).status().failed["c1"]
    assert "needs to know which share of the samples of a question is correct" in reason
    assert set(unknown.evaluations()["threshold"]) == {0.0}


BY_RATE = "traac:how=sum"
UNEVEN = "We add two numbers again and again. " * 12 + "Wait, 10 + 12 = 22. " * 10
"""One long step and many short ones, whose summed scores are far from uniform, so that TRAAC lets some go."""


def traac_by_rate(run: Run, tiny: LoadedModel, rates: dict[str, float]) -> None:
    """Expect that at every threshold the run keeps of every chain what TRAAC keeps at the pass rate of its question."""
    strategy = plugins.load("strategy", BY_RATE)
    for condition in conditions_of(run):
        for chain_id, own in run.chains.items():
            path = strategy.order(run.encoded(chain_id), loaded=tiny)
            expected = kept_at(strategy, path, condition.threshold, pass_rate=rates[own.question_id])
            assert kept_of(run, chain_id, condition).tolist() == expected.tolist()


def test_what_is_kept_by_a_pass_rate_is_found_anew_when_further_samples_change_the_rate(
    tmp_path: Path, tiny: LoadedModel
) -> None:
    first = [chain(1, chain_id=f"c1-s{sample}", reasoning=UNEVEN, is_correct=True) for sample in range(2)]
    later = [chain(1, chain_id=f"c1-s{sample}", reasoning=UNEVEN, is_correct=False) for sample in range(2, 8)]
    plan = {"strategies": (BY_RATE,), "baselines": ("truncation",), "thresholds": (1.0,)}
    run = small(tmp_path / "run", tiny, chains=first, strategies=(BY_RATE,), thresholds=(1.0,))
    traac_by_rate(run, tiny, {"q1": 1.0})
    easy = run.evaluations().query("threshold == 1")["tokens_after"]
    run = small(run.folder, tiny, chains=later, **plan)
    table, at_once = run.evaluations(), small(tmp_path / "at_once", tiny, chains=[*first, *later], **plan).evaluations()
    pd.testing.assert_frame_equal(table.drop(columns="nll_gold"), at_once.drop(columns="nll_gold"))
    strategy, encoded = plugins.load("strategy", BY_RATE), run.encoded("c1-s0")
    path = strategy.order(encoded, loaded=tiny)
    hard = table.query("threshold == 1 and reference.isna()")["tokens_after"]
    assert set(hard) == {len(kept_at(strategy, path, 1.0, pass_rate=0.25))}
    assert set(easy) == {len(kept_at(strategy, path, 1.0, pass_rate=1.0))}
    assert len(set(hard) | set(easy)) == 2
    at_zero = next(each for each in conditions_of(run) if each.threshold == 0)
    assert not at_zero.by_pass_rate


def test_between_samples_and_the_next_sweep_nothing_is_said_to_be_answered(tmp_path: Path, tiny: LoadedModel) -> None:
    samples = [chain(1, chain_id=f"c1-s{sample}", is_correct=sample == 0) for sample in range(4)]
    run = small(tmp_path / "run", tiny, chains=samples[:1], strategies=("traac",), thresholds=(1.0,))
    assert SweepFolder(run, run.manifest.configuration).status().n_done == 1
    run = measure(samples[1:], out=run.folder, model=tiny, scorers=(), strategies=())
    assert SweepFolder(run, run.manifest.configuration).status().n_done == 0
    run = small(run.folder, tiny, chains=None, strategies=("traac",), thresholds=(1.0,))
    assert SweepFolder(run, run.manifest.configuration).status().n_done == 4


def test_samples_that_came_to_no_answer_count_as_unsolved(tmp_path: Path, tiny: LoadedModel) -> None:
    """Of q1 one sample is correct and three are cut off, one of which is judged; q2 has a line that says nothing."""
    cut_off = {"answer": "", "source": {"unusable": "its thinking is never closed: it was cut off"}}
    rows = [
        *(each.model_dump(mode="json", exclude_none=True) for each in (chain(1, is_correct=True), chain(2, is_correct=True))),
        chain(1, chain_id="c1-s1").model_dump(mode="json") | cut_off | {"is_correct": False},
        chain(1, chain_id="c1-s2").model_dump(mode="json") | cut_off,
        chain(1, chain_id="c1-s3").model_dump(mode="json") | cut_off,
        chain(2, chain_id="c2-s1").model_dump(mode="json") | {"answer": ""},
    ]  # fmt: skip
    file = tmp_path / "chains.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    plan = SweepPlan(strategies=(BY_RATE,), baselines=(), thresholds=(1.0,))
    options: dict[str, Any] = {"chains": file, "model": tiny, "answering": SAMPLED, "skip_unusable": True}
    run = sweep(tmp_path / "run", plan, **options)
    assert SweepFolder(run, run.manifest.configuration).pass_rates == {"q1": 0.25, "q2": 1.0}
    traac_by_rate(run, tiny, {"q1": 0.25, "q2": 1.0})
    file.write_text("".join(json.dumps(row) + "\n" for row in rows[::-1]))
    run = sweep(run.folder, plan, **options)  # in another order they are the same samples
    assert SweepFolder(run, run.manifest.configuration).pass_rates == {"q1": 0.25, "q2": 1.0}


def test_a_chain_that_one_strategy_fails_on_is_answered_under_the_others(
    tmp_path: Path, tiny: LoadedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "failing.py").write_text(
        '''
from dataclasses import dataclass

from reasoning_anatomy import plugins
from reasoning_anatomy.errors import MeasurementError


@dataclass(frozen=True, kw_only=True)
class Failing:
    """Fails on one chain."""

    def prune(self, chain, *, loaded, job=None):
        if chain.chain_id == "c1":
            raise MeasurementError(chain.chain_id, "has no luck")
        return plugins.load("strategy", "truncation").prune(chain, loaded=loaded, job=job)
'''
    )
    monkeypatch.setattr(plugins, "_folders", {})
    plugins.add_folder(folder)
    run = small(tmp_path / "run", tiny, chains=CHAINS[:2], strategies=("failing", "random_steps"))
    counts = run.evaluations().groupby(["chain_id", "strategy"]).size().to_dict()
    assert counts == {("c1", "random_steps"): 2, ("c2", "failing"): 2, ("c2", "random_steps"): 2}
    status = SweepFolder(run, run.manifest.configuration).status()
    assert status.n_done == 1
    assert status.failed["c1"] == "has no path of failing (has no luck); run the same sweep again"


def test_a_model_without_full_attention_is_not_asked_to_evict(
    tmp_path: Path, tiny: LoadedModel, tiny_model_folder: Path
) -> None:
    import copy

    from transformers import MistralConfig, MistralForCausalLM

    shape = {name: getattr(tiny.model.config, name) for name in ("vocab_size", "hidden_size", "intermediate_size", "head_dim")}
    config = MistralConfig(
        **shape, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=512,
        sliding_window=16, initializer_range=0.3,
    )  # fmt: skip
    sliding = LoadedModel(MistralForCausalLM(config).eval(), copy.copy(tiny.tokenizer), "sliding")
    with pytest.raises(ModelError, match=r"^sliding: keys and values can be evicted only"):
        small(tmp_path / "run", sliding, chains=CHAINS[:1], readings=("closed_up", "evicted"))
    assert not (tmp_path / "run").exists()
    assert len(small(tmp_path / "run", sliding, chains=CHAINS[:1]).evaluations()) == 2


def test_if_memory_runs_out_fewer_answers_are_written_at_a_time(
    tmp_path: Path, tiny: LoadedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = small(tmp_path / "a", tiny, samples=3).evaluations()
    forward, widths = tiny.model.forward, []

    def limited(*arguments: Any, **options: Any) -> Any:
        widths.append(len(options["input_ids"]))
        if len(options["input_ids"]) > 2:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory")
        return forward(*arguments, **options)

    monkeypatch.setattr(tiny.model, "forward", limited)
    pd.testing.assert_frame_equal(small(tmp_path / "b", tiny, samples=3).evaluations(), expected, atol=1e-5, rtol=0)
    assert max(widths) > 2


def test_if_there_is_no_memory_for_one_answer_the_error_says_what_helps(tiny: LoadedModel) -> None:
    full = RuntimeError("CUDA out of memory")
    assert fewer_rows(tiny, 7, full) == 3
    with pytest.raises(ModelError, match=r"too little memory to write a single sample; .*--max-tokens"):
        fewer_rows(tiny, 1, full)
    with pytest.raises(RuntimeError, match="shapes"):
        fewer_rows(tiny, 7, RuntimeError("shapes do not match"))


def test_a_chain_that_another_process_answers_is_left_to_it(
    tmp_path: Path, tiny: LoadedModel, monkeypatch: pytest.MonkeyPatch, call: Callable[..., Any]
) -> None:
    """Its claim outlasts the end of this sweep."""
    run = small(tmp_path / "run", tiny, thresholds=())
    with SweepFolder(run, run.manifest.configuration).claim("c1") as is_ours:
        assert is_ours
        heard: list[str] = []
        monkeypatch.setattr(Stages, "say", lambda self, text: heard.append(text))
        run = small(run.folder, tiny, chains=None)
        assert set(run.evaluations().query("threshold == 0.5")["chain_id"]) == {"c2", "c3"}
        assert heard[-1].startswith("note: 1 of 3 chains are left to other processes that work on this run; the last of them")
        assert "Left: 1 of 3 chains lack answers at some of them" in call("status", run.folder).out
        with SweepFolder(run, run.manifest.configuration).claim("c1") as is_theirs:
            assert not is_theirs
    heard.clear()
    run = small(run.folder, tiny, chains=None)
    assert set(run.evaluations().query("threshold == 0.5")["chain_id"]) == {"c1", "c2", "c3"}
    assert not any("left to other processes" in text for text in heard)


@pytest.mark.parametrize("error", [KeyboardInterrupt, ModelError("no memory")])
def test_a_sweep_that_is_interrupted_leaves_a_table_of_what_is_answered(
    tmp_path: Path, tiny: LoadedModel, monkeypatch: pytest.MonkeyPatch, error: Any
) -> None:
    adding = SweepFolder.add_answers

    def interrupted(folder: SweepFolder, chain_id: str, *arguments: Any) -> None:
        if chain_id == "c2":
            raise error
        adding(folder, chain_id, *arguments)

    monkeypatch.setattr(SweepFolder, "add_answers", interrupted)
    plan = SweepPlan(strategies=("random_steps",), baselines=(), thresholds=(0.5,))
    options: dict[str, Any] = {"chains": CHAINS, "model": tiny, "answering": SAMPLED}
    with pytest.raises(error if isinstance(error, type) else type(error)):
        sweep(tmp_path / "run", plan, n_rows=1, **options)
    found = open_run(tmp_path / "run").evaluations()
    assert 0 < len(found) < 6
    assert "c2" not in set(found["chain_id"])
    monkeypatch.setattr(SweepFolder, "add_answers", adding)
    assert len(sweep(tmp_path / "run", plan, **options).evaluations()) == 6


def test_answers_without_their_table_are_said_to_be_unfinished(
    tmp_path: Path, tiny: LoadedModel, call: Callable[..., Any]
) -> None:
    run = small(tmp_path / "run", tiny)
    (run.folder / "evaluations.parquet").unlink()
    with pytest.raises(MissingError, match=r"run: a sweep was begun, but its table .* is not written yet; run the same sweep"):
        open_run(run.folder).evaluations()
    done = call("analyse", run.folder, "--analyses", "threshold_comparison")
    assert (done.code, "run the same sweep again" in done.err) == (2, True)
    small(run.folder, tiny, chains=None)
    assert len(run.evaluations()) == 6


def test_a_model_is_the_same_by_whatever_path_it_is_named(
    tmp_path: Path, tiny_model_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tiny_model_folder.parent)
    heard: list[str] = []
    monkeypatch.setattr(Stages, "say", lambda self, text: heard.append(text))
    names = [tiny_model_folder.name, f"./{tiny_model_folder.name}/", str(tiny_model_folder)]
    chains = [chain(n, source={"model": name}) for n, name in enumerate(names)]
    loaded = load_model(f"{tiny_model_folder.name}/")
    small(tmp_path / "run", loaded, chains=chains)
    assert not any("were sampled from" in text for text in heard)
    small(tmp_path / "other", loaded, chains=[chain(0, source={"model": "org/name"}), *chains[1:]])
    assert [text for text in heard if "were sampled from" in text] == [
        f"note: the chains were sampled from org/name, and {loaded.id} answers; --model names another"
    ]


def test_an_eviction_needs_a_text_before_the_answer(tmp_path: Path, tiny: LoadedModel) -> None:
    """Otherwise the last token of the reasoning, which saw all of it, would predict the first of the answer."""
    bare, options = EncodingOptions(before_reasoning="", before_answer="", joints="none"), {"chains": CHAINS[:1], "model": tiny}
    plan = SweepPlan(strategies=("random_steps",), baselines=(), readings=("evicted",))
    without = Answering(sampling=SAMPLED.sampling, stem="")
    with pytest.raises(RunError, match=r"nothing stands between reasoning and answer.*--stem"):
        sweep(tmp_path / "run", plan, answering=without, encoding=bare, **options)
    assert len(sweep(tmp_path / "run", plan, answering=SAMPLED, encoding=bare, **options).evaluations()) == 6


THINKING = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n<think>\n{% endif %}"
)


@pytest.fixture(scope="module")
def thinking_folder(tiny: LoadedModel, tiny_model_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny model as one that thinks: its template opens the tag, and its tags are tokens."""
    folder = tmp_path_factory.mktemp("thinking") / "tiny"
    again = load_model(str(tiny_model_folder))
    tokenizer: Any = again.tokenizer
    tokenizer.add_special_tokens({"additional_special_tokens": ["<think>", "</think>"]}, replace_extra_special_tokens=False)
    tokenizer.chat_template = THINKING
    again.model.resize_token_embeddings(-(-len(tokenizer) // 64) * 64, mean_resizing=False)
    again.model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def test_a_thinking_model_in_4_bits_is_sampled_and_swept(tmp_path: Path, thinking_folder: Path) -> None:
    """The path of DeepSeek-R1-Distill on the CPU: samples in NF4, thinking that is not closed, a sweep behind ``</think>``."""
    loaded = load_model(ModelSpec(str(thinking_folder), device="cpu", quantize="4bit"))
    encoder = ChainEncoder(loaded.tokenizer, EncodingOptions(), context_length=loaded.context_length)
    problems = [Problem(question_id=own.question_id, question=own.question, gold_answer=own.gold_answer) for own in CHAINS[:2]]
    local = LocalModel(loaded=loaded, encoder=encoder)
    sampled = generate(
        problems, out=tmp_path / "chains.jsonl", completer=local, model=local.identity(), opened=encoder.opened_thinking,
        sampling=Sampling(max_tokens=4), instruction="",
    )  # fmt: skip
    assert [row["source"]["unusable"] for row in sampled.rows] == ["its thinking is never closed: it was cut off"] * 2
    closed = [{**row, "answer": "It is 7.", "source": {}} for row in sampled.rows]
    (tmp_path / "closed.jsonl").write_text("".join(json.dumps(row) + "\n" for row in closed))
    plan = SweepPlan(strategies=("random_tokens",), baselines=(), thresholds=(0.5,), readings=("closed_up", "evicted"))
    table = sweep(tmp_path / "run", plan, chains=tmp_path / "closed.jsonl", model=loaded, answering=SAMPLED).evaluations()
    assert len(table) == 2 * 2 * 2
    assert open_run(tmp_path / "run").manifest.configuration.model.quantization == "4bit"
    assert "</think>" in open_run(tmp_path / "run").manifest.configuration.encoding
    assert not table["response"].str.startswith("The answer is").any()  # behind the closed thinking there is no stem
    assert table["nll_gold"].notna().all()
    again = sweep(tmp_path / "run", plan, answering=SAMPLED)  # the model of the run, held as it was
    pd.testing.assert_frame_equal(again.evaluations(), table)


@pytest.fixture
def chains_file(tmp_path: Path) -> Path:
    path = tmp_path / "chains.jsonl"
    write_chains(path, CHAINS[:2])
    return path


def test_the_command_begins_a_run_and_adds_to_it(call: Callable[..., Any], chains_file: Path, tiny_model_folder: Path) -> None:
    options = ["--strategies", "random_steps", "--baselines", "none", "--max-tokens", "3", "--temperature", "1"]
    done = call(
        "sweep", "run", "--chains", chains_file, "--model", tiny_model_folder, *options, "--thresholds", "0.5", "--samples", "2"
    )
    assert (done.code, done.err.count("error")) == (0, 0)
    assert "2 of 2 chains are answered at all 2 conditions in run" in done.out
    assert "Next: python -m analyses.threshold_comparison run" in done.out
    done = call("sweep", "run", *options, "--thresholds", "0", "0.5", "0.8", "--samples", "2", "--rows", "1")
    assert "2 of 2 chains are answered at all 3 conditions in run" in done.out
    assert len(open_run("run").evaluations()) == 2 * 3 * 2
    done = call("sweep", "run", *options, "--loop-tokens", "64")
    assert "other options (answering, loop_tokens: '512' in the run, '64' now)" in done.err
    done = call("sweep", "run", *options, "--seed", "1")
    assert (done.code, done.out.splitlines()[1:]) == (2, [])
    assert done.err.strip().splitlines()[-1].startswith("error: run: was measured with other options (answering, sampling: ")


def test_the_commands_sample_then_sweep(call: Callable[..., Any], tmp_path: Path, tiny_model_folder: Path) -> None:
    problems = tmp_path / "problems.jsonl"
    problems.write_text('{"question": "What is 1 + 1?", "answer": "2"}\n{"question": "What is 1 + 2?", "answer": "3"}\n')
    command = [
        "generate",
        problems,
        "--out",
        "chains.jsonl",
        "--model",
        tiny_model_folder,
        "--max-tokens",
        "8",
        "--samples",
        "2",
    ]
    done = call(*command)
    assert done.code == 0, done.err
    assert "Finish reason: length 4" in done.out
    assert "Wrote chains.jsonl: 4 chains" in done.out
    assert "Cannot be measured: 4, marked in the file: the reasoning is empty" in done.out
    assert "Next:" not in done.out
    whole = (tmp_path / "chains.jsonl").read_bytes()
    assert call(*command).code == 0
    assert (tmp_path / "chains.jsonl").read_bytes() == whole


MOODY = THINKING.replace("<think>\n", "").replace("{% for m", "{{ mood | default('plain') }} {% for m", 1)


@pytest.fixture(scope="module")
def moody_folder(tiny_model_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny model with a template that writes a variable of its own."""
    folder = Path(shutil.copytree(tiny_model_folder, tmp_path_factory.mktemp("moody") / "tiny model"))
    again = load_model(str(folder))
    again.tokenizer.chat_template = MOODY
    again.tokenizer.save_pretrained(folder)
    return folder


SMALL = ["--strategies", "random_steps", "--baselines", "none", "--thresholds", "0.5", "--max-tokens", "2"]


def prompts_of(run: Run, model: Path) -> set[str]:
    tokenizer: Any = load_model(str(model)).tokenizer
    return {tokenizer.decode(run.encoded(chain_id).prompt_ids).partition(" ")[0] for chain_id in run.chains}


def test_the_command_after_generate_measures_the_prompts_that_were_sampled_from(
    call: Callable[..., Any], tmp_path: Path, moody_folder: Path, tiny_model_folder: Path
) -> None:
    (tmp_path / "problems.jsonl").write_text('{"question": "What is 1 + 1?", "answer": "2"}\n')
    options = ["--model", moody_folder, "--dtype", "bfloat16", "--device", "cpu", "--template-variables", "mood=gloomy"]
    sampled = call(
        "generate", "problems.jsonl", "--out", "my chains.jsonl", "--samples", "6", "--max-tokens", "100", "--temperature", "3",
        *options,
    )  # fmt: skip
    [command] = [line for line in sampled.out.splitlines() if line.startswith("Next: reasoning-anatomy ")]
    words = shlex.split(command.removeprefix("Next: reasoning-anatomy "))
    assert words[words.index("--model") + 1] == str(moody_folder)
    done = call(*words, "--baselines", "none", "--thresholds", "0.5", "--max-tokens", "2")
    assert done.code == 0, done.err
    run = open_run("runs/my chains")
    assert run.manifest.configuration.model.dtype == "bfloat16"
    assert "template_variables=('mood=gloomy',)" in run.manifest.configuration.encoding
    assert prompts_of(run, moody_folder) == {"gloomy"}
    again = call("run", "my chains.jsonl", "--out", "measured", *options[:-2], "--strategies", "none", "--skip-unusable")
    assert (again.code, prompts_of(open_run("measured"), moody_folder)) == (0, {"gloomy"})
    again = call("run", "my chains.jsonl", "--out", "measured", *options[:-2], "--strategies", "truncation", "--skip-unusable")
    assert again.code == 0, again.err  # what a run has been begun with need not be said again
    options = ["--model", tiny_model_folder, "--strategies", "none", "--skip-unusable"]
    other = call("run", "my chains.jsonl", "--out", "other", *options)
    assert (other.code, "template_variables=()" in open_run("other").manifest.configuration.encoding) == (0, True)
    assert "was sampled with the template variables mood=gloomy, and the prompts of this run have none;" in other.err


def test_a_sweep_that_begins_a_run_takes_its_encoding_and_another_is_refused_later(
    call: Callable[..., Any], chains_file: Path, moody_folder: Path
) -> None:
    begin = ["sweep", "run", "--chains", chains_file, "--model", moody_folder, *SMALL]
    done = call(*begin, "--template-variables", "mood=glad", "--before-answer", r"\n\n", "--joints", "none")
    assert done.code == 0, done.err
    run = open_run("run")
    assert prompts_of(run, moody_folder) == {"glad"}
    options = r"EncodingOptions(before_reasoning='', before_answer='\n\n', template_variables=('mood=glad',), date=None)"
    assert run.manifest.configuration.encoding == options
    assert call(*begin).code == 0
    assert call("sweep", "run", *SMALL, "--template-variables", "mood=glad").code == 0
    for other in (["--template-variables", "mood=sad"], ["--before-answer", "."]):
        refused = call(*begin, *other)
        assert refused.code == 2
        assert "error: run: was measured with other options (encoding: " in refused.err
        assert "use the same, or another folder" in refused.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["sweep", "nothing", "--strategies", "random_steps"], "there is no run; measure one first, or name its chains"),
        (["sweep", "nothing", "--strategies", "nonsense"], "nonsense"),
        (["sweep", "nothing", "--strategies", "random_steps", "--thresholds", "2"], "threshold 2.0: is a share"),
        (["sweep", "nothing", "--strategies", "random_steps", "--samples", "0"], "samples is 0"),
        (["sweep", "nothing", "--strategies", "random_steps", "--temperature", "-1"], "temperature is -1.0"),
        (["sweep", "nothing", "--strategies", "random_steps", "--gold-form", "x"], "gold_form is 'x'"),
        (["sweep", "nothing", "--strategies", "random_steps", "--rows", "0"], "rows is 0; give 1 or more"),
        (["sweep", "nothing", "--strategies", "random_steps", "--loop-tokens", "-1"], "loop_tokens is -1"),
        (["generate", "problems.jsonl", "--out", "x.jsonl", "--loop-tokens", "-1"], "loop_tokens is -1; give 1 or more, or 0"),
        (
            ["generate", "problems.jsonl", "--out", "x.jsonl", "--url", "http://localhost:9", "--loop-tokens", "64"],
            "--loop-tokens is for a model that is loaded here",
        ),
        (["generate", "absent.jsonl", "--out", "x.jsonl"], "absent.jsonl"),
        (["generate", "problems.jsonl", "--out", "x.jsonl", "--temperature", "-1"], "temperature is -1.0"),
        (["generate", "problems.jsonl", "--out", "x.jsonl", "--samples", "0"], "samples is 0"),
        (["generate", "problems.jsonl", "--out", "x.jsonl", "--first", "0"], "first is 0"),
        (["generate", "problems.jsonl", "--out", "x.jsonl", "--until-correct"], "has no gold answer"),
        (
            ["generate", "problems.jsonl", "--out", "x.jsonl", "--url", "http://localhost:9", "--ends-with-thinking"],
            "--ends-with-thinking needs a model that is loaded here",
        ),
    ],
)
def test_mistakes_end_in_one_line_and_exit_code_2(
    call: Callable[..., Any], tmp_path: Path, tiny_model_folder: Path, arguments: list[str], message: str
) -> None:
    (tmp_path / "problems.jsonl").write_text('{"question": "What is 1 + 1?"}\n')
    local = "--url" not in arguments and arguments[0] == "generate"
    done = call(*arguments, *(["--model", tiny_model_folder] if local else []))
    assert done.code == 2
    assert message in done.err + done.out
    assert "Traceback" not in done.err + done.out
    errors = [line for line in done.err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("sweep", ["--strategies", "--thresholds", "--readings", "--restatements", "--samples", "--skip-unusable", "--stem"]),
        ("generate", ["--out", "--until-correct", "--ends-with-thinking", "--url", "--top-p", "--stop", "--quantize"]),
    ],
)
def test_help_names_the_options(call: Callable[..., Any], command: str, words: list[str]) -> None:
    done = call(command, "--help")
    assert done.code == 0
    assert all(word in done.out for word in words)
