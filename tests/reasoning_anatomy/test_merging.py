"""Runs that were measured apart become the run that measuring all at once makes, or are refused."""

import hashlib
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from annotations import annotate_run
from reasoning_anatomy.errors import RunError
from reasoning_anatomy.run import Run, merge_runs, open_run
from reasoning_anatomy.run.evaluations import Answer
from reasoning_anatomy.run.manifest import Condition, Configuration, write_manifest
from reasoning_anatomy.run.selection import Kept
from reasoning_anatomy.run.sweep import SweepFolder
from reasoning_anatomy.run.writer import begin_run
from reasoning_anatomy.run.written import WrittenText
from reasoning_anatomy.transcripts import EvictionTranscript
from reasoning_anatomy.types import Annotation, EncodedChain, Fit, PruningPath, ReasoningChain, TokenScores
from reasoning_anatomy.unusable import Unusable

Call = Callable[..., Any]
SCORERS = {"s": "S()"}
STRATEGIES = {"g": "G(keep_ratio=0.5)"}


def chain(number: int, **fields: Any) -> ReasoningChain:
    given = {"chain_id": f"c{number}", "question_id": f"q{number}", "question": "Q", "reasoning": "x y", "answer": "A"}
    return ReasoningChain(**given | fields)


def made(
    folder: Path,
    numbers: range,
    *,
    scorers: dict[str, str] | None = None,
    strategies: dict[str, str] | None = None,
    changed: float = 0,
    **fields: Any,
) -> Run:
    """Make a run of chains whose scores and paths follow from their numbers."""
    configuration = Configuration(
        model=None,
        encoding="words",
        scorers=SCORERS if scorers is None else scorers,
        strategies=STRATEGIES if strategies is None else strategies,
    )
    with begin_run(folder, configuration, [chain(number, **fields) for number in numbers]) as writer:
        for number in numbers:
            writer.add_encoded(EncodedChain(writer.run.chains[f"c{number}"], [1], [7, 8], [2], [[0, 1], [2, 3]]))
            for label in configuration.scorers:
                writer.add_scores(f"c{number}", label, TokenScores(np.array([number, changed])))
            for label in configuration.strategies:
                writer.add_path(f"c{number}", label, PruningPath("G()", 2, [1], [number + changed], 0, *np.ones((3, 2))))
    return open_run(folder)


