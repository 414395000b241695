"""Scorers and strategies that crash or refuse take nothing else from a run, and stay visible."""

import json
import shutil
from concurrent.futures import CancelledError
from contextlib import nullcontext
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from reasoning_anatomy import plugins
from reasoning_anatomy.chains import write_chains
from reasoning_anatomy.errors import ModelError, RunError
from reasoning_anatomy.evaluation import Answering, SweepPlan, sweep
from reasoning_anatomy.generation.completion import Sampling
from reasoning_anatomy.models.loading import LoadedModel, load_model
from reasoning_anatomy.pipeline.measuring import measure
from reasoning_anatomy.plugins import add_folder
from reasoning_anatomy.run.folder import open_run
from reasoning_anatomy.run.sweep import SweepFolder
from reasoning_anatomy.types import ReasoningChain

HEAD = """
from concurrent.futures import CancelledError
from dataclasses import dataclass

import numpy as np

from reasoning_anatomy import plugins
from reasoning_anatomy.errors import ModelError, RunError
from reasoning_anatomy.importance import AttentionScorer
from reasoning_anatomy.types import TokenScores


@dataclass(frozen=True, kw_only=True)
"""
SCORERS = {
    "crashing": '''class Crashing:
    """Crashes on a chain of a question."""

    error: str = "ValueError"

    def score(self, chain, *, loaded):
        if chain.chain.question_id == "a":
            raise {"ValueError": ValueError, "CancelledError": CancelledError, "RunError": RunError}[self.error]("no\\nluck")
        return TokenScores(np.arange(chain.n_reasoning))
''',
    "observing": '''class Observing(AttentionScorer):
    """Crashes while it says what to record."""

    def observe(self, chain):
        raise KeyError("key")

    def score(self, chain, *, loaded, observed=None):
        return self.recorded(chain, loaded, observed)
''',
    "short": '''class Short:
    """Forgets a token."""

    def score(self, chain, *, loaded):
        return TokenScores(np.ones(chain.n_reasoning - 1))
''',
    "nothing": '''class Nothing:
    """Returns no scores."""

    def score(self, chain, *, loaded): ...
''',
    "refusing": '''class Refusing:
    """Refuses every model, by an error of ours or by a crash."""

    crashes: bool = False

    def expect_model(self, loaded, chain):
        raise TypeError("unsqueeze()") if self.crashes else ModelError(f"{loaded.id}: is not my kind of model")

    def score(self, chain, *, loaded):
        raise AssertionError("was asked after it had refused")
''',
    "unfit": '''class Unfit:
    """Finds nothing in all chains."""

    def fit(self, chains, *, loaded):
        raise ZeroDivisionError

    def fitted(self, fit):
        return self

    def score(self, chain, *, loaded):
        raise AssertionError("was asked without a fit")
''',
}
STRATEGY = '''class Failing:
    """Crashes on every chain."""

    def prune(self, chain, *, loaded, job=None):
        raise IndexError("out of range")
'''


STRATEGIES = {
    "failing": STRATEGY,
    "ordering": '''class Ordering:
    """Crashes on a chain of a question while it puts tokens in order."""

    error: str = "ValueError"
    def order(self, chain, *, loaded):
        if chain.chain.question_id == "a":
            raise {"ValueError": ValueError, "RunError": RunError}[self.error]("no luck")
        return plugins.load("strategy", "truncation").order(chain, loaded=loaded)

    def prune(self, chain, *, loaded, job=None):
        return plugins.load("strategy", "truncation").prune(chain, loaded=loaded, job=job)
''',
    "counting": '''class Counting:
    """Crashes while it counts what goes at a threshold."""

    def n_units_deleted(self, path, threshold, *, pass_rate=None):
        raise KeyError("units")

    def order(self, chain, *, loaded):
        return plugins.load("strategy", "truncation").order(chain, loaded=loaded)

    def prune(self, chain, *, loaded, job=None):
        return plugins.load("strategy", "truncation").prune(chain, loaded=loaded, job=job)
''',
}


