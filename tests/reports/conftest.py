"""Runs for the reports: planted numbers, a crude annotation, and what the analyses find in them."""

import dataclasses
import os
import re
import shutil

import numpy as np
import pytest

from analyses.deletion_by_category import DeletionByCategory
from analyses.distillation import Distillation
from analyses.rank_correlation import RankCorrelation
from reasoning_anatomy.plugins import load
from reasoning_anatomy.run import open_run
from reasoning_anatomy.run.evaluation_table import write_evaluations
from reasoning_anatomy.run.evaluations import Answer
from reasoning_anatomy.run.manifest import Condition
from reasoning_anatomy.run.selection import Kept
from reasoning_anatomy.run.students import Arm, Student
from reasoning_anatomy.run.sweep import SweepFolder
from reasoning_anatomy.run.writer import begin_run
from reasoning_anatomy.transcripts import EvictionEvent, EvictionTranscript
from reasoning_anatomy.types import Annotation, AttentionProfile, PathStages, ReasoningChain, TokenScores

FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip


def _missing(reason):
    if os.environ.get("REASONING_ANATOMY_REQUIRE_BROWSER") == "1":
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def browser():
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        _missing("playwright is not installed")
    path = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if path is None:
        _missing("there is no chromium, chromium-browser or google-chrome")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def open_any_page(browser):
    """Open a page; afterwards nothing may have gone wrong and nothing may have been asked for but where its links lead."""
    contexts, problems, requests, addresses = [], [], [], set()

    def make(where, *, leads_to=(), **options):
        context = browser.new_context(**options)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: problems.append(message.text) if message.type in {"error", "warning"} else None)
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("dialog", lambda dialog: (problems.append(f"dialog: {dialog.message}"), dialog.dismiss()))
        page.on("popup", lambda popup: problems.append(f"popup: {popup.url}"))
        context.on("request", lambda request: requests.append(request.url))
        page.goto(where)
        addresses.update(each.partition("#")[0] for each in (where, *leads_to))
        return page

    yield make
    for context in contexts:
        context.close()
    assert problems == []
    assert {url.partition("#")[0] for url in requests if not url.startswith("data:")} <= addresses


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
        for analysis in (RankCorrelation(draws=99, competitors=False), DeletionByCategory(draws=99)):
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


def add_annotation(run, name="crude", shift=0, swaps=0):
    """Label tokens in turn; ``swaps``: every so many tokens get the label of the next."""
    labels = {
        chain_id: Annotation(
            "Crude()",
            tuple(KEYS[(position + shift + (swaps > 0 and position % swaps == 0)) % 4] for position in range(len(rows))),
            np.full(len(rows), 0.75),
        )
        for chain_id, rows in run.tokens().groupby("chain_id", sort=False)
    }
    run.write_annotations(name, labels)


@pytest.fixture(scope="session")
def annotate():
    return add_annotation


GROUPS = (("step_percentile", ""), ("streaming", ""), ("random_steps", "step_percentile"), ("truncation", "step_percentile"))
"""Strategies of a sweep, each with the one whose length it has."""


@pytest.fixture(scope="session")
def add_sweep():
    """Add a sweep to a run, and open it again.

    What is kept begins where the strategy says and is as long as the threshold says; ``respond`` gives the response and the
    finish reason for a chain, a strategy, the share of the tokens that is kept, and a sample.
    """

    def add(run, respond, *, groups=GROUPS, thresholds=(0.0, 0.3, 0.6), readings=("closed_up",), samples=2):
        conditions = [
            Condition(
                strategy=strategy, reference=reference, threshold=threshold, reading=reading, samples=samples,
                plugins=(f"{strategy}()",),
            )
            for strategy, reference in groups
            for threshold in thresholds
            for reading in readings
        ]  # fmt: skip
        configuration = run.manifest.configuration.model_copy(
            update={
                "scorers": {}, "strategies": {}, "answering": "Answering(segmenter='sentences')",
                "conditions": {condition.label: condition for condition in conditions},
            }
        )  # fmt: skip
        with begin_run(run.folder, configuration, list(run.chains.values())) as writer:
            folder = SweepFolder(writer.run, configuration)
            for chain_id in run.measured:
                for condition in conditions:
                    _answer(folder, chain_id, condition, respond)
        run = open_run(run.folder)
        write_evaluations(run)
        return run

    return add