def results(folder: Path) -> dict[str, bytes]:
    """Bytes of every file but the record, which has times, and what is in hidden files."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name != "run.json" and not any(part.startswith(".") for part in path.parts)
    }


def digest(folder: Path) -> str:
    content = {path.as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}
    return hashlib.sha256(repr(content).encode()).hexdigest()


def test_halves_become_the_run_of_all_chains(tmp_path: Path) -> None:
    halves = [made(tmp_path / "a", range(3)), made(tmp_path / "b", range(3, 6))]
    before = [digest(run.folder) for run in halves]
    merged = merge_runs([run.folder for run in halves], out=tmp_path / "merged")
    whole = made(tmp_path / "whole", range(6))
    assert results(merged.folder) == results(whole.folder)
    assert merged.manifest.configuration == whole.manifest.configuration
    assert merged.status() == whole.status()
    assert [digest(run.folder) for run in halves] == before
    assert merge_runs([run.folder for run in halves], out=tmp_path / "merged") == merged


def test_labels_that_were_measured_apart_become_the_run_of_all_labels(tmp_path: Path) -> None:
    made(tmp_path / "a", range(3), strategies={})
    made(tmp_path / "b", range(3), scorers={})
    made(tmp_path / "c", range(1, 4))
    merged = merge_runs([tmp_path / name for name in "abc"], out=tmp_path / "merged")
    whole = made(tmp_path / "whole", range(4))
    assert results(merged.folder) == results(whole.folder)


def test_a_run_is_added_to_an_existing_one(tmp_path: Path) -> None:
    made(tmp_path / "a", range(3))
    made(tmp_path / "b", range(3, 6))
    merge_runs([tmp_path / "b"], out=tmp_path / "a")
    assert results(tmp_path / "a") == results(made(tmp_path / "whole", range(6)).folder)


@pytest.mark.parametrize("runs", [[], ["a"], ["a", "a"]])
def test_one_run_alone_is_nothing_to_merge(tmp_path: Path, runs: list[str]) -> None:
    made(tmp_path / "a", range(1))
    with pytest.raises(RunError, match="there is nothing to merge: name two runs or more"):
        merge_runs([tmp_path / name for name in runs], out=tmp_path / "out")


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (
            {"strategies": {"g": "G(keep_ratio=0.7)"}},
            "B: was measured with other options: strategy 'g', keep_ratio: '0.5' in A, '0.7' in B; ",
        ),
        ({"changed": 1.0}, "chain 'c2' has other scores by 's' than in A; different numbers under one label"),
        ({"changed": 1.0, "scorers": {}}, "chain 'c2' has other deletions by 'g' than in A; different numbers under one label"),
        ({"reasoning": "x z"}, "A: chain 'c2' has another 'reasoning' in the run ('x y') than now ('x z')"),
        ({"gold_answer": "6"}, "B: the gold_answer of chain 'c2' is '6', and '5' in A; correct it in one of them"),
        ({"source": {"t": 1.0}}, "B: the source.t of chain 'c2' is 1.0, and 0.5 in A"),
    ],
)  # fmt: skip
def test_what_contradicts_itself_is_refused_and_nothing_is_written(tmp_path: Path, other: dict[str, Any], message: str) -> None:
    made(tmp_path / "a", range(3), gold_answer="5", source={"t": 0.5})
    made(tmp_path / "b", range(2, 4), **{"gold_answer": "5", "source": {"t": 0.5}} | other)
    with pytest.raises(RunError) as refused:
        merge_runs([tmp_path / "a", tmp_path / "b"], out=tmp_path / "merged")
    said = str(refused.value).replace(str(tmp_path / "a"), "A").replace(str(tmp_path / "b"), "B")
    assert message in said
    assert "\n" not in said
    assert not (tmp_path / "merged").exists()


def test_models_that_differ_are_refused_by_what_differs(tmp_path: Path, make_planted_run: Callable[..., Run]) -> None:
    runs = [make_planted_run(tmp_path / name, [chain(number)]) for number, name in enumerate("ab")]
    manifest = runs[1].manifest

    def held(**changes: str) -> None:
        assert manifest.configuration.model is not None
        model = manifest.configuration.model.model_copy(update=changes)
        configuration = manifest.configuration.model_copy(update={"model": model})
        write_manifest(runs[1].folder, manifest.model_copy(update={"configuration": configuration}))

    held(id="another/place")
    merged = merge_runs([run.folder for run in runs], out=tmp_path / "merged")
    assert merged.manifest.configuration.model == runs[0].manifest.configuration.model
    held(dtype="bfloat16")
    with pytest.raises(RunError, match=r"options: model.dtype: 'float32' in .*a, 'bfloat16' in .*b; "):
        merge_runs([run.folder for run in runs], out=tmp_path / "none")


def test_what_is_unknown_in_one_run_is_taken_from_the_other(tmp_path: Path) -> None:
    made(tmp_path / "a", range(2))
    made(tmp_path / "b", range(2), gold_answer="5", source={"teacher": "t"})
    merged = merge_runs([tmp_path / "a", tmp_path / "b"], out=tmp_path / "merged")
    assert [each.gold_answer for each in merged.chains.values()] == ["5", "5"]
    assert merged.chains["c0"].source == {"teacher": "t"}


def test_failures_and_beginnings_are_kept_until_one_run_has_the_path(tmp_path: Path) -> None:
    begun = {"a": [1, 0], "b": [1, 0, 2]}
    for name, numbers in (("a", range(2)), ("b", range(3))):
        run = made(tmp_path / name, numbers, strategies={})
        configuration = run.manifest.configuration.model_copy(update={"strategies": STRATEGIES})
        with begin_run(run.folder, configuration, list(run.chains.values())) as writer:
            n = len(begun[name])
            writer.add_begun_path("c0", "g", PruningPath("G()", 4, begun[name], np.ones(n), 0, *np.ones((3, n + 1))))
            writer.add_failure("c1", "path", "g", f"no memory in {name}")
            if name == "b":
                writer.add_failure("c2", "path", "g", "no memory")
    done = made(tmp_path / "c", range(2, 3), scorers={})
    merged = merge_runs([tmp_path / name for name in "abc"], out=tmp_path / "merged")
    assert merged.status().failed == {"c1": {"strategy g": "no memory in a"}}
    assert done.path("c2", "g") is not None
    assert not merged.layout.failure("c2", "path", "g").exists()
    with begin_run(merged.folder, merged.manifest.configuration, list(merged.chains.values())) as writer:
        path = writer.begun_path("c0", "g")
        assert path is not None
        assert path.deleted.tolist() == [1, 0, 2]


def test_reasons_for_no_score_are_artefacts(tmp_path: Path) -> None:
    made(tmp_path / "a", range(2))
    run = made(tmp_path / "b", range(2, 3))
    run.layout.artefact("c2", "score", "s").unlink()
    with begin_run(run.folder, run.manifest.configuration, list(run.chains.values())) as writer:
        writer.add_missing_score("c2", "s", "has one step")
    merged = merge_runs([tmp_path / "a", tmp_path / "b"], out=tmp_path / "merged")
    assert merged.status().missing_scores == {"s": {"c2": "has one step"}}
    made(tmp_path / "c", range(2, 3))
    with pytest.raises(RunError, match=r"b: chain 'c2' has no score by 's' for a reason, other than in .*c; "):
        merge_runs([tmp_path / name for name in "abc"], out=tmp_path / "none")


def test_labels_and_roles_of_tokens_are_those_of_the_run_of_all_chains(tmp_path: Path) -> None:
    for name, numbers in (("a", range(2)), ("b", range(2, 4)), ("c", range(1, 3))):
        annotate_run(made(tmp_path / name, numbers), annotator="rules:model=blank")
    merged = merge_runs([tmp_path / name for name in "abc"], out=tmp_path / "merged")
    whole = made(tmp_path / "whole", range(4))
    annotate_run(whole, annotator="rules:model=blank")
    assert results(merged.folder) == results(whole.folder)
    assert merged.annotator("rules-model-blank") == whole.annotator("rules-model-blank")


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (Annotation("B()", ("X", "Y")), "the labels of 'a' are by B(), and by A() in A; label one of the runs again"),
        (Annotation("A()", ("X", "Z")), "chain 'c1' has other labels of 'a' than in A; different numbers under one label"),
    ],
)
def test_labels_that_differ_are_refused(tmp_path: Path, labels: Annotation, message: str) -> None:
    for name, numbers, given in (("a", range(2), Annotation("A()", ("X", "Y"))), ("b", range(1, 3), labels)):
        run = made(tmp_path / name, numbers)
        run.write_annotations("a", dict.fromkeys(run.chains, given))
    with pytest.raises(RunError) as refused:
        merge_runs([tmp_path / "a", tmp_path / "b"], out=tmp_path / "merged")
    assert message in str(refused.value).replace(str(tmp_path / "a"), "A")


def test_what_was_left_out_and_verified_is_kept(tmp_path: Path) -> None:
    for name, numbers, value in (("a", range(2), 0.1), ("b", range(2, 4), 0.3)):
        run = made(tmp_path / name, numbers)
        with begin_run(run.folder, run.manifest.configuration, list(run.chains.values())) as writer:
            writer.add_checks({"check": value})
            writer.add_unusable([Unusable("f", 1, "c3" if name == "a" else "c9", "too long", "c is too long")])
    merged = merge_runs([tmp_path / "a", tmp_path / "b"], out=tmp_path / "merged")
    assert merged.manifest.checks == {"check": 0.3}
    assert [each.chain_id for each in merged.unusable] == ["c9"]  # the other run has c3
    assert merged.manifest.versions == open_run(tmp_path / "a").manifest.versions


def test_a_scorer_that_looked_at_all_chains_is_refused_or_left_out(tmp_path: Path) -> None:
    for number, name in enumerate("ab"):
        configuration = Configuration(model=None, encoding="words", scorers=SCORERS | {"f": "F()"}, strategies={})
        numbers = range(2 * number, 2 * number + 2)
        with begin_run(tmp_path / name, configuration, [chain(each) for each in numbers]) as writer:
            writer.add_fit("f", Fit({"q": np.full((1, 1), float(number))}, 2, {}), [f"c{each}" for each in numbers])
            for each in numbers:
                writer.add_encoded(EncodedChain(writer.run.chains[f"c{each}"], [1], [7, 8], [2], [[0, 1], [2, 3]]))
                for label in "sf":
                    writer.add_scores(f"c{each}", label, TokenScores(np.array([each, 0.0])))
    runs = [tmp_path / "a", tmp_path / "b"]
    with pytest.raises(RunError, match=r"scorer 'f' looked at all chains .*: --without f$"):
        merge_runs(runs, out=tmp_path / "merged")
    assert not (tmp_path / "merged").exists()
    merged = merge_runs(runs, out=tmp_path / "merged", without=["f"])
    assert results(merged.folder) == results(made(tmp_path / "whole", range(4), strategies={}).folder)
    with pytest.raises(RunError, match="no run has a scorer 'x' that could be left out"):
        merge_runs(runs, out=tmp_path / "merged", without=["x"])
    alone = merge_runs([tmp_path / "a", made(tmp_path / "c", range(4, 5), strategies={}).folder], out=tmp_path / "alone")
    assert alone.fit("f") is not None  # nobody else has scores that were made with another


def test_a_merge_that_was_killed_is_completed(tmp_path: Path) -> None:
    for name, numbers in (("a", range(4)), ("b", range(4, 8))):
        made(tmp_path / name, numbers)
    script = (
        "import os, signal, sys\n"
        "from reasoning_anatomy.run.merging import copies, merge_runs\n"
        "make, left = copies.Copy.make, [int(sys.argv[4])]\n"
        "def killed(copy):\n"
        "    if not left[0]: os.kill(os.getpid(), signal.SIGKILL)\n"
        "    left[0] -= 1\n"
        "    make(copy)\n"
        "copies.Copy.make = killed\n"
        "merge_runs(sys.argv[1:3], out=sys.argv[3])"
    )
    for n_copies in (0, 9):
        command = [sys.executable, "-c", script, *map(str, (tmp_path / "a", tmp_path / "b", tmp_path / "merged", n_copies))]
        assert subprocess.run(command, check=False, timeout=300).returncode == -signal.SIGKILL
        assert not (tmp_path / "merged" / "tokens.parquet").exists()
        assert open_run(tmp_path / "merged").status().n_left > 0
    merged = merge_runs([tmp_path / "a", tmp_path / "b"], out=tmp_path / "merged")
    assert results(merged.folder) == results(made(tmp_path / "whole", range(8)).folder)


def test_the_command_merges_and_says_what_there_is(call: Call, tmp_path: Path) -> None:
    for name, numbers in (("a", range(2)), ("b", range(2, 4))):
        made(tmp_path / name, numbers)
    done = call("merge", "a", "b", "--out", "merged")
    assert done.code == 0
    assert done.out.splitlines()[0] == "4 of 4 chains are measured in merged"
    made(tmp_path / "c", range(1, 3), changed=1.0)
    done = call("merge", "a", "c", "--out", "none")
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith("error: c: chain 'c1' has other scores by 's' than in a; ")
    assert not (tmp_path / "none").exists()


@pytest.mark.slow
def test_halves_that_a_model_measured_and_answered_become_the_run_of_all(
    tiny_model_folder: Path, example_chains: list[ReasoningChain], tmp_path: Path
) -> None:
    from reasoning_anatomy.evaluation import Answering, SweepPlan, sweep
    from reasoning_anatomy.generation.completion import Sampling
    from reasoning_anatomy.models.loading import load_model
    from reasoning_anatomy.pipeline.measuring import measure

    tiny = load_model(str(tiny_model_folder))
    answering = Answering(sampling=Sampling(temperature=1.0, max_tokens=3))
    plan = SweepPlan(strategies=("random_steps",), baselines=(), thresholds=(0.5,))

    def measured(name: str, chains: list[ReasoningChain]) -> Path:
        measure(
            chains, out=tmp_path / name, model=tiny, scorers=["answer_attention", "surprisal"], strategies=["random_tokens"],
            workers=1,
        )  # fmt: skip
        sweep(tmp_path / name, plan, model=tiny, answering=answering)
        return tmp_path / name

    texts = [each.model_copy(update={"reasoning": each.reasoning[:90]}) for each in example_chains[:3]]
    halves = [measured("a", texts[:2]), measured("b", texts[2:])]
    merged, whole = merge_runs(halves, out=tmp_path / "merged"), measured("whole", texts)
    for name in ("chains.jsonl", "tokens.parquet", "paths.parquet"):
        assert (merged.folder / name).read_bytes() == (whole / name).read_bytes()
    found, expected = (pd.read_parquet(folder / "evaluations.parquet") for folder in (merged.folder, whole))
    pd.testing.assert_frame_equal(found.drop(columns="nll_gold"), expected.drop(columns="nll_gold"), check_exact=True)
    pd.testing.assert_series_equal(found["nll_gold"], expected["nll_gold"], atol=1e-5, rtol=0)


def test_texts_that_were_written_on_a_question_go_to_the_first_chain_of_it(tmp_path: Path) -> None:
    policy = "Streaming()"
    condition = Condition(strategy="streaming", threshold=0.5, reading="live", samples=1, plugins=(policy,))

    def written(name: str, chain_id: str, text: str) -> Path:
        chains = [chain(0, chain_id=chain_id, question_id="q", reasoning="x y")]
        configuration = Configuration(
            model=None, encoding="words", answering="A()", writing="W()", conditions={condition.label: condition}
        )
        with begin_run(tmp_path / name, configuration, chains) as writer:
            writer.add_encoded(EncodedChain(chains[0], [1], [7, 8], [2], [[0, 1], [2, 3]]))
            transcript = EvictionTranscript(policy, 1, 1, 1, text, (1,), "eos", (), 0, 2, 8, ())
            texts = WrittenText(Answer(0, 0, text, 1, "eos"), transcript, thinking_opened=False)
            SweepFolder(writer.run, configuration).add_text(chain_id, policy, texts)
        return tmp_path / name

    without = tmp_path / "a"
    with begin_run(
        without, Configuration(model=None, encoding="words"), [chain(0, chain_id="first", question_id="q")]
    ) as writer:
        writer.add_encoded(EncodedChain(writer.run.chains["first"], [1], [7, 8], [2], [[0, 1], [2, 3]]))
    merged = merge_runs([without, written("b", "second", "7")], out=tmp_path / "merged")
    assert merged.evaluations()[["chain_id", "response"]].to_numpy().tolist() == [["first", "7"]]
    alone = written("c", "first", "7")
    names = [path.name for path in merged.layout.evaluations("first").iterdir()]
    assert names == [path.name for path in (alone / "evaluations").glob("*/*")]
    assert (merged.layout.evaluations("first") / names[0]).read_bytes() == next(
        (alone / "evaluations").glob("*/*")
    ).read_bytes()
    assert merge_runs([merged.folder, tmp_path / "b", alone], out=tmp_path / "again").evaluations()["response"].tolist() == [
        "7"
    ]
    with pytest.raises(RunError, match=r"d: question 'q' has another text written-.*json than in .*merged; different numbers"):
        merge_runs([merged.folder, written("d", "third", "8")], out=tmp_path / "none")


def test_answers_are_taken_from_the_run_that_has_most(tmp_path: Path) -> None:
    def swept(name: str, texts: list[str]) -> Path:
        run = made(tmp_path / name, range(1))
        condition = Condition(strategy="r", threshold=0.5, samples=len(texts), plugins=("R()",))
        configuration = run.manifest.configuration.model_copy(
            update={"answering": "Answering(segmenter='sentences')", "conditions": {condition.label: condition}}
        )
        with begin_run(run.folder, configuration, list(run.chains.values())) as writer:
            folder, kept = SweepFolder(writer.run, configuration), Kept(np.array([0]), 2)
            folder.add_kept("c0", condition, kept)
            folder.add_answers("c0", "closed_up", kept, [Answer(n, n, text, 1, "eos") for n, text in enumerate(texts)])
        return run.folder

    few, many, other = swept("few", ["7"]), swept("many", ["7", "8"]), swept("other", ["9"])
    merged = merge_runs([few, many], out=tmp_path / "merged")
    assert merged.evaluations()["response"].tolist() == ["7", "8"]
    assert merge_runs([many], out=few).evaluations()["response"].tolist() == ["7", "8"]
    with pytest.raises(RunError) as refused:
        merge_runs([many, other], out=tmp_path / "none")
    assert str(refused.value).startswith(
        f"{other}: chain 'c0' has other answers from r at 0.5, closed_up than in {many}; different numbers under one label"
    )
    assert [each.samples for each in merged.manifest.configuration.conditions.values()] == [2]