@pytest.fixture(autouse=True)
def _own_plugins(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(plugins, "_folders", {})
    folder = tmp_path / "mine"
    folder.mkdir()
    for name, body in SCORERS.items():
        (folder / f"{name}.py").write_text(HEAD + body)
    for name, body in STRATEGIES.items():
        (folder / f"{name}.py").write_text(HEAD + body)
    add_folder(folder)


@pytest.fixture
def tiny(tiny_model_folder: Path) -> LoadedModel:
    return load_model(str(tiny_model_folder))


@pytest.fixture
def texts(example_chains: list[ReasoningChain]) -> list[ReasoningChain]:
    return [
        example_chains[number].model_copy(update={"chain_id": name, "question_id": name}) for number, name in enumerate("ab")
    ]


@pytest.mark.parametrize("workers", [1, 2])
def test_a_scorer_that_crashes_on_a_chain_takes_nothing_else(tiny, texts, tmp_path, workers):
    scorers = ["crashing", "answer_attention", "recency"]
    run = measure(texts, out=tmp_path / "run", model=tiny, scorers=scorers, strategies=["random_tokens"], workers=workers)
    assert run.status().failed == {"a": {"scorer crashing": "ValueError: no"}}
    assert (run.status().n_done, run.status().left) == (1, {})
    tokens = run.tokens().set_index("chain_id")
    assert tokens["score_crashing"].isna().groupby(level=0).all().to_dict() == {"a": True, "b": False}
    assert tokens.drop(columns="score_crashing").notna().all(axis=None)
    kept = json.loads(run.layout.failure("a", "score", "crashing").read_text())
    assert kept["traceback"].startswith("Traceback (most recent call last)")
    assert "crashing.py" in kept["traceback"]


@pytest.mark.parametrize("error", [CancelledError, RunError])
def test_what_is_not_the_fault_of_a_scorer_ends_the_run(tiny, texts, tmp_path, error):
    with pytest.raises(error):
        measure(texts, out=tmp_path / "run", model=tiny, scorers=[f"crashing:error={error.__name__}"], strategies=[])


def test_a_scorer_that_crashes_while_passes_are_shared_leaves_the_others_their_numbers(tiny, texts, tmp_path):
    alone = measure(texts, out=tmp_path / "alone", model=tiny, scorers=["answer_attention"], strategies=[])
    run = measure(texts, out=tmp_path / "run", model=tiny, scorers=["observing", "answer_attention"], strategies=[])
    assert run.status().failed == {key: {"scorer observing": "KeyError: 'key'"} for key in "ab"}
    assert run.tokens()["score_answer_attention"].equals(alone.tokens()["score_answer_attention"])


@pytest.mark.parametrize(
    ("scorer", "reason"),
    [
        ("short", "short gives 32 scores for 33 reasoning tokens"),
        ("nothing", "AttributeError: 'NoneType' object has no attribute 'score'"),
        ("unfit", "ZeroDivisionError"),
        ("refusing:crashes=True", "TypeError: unsqueeze()"),
    ],
)
def test_wrong_scores_and_crashes_before_scoring_are_failures_with_their_reason(tiny, texts, tmp_path, scorer, reason):
    run = measure(texts[:1], out=tmp_path / "run", model=tiny, scorers=[scorer, "recency"], strategies=[])
    assert run.status().failed == {"a": {f"scorer {scorer}": reason}}
    assert run.tokens()["score_recency"].notna().all()


def test_a_strategy_that_crashes_has_a_failed_path_with_its_reason(tiny, texts, tmp_path):
    run = measure(texts, out=tmp_path / "run", model=tiny, scorers=["recency"], strategies=["failing", "random_tokens"])
    assert run.status().failed == {key: {"strategy failing": "IndexError: out of range"} for key in "ab"}
    assert set(run.paths()["strategy"]) == {"random_tokens"}
    assert "failing.py" in json.loads(run.layout.failure("a", "path", "failing").read_text())["traceback"]


def test_a_scorer_that_refuses_the_model_is_missing_with_its_reason(tiny, texts, tmp_path):
    options = {"out": tmp_path / "run", "model": tiny, "scorers": ["refusing", "recency"], "strategies": []}
    run = measure(texts, **options)
    assert run.status().missing_scores == {"refusing": dict.fromkeys("ab", f"{tiny.id}: is not my kind of model")}
    assert (run.status().n_done, run.status().failed) == (2, {})
    assert measure(texts, **options).status() == run.status()
    with pytest.raises(ModelError, match="is not my kind of model"):
        measure(texts, out=tmp_path / "other", model=tiny, scorers=["refusing"], strategies=[])


def test_failures_of_one_kind_are_one_line(call, tiny_model_folder, texts, tmp_path):
    run = measure(texts, out=tmp_path / "run", model=str(tiny_model_folder), scorers=["observing", "recency"], strategies=[])
    assert "Failed: 2 chains, such as a, scorer observing: KeyError: 'key'\n" in call("status", run.folder).out


@pytest.fixture
def overflowing(tiny_model_folder: Path, tmp_path: Path) -> Path:
    """A model whose hidden states exceed what float16 can hold, 65,504, and are ordinary numbers in bfloat16 and float32."""
    folder = Path(shutil.copytree(tiny_model_folder, tmp_path / "large"))
    weights = load_file(folder / "model.safetensors")
    weights["model.embed_tokens.weight"] *= 1e6
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_numbers_that_overflow_in_float16_name_the_dtype_and_the_remedy(call, overflowing, texts, tmp_path, dtype):
    write_chains(tmp_path / "chains.jsonl", texts)
    arguments = ["--out", "run", "--model", overflowing, "--dtype", dtype, "--strategies", "greedy:keep_ratio=0.95"]
    unreadable = "could be checked on none of 2 chains; .: the model gives logits that are not finite numbers in float16; "
    with pytest.warns(UserWarning, match=unreadable) if dtype == "float16" else nullcontext():
        done = call("run", "chains.jsonl", *arguments)
    if dtype == "bfloat16":
        assert (done.code, open_run(tmp_path / "run").status().n_done) == (0, 2)
        return
    says = "not all finite numbers in float16; numbers beyond 65,504 overflow there: use --dtype bfloat16 or --dtype float32"
    assert done.code == 2
    assert "nothing to tabulate; scorer answer_attention failed on 2 of 2 chains: " in done.err
    assert says in done.err
    assert says in call("status", "run").out
    assert says in open_run(tmp_path / "run").status().failed["a"]["scorer answer_attention"]
    assert "a likelihood that is not a finite number in float16; numbers beyond 65,504" in call("status", "run").out


def test_a_strategy_that_crashes_in_a_sweep_fails_its_chain_and_is_named(tiny, texts, tmp_path):
    plan = SweepPlan(strategies=("ordering", "counting", "random_steps"), baselines=(), thresholds=(0.5,))
    answering = Answering(sampling=Sampling(temperature=1.0, max_tokens=2))
    run = sweep(tmp_path / "run", plan, chains=texts, model=tiny, answering=answering)
    counts = run.evaluations().groupby(["chain_id", "strategy"]).size().to_dict()
    assert counts == {
        ("a", "counting"): 1, ("a", "random_steps"): 2,
        ("b", "counting"): 1, ("b", "ordering"): 2, ("b", "random_steps"): 2,
    }  # fmt: skip
    reasons = SweepFolder(run, run.manifest.configuration).status().failed
    assert reasons == {"a": "strategy counting: KeyError: 'units'", "b": "strategy counting: KeyError: 'units'"}
    plan = SweepPlan(strategies=("ordering",), baselines=(), thresholds=(0.5,))
    run = sweep(run.folder, plan, model=tiny, answering=answering)
    assert SweepFolder(run, run.manifest.configuration).status().failed["a"] == "strategy ordering: ValueError: no luck"
    recorded = json.loads(run.layout.evaluation_failure("a").read_text())
    assert "in order\n" in recorded["traceback"]


def test_a_crash_that_no_strategy_is_to_blame_for_ends_the_sweep(tiny, texts, tmp_path):
    plan = SweepPlan(strategies=("ordering:error=RunError",), baselines=())
    with pytest.raises(RunError, match="no luck"):
        sweep(tmp_path / "run", plan, chains=texts, model=tiny)