def _answer(folder, chain_id, condition, respond):
    n = folder.run.encoded(chain_id).n_reasoning
    n_kept = n - int(n * condition.threshold)
    first = {"step_percentile": n - n_kept, "streaming": (n - n_kept) // 2, "random_steps": 1}.get(condition.strategy, 0)
    kept = Kept(np.sort((first + np.arange(n_kept)) % n), n)
    folder.add_kept(chain_id, condition, kept)
    answers = []
    for sample in range(condition.samples):
        text, reason = respond(folder.run.chains[chain_id], condition.strategy, n_kept / n, sample)
        answers.append(Answer(sample, 7 + sample, text, len(text.split()), reason))
    folder.add_answers(chain_id, condition.reading, kept, answers)


@pytest.fixture(scope="session")
def swept_run(make_full_run, chains, add_sweep):
    """Write a run whose chains are answered right if half of them is left, and in sample 0."""

    def respond(chain, strategy, share, sample):
        return f"The answer is \\boxed{{{int(chain.gold_answer) + (share < 0.5 and sample)}}}", "eos"

    run = add_sweep(make_full_run(chains), respond)
    run.write_analysis(load("analysis", "threshold_comparison:draws=99").analyse(run))
    return run


@pytest.fixture(scope="session")
def add_transcripts():
    """Add transcripts to a run by chain_id, and open it again."""

    def add(run, transcripts):
        with begin_run(run.folder, run.manifest.configuration, list(run.chains.values())) as writer:
            for chain_id, transcript in transcripts.items():
                assert writer.add_transcript(chain_id, transcript)
        return open_run(run.folder)

    return add


@pytest.fixture(scope="session")
def transcript_of():
    """Make the transcript of a chain whose text is in thinking tags: one token a word, evicted two steps at a time."""

    def make(chain, *, policy="Scripted(budget=0.5)", reason="eos", rewritten=(8, 9)):
        text = f"<think>\n{chain.reasoning}\n</think>\n\n{chain.answer}<|im_end|>"
        ends = [match.end() for match in re.finditer(r"\S+\s*", text)]
        events = (
            EvictionEvent(6, (-2, 1, 2), 15, 12, (0, 1, 2, 4), (0.5, 0.125, 0.25, 0.75)),
            EvictionEvent(9, (4, 5), 15, 13, (0, 1, 2, 4, 6), (0.5, None, 0.25, 0.125, 1.0)),
        )
        return EvictionTranscript(
            policy=policy, n_prompt=10, n_written=len(ends), n_thinking=len(ends), text=text, token_ends=tuple(ends),
            finish_reason=reason,
            events=events, n_skipped=1, peak_tokens=21, peak_bytes=2_500_000, rewritten=rewritten,
        )  # fmt: skip

    return make


@pytest.fixture(scope="session")
def written_run(make_full_run, chains, add_transcripts, transcript_of):
    """Write a run of whose chains all but the second were written under a policy; the third is the same under another."""
    transcripts = {chain.chain_id: transcript_of(chain) for chain in chains if chain.chain_id != "chain-1"}
    transcripts["chain-2"] = transcript_of(chains[2], policy="Other()", reason="loop")
    return add_transcripts(make_full_run(chains), transcripts)


ANALYSES = (
    "annotator_agreement", "attention_sparsity", "category_survival", "deletion_by_category", "predict_likelihood",
    "rank_correlation", "strategy_comparison",
)  # fmt: skip
STAGES, SPARSITY = "candidate_nll", "attention_sparsity"


@pytest.fixture(scope="session")
def analysed_run(make_planted_run, add_paths, tmp_path_factory):
    """Write a run that every analysis of chains finds something in, with their results: 8 questions, 16 chains.

    Every question has a right and a wrong chain. Wrong chains attend more sparsely; the likelihood after a deletion follows the
    attention of one head; ``random_tokens`` and ``truncation`` lose more than ``greedy``; a second annotator
    calls some tokens something else.
    """
    run = make_planted_run(tmp_path_factory.mktemp("analysed"), _pairs(8), strength=0.5, keep=0.2)
    rng = np.random.default_rng(0)
    _add_scores(run, rng)
    add_annotation(run)
    add_annotation(run, "other", swaps=3)
    for worse, strategy in enumerate(("random_tokens", "truncation"), start=1):
        paths = {chain_id: run.path(chain_id, "greedy") for chain_id in run.measured}
        run = add_paths(run, strategy, {chain_id: _losing_more(path, worse, rng) for chain_id, path in paths.items()})
    for name in ANALYSES:
        run.write_analysis(load("analysis", f"{name}:draws=99").analyse(run))
    return run


def _pairs(n_questions):
    words = "so 3 apples are more than 2 and we add them all up to see what is left of it now"
    return [
        ReasoningChain(
            chain_id=f"q{question}-{kind}", question_id=f"q{question}", question=f"How many in {question}?",
            reasoning=f"{words} " + "again " * (question + 3 * (kind == "wrong")), answer="5", is_correct=kind == "right",
        )
        for question in range(n_questions)
        for kind in ("right", "wrong")
    ]  # fmt: skip


def _add_scores(run, rng):
    scorers = {SPARSITY: "AttentionSparsity()", STAGES: "CandidateNll()", "recency": "Recency()"}
    more = run.manifest.configuration.model_copy(update={"scorers": scorers, "strategies": {}})
    with begin_run(run.folder, more, list(run.chains.values())) as writer:
        for chain_id, chain in run.chains.items():
            n = run.encoded(chain_id).n_reasoning
            received = rng.normal(0.4 if chain.is_correct else 0.45, 0.02, (2, 3, n)).astype(np.float32)
            profile = AttentionProfile(SPARSITY, received, "itself", "none", full_precision=True)
            writer.add_scores(chain_id, SPARSITY, TokenScores(received.mean(axis=(0, 1), dtype=np.float64), profile))
            stages = _stages(n, rng)
            writer.add_scores(chain_id, STAGES, TokenScores(np.nan_to_num(stages.nll[0]), stages=stages))
            writer.add_scores(chain_id, "recency", TokenScores(np.arange(n, dtype=np.float64)))


def _stages(n, rng):
    """Two stages of a chain: before the first deletion, and when seven tenths are left."""
    is_left = np.ones((2, n), dtype=bool)
    is_left[1, rng.permutation(n)[: n - int(0.7 * n)]] = False
    attention = rng.normal(-5, 1, (2, 3, 2, n))
    nll = rng.normal(1, 0.5) + 0.2 * attention[:, 1, 0] + 0.1 * rng.normal(size=(2, n))
    received = np.where(is_left[:, None, None], np.exp(attention), np.nan).astype(np.float32)
    return PathStages(np.array([1.0, 0.7]), is_left.mean(axis=1), np.where(is_left, nll, np.nan), received)


def _losing_more(path, worse, rng):
    """The same number of deletions in another order, after each of which more is lost."""
    nll = path.nll_answer + worse * np.linspace(0, 1, len(path.nll_answer)) * rng.uniform(0.5, 1.5)
    order = rng.permutation(path.deleted)
    return dataclasses.replace(path, strategy="S()", deleted=order, nll_answer=nll, nll_joint=nll, nll_reasoning=nll)


@pytest.fixture(scope="session")
def taught_students(make_students, tmp_path_factory):
    """Students of two strategies at two keep ratios, of whole chains and of answers, two of each, and what was found."""
    rng = np.random.default_rng(0)
    arms = {
        ("full", 1.0): (0.7, 60), ("answer_only", 0.0): (0.3, 6), ("greedy", 0.7): (0.65, 44), ("greedy", 0.9): (0.7, 54),
        ("random_tokens", 0.7): (0.4, 48), ("random_tokens", 0.9): (0.6, 56),
    }  # fmt: skip
    answers = {Student(arm=Arm(strategy="untrained", keep_ratio=0.0)): {f"q{place}": ("w", 70) for place in range(30)}}
    for seed in range(2):
        for (strategy, ratio), (share, length) in arms.items():
            answers[Student(arm=Arm(strategy=strategy, keep_ratio=ratio), seed=seed)] = {
                f"q{place}": ("c" if value < share else "w", length + place % 5) for place, value in enumerate(rng.random(30))
            }
    students = make_students(tmp_path_factory.mktemp("students"), answers)
    students.write_analysis(Distillation().analyse(students))
    return students
