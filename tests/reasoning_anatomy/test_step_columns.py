"""The steps of a run: one column for each segmenter, which can be added and never changes its meaning."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from reasoning_anatomy import plugins
from reasoning_anatomy.errors import MissingError, PluginError, RunError
from reasoning_anatomy.plugins import add_folder, load
from reasoning_anatomy.progress import Stages
from reasoning_anatomy.run.folder import Run, open_run
from reasoning_anatomy.run.manifest import Configuration
from reasoning_anatomy.run.writer import begin_run
from reasoning_anatomy.types import EncodedChain, ReasoningChain, TokenScores

SENTENCES = {"sentences": "Sentences(version=1)"}
PARAGRAPHS = {"paragraphs": "Paragraphs(least_characters=1, version=1)"}
GIVEN = {"given": "Given()"}
TEXT = "One. Two.\n\nC"
SPANS = [[0, 4], [4, 11], [11, 12]]  # "One." | " Two.\n\n" | "C"


def chain(chain_id: str, **changes: Any) -> ReasoningChain:
    return ReasoningChain(chain_id=chain_id, question_id="q", question="Q", reasoning=TEXT, answer="A", **changes)


CHAINS = [chain("a"), chain("b", step_starts=[5]), chain("c")]


class Heard(Stages):
    """Keeps what was said."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def say(self, text: str) -> None:
        self.lines.append(text)


def measure(folder: Path, segmenters: Mapping[str, str] | None = None, chains: list[ReasoningChain] = CHAINS) -> list[str]:
    """Write a run, or go on with it, and return what was said."""
    configuration, heard = Configuration(model=None, encoding="words", scorers={"s": "S()"}), Heard()
    if segmenters is not None:
        configuration = configuration.model_copy(update={"segmenters": segmenters})
    with begin_run(folder, configuration, chains, stages=heard) as writer:
        for chain_id in writer.missing([chain.chain_id for chain in chains]):
            writer.add_encoded(EncodedChain(writer.run.chains[chain_id], [1], [7, 8, 9], [2], SPANS))
            writer.add_scores(chain_id, "s", TokenScores(np.array([1.0, 2.0, 4.0])))
    return heard.lines


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def columns(run: Run) -> dict[str, list[Any]]:
    tokens = run.tokens()
    names = [name for name in tokens.columns if name.startswith("step_")]
    assert all(str(tokens[name].dtype) == "Int64" for name in names)
    return {name: tokens[name].astype("object").where(tokens[name].notna(), None).tolist() for name in names}


@pytest.fixture(autouse=True)
def _no_folders_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plugins, "_folders", {})


@pytest.fixture
def own(tmp_path: Path) -> Callable[[str], None]:
    """Add a segmenter of one's own, ``mine``, that returns an expression."""

    def add(expression: str, option: str = "x: int = 1") -> None:
        folder = tmp_path / "own"
        folder.mkdir(exist_ok=True)
        (folder / "mine.py").write_text(
            "from dataclasses import dataclass\nimport numpy as np\n\n\n@dataclass(frozen=True, kw_only=True)\n"
            f'class Mine:\n    """Steps of ones own."""\n\n    {option}\n\n'
            f"    def segment(self, chain, spans):\n        return {expression}\n"
        )
        add_folder(folder)

    return add


def test_a_run_has_the_steps_of_sentences_if_nothing_else_is_said(tmp_path: Path) -> None:
    assert measure(tmp_path) == []
    run = open_run(tmp_path)
    assert dict(run.manifest.configuration.segmenters) == SENTENCES == {"sentences": repr(load("segmenter", "sentences"))}
    assert columns(run) == {"step_sentences": [0, 1, 2] * 3}


def test_every_segmenter_of_a_run_has_a_column(tmp_path: Path) -> None:
    measure(tmp_path, PARAGRAPHS | SENTENCES)
    assert columns(open_run(tmp_path)) == {"step_paragraphs": [0, 0, 1] * 3, "step_sentences": [0, 1, 2] * 3}
    assert list(open_run(tmp_path).tokens().columns[7:]) == ["step_paragraphs", "step_sentences", "score_s"]


def test_a_run_without_segmenters_has_no_steps(tmp_path: Path) -> None:
    measure(tmp_path, {})
    assert columns(open_run(tmp_path)) == {}
    with pytest.raises(MissingError, match=r": has no segmenter; add one: reasoning-anatomy run .* --segmenters KEY$"):
        open_run(tmp_path).steps()


def test_a_segmenter_can_be_added_and_the_tables_are_made_again(tmp_path: Path) -> None:
    measure(tmp_path)
    before = files(tmp_path / "chains")
    measure(tmp_path, PARAGRAPHS)
    assert columns(open_run(tmp_path)) == {"step_sentences": [0, 1, 2] * 3, "step_paragraphs": [0, 0, 1] * 3}
    assert files(tmp_path / "chains") == before
    grown = files(tmp_path)
    measure(tmp_path, PARAGRAPHS)
    assert files(tmp_path) == grown
    measure(tmp_path / "at once", SENTENCES | PARAGRAPHS)
    assert (tmp_path / "at once" / "tokens.parquet").read_bytes() == grown["tokens.parquet"]


def test_options_are_in_the_label_and_the_column(tmp_path: Path) -> None:
    label = "paragraphs:least_characters=3"
    measure(tmp_path, {label: repr(load("segmenter", label))})
    assert columns(open_run(tmp_path)) == {f"step_{label}": [0, 0, 0] * 3}


def test_steps_of_each_segmenter_with_the_scores_of_their_tokens(tmp_path: Path) -> None:
    measure(tmp_path, SENTENCES | PARAGRAPHS)
    run = open_run(tmp_path)
    first = run.steps()
    assert (first["text"].tolist(), first["score_s_sum"].tolist()) == (["One.", " Two.\n\n", "C"] * 3, [1, 2, 4] * 3)
    assert run.steps("sentences").equals(first)
    second = run.steps("paragraphs")
    assert second["step"].tolist() == [0, 1] * 3
    assert second["step"].dtype == np.int64
    assert (second["text"].tolist(), second["n_tokens"].tolist()) == (["One. Two.\n\n", "C"] * 3, [2, 1] * 3)
    assert (second["score_s_sum"].tolist(), second["score_s_mean"].tolist()) == ([3, 4] * 3, [1.5, 4] * 3)
    with pytest.raises(MissingError, match="has no segmenter 'given'; it has paragraphs, sentences"):
        run.steps("given")


def test_readers_choose_the_segmenters_that_they_see(tmp_path: Path) -> None:
    measure(tmp_path, SENTENCES | PARAGRAPHS)
    seen = open_run(tmp_path, only=["paragraphs"])
    assert columns(seen) == {"step_paragraphs": [0, 0, 1] * 3}
    assert seen.segmenter_named(None) == "paragraphs"
    assert "score_s" in seen.tokens()


def test_a_chain_that_a_segmenter_refuses_has_missing_steps_and_the_reason_is_said_once(tmp_path: Path) -> None:
    said = measure(tmp_path, SENTENCES | GIVEN)
    reason = "has no 'step_starts'; list the characters where its steps begin, or name another segmenter"
    assert said == [f"No steps by given for 2 chains, such as a: {reason}"]
    run = open_run(tmp_path)
    assert columns(run) == {"step_sentences": [0, 1, 2] * 3, "step_given": [None] * 3 + [0, 1, 1] + [None] * 3}
    assert run.status().n_done == 3
    steps = run.steps("given")
    assert steps["chain_id"].tolist() == ["b", "b"]
    assert (steps["step"].tolist(), steps["score_s_sum"].tolist()) == ([0, 1], [1, 6])
    assert measure(tmp_path, SENTENCES | GIVEN) == []


def test_steps_that_no_chain_gives_are_an_empty_table(tmp_path: Path) -> None:
    measure(tmp_path, GIVEN, [chain("a")])
    run = open_run(tmp_path)
    assert columns(run) == {"step_given": [None] * 3}
    assert len(run.steps()) == 0
    assert {"step", "text", "score_s_mean"} <= set(run.steps().columns)


def test_a_record_of_a_former_version_names_no_segmenter_and_means_sentences(tmp_path: Path) -> None:
    measure(tmp_path)
    now = files(tmp_path)
    record = json.loads(now["run.json"])
    del record["configuration"]["segmenters"]
    (tmp_path / "run.json").write_text(json.dumps(record))
    former = pd.read_parquet(tmp_path / "tokens.parquet").rename(columns={"step_sentences": "step"})
    former.to_parquet(tmp_path / "tokens.parquet")
    run = open_run(tmp_path)
    assert dict(run.manifest.configuration.segmenters) == SENTENCES
    assert columns(run).keys() == set()
    with pytest.raises(MissingError, match="its tables have no steps by 'sentences' yet; run the same command again"):
        run.steps()
    measure(tmp_path)
    assert files(tmp_path)["tokens.parquet"] == now["tokens.parquet"]


def test_a_label_of_steps_never_changes_its_meaning(tmp_path: Path) -> None:
    measure(tmp_path)
    before = files(tmp_path)
    message = r"was measured with other options \(segmenter 'sentences', version: '1' in the run, '2' now\); use the same, or"
    with pytest.raises(RunError, match=message):
        measure(tmp_path, {"sentences": "Sentences(version=2)"})
    assert files(tmp_path) == before


def test_a_run_whose_steps_are_those_of_another_rule_is_not_mixed_with_those_of_today(tmp_path: Path) -> None:
    measure(tmp_path)
    record = tmp_path / "run.json"
    record.write_text(record.read_text().replace("Sentences(version=1)", "Sentences(version=0)"))
    before = files(tmp_path)
    with pytest.raises(RunError, match=r"version=0\) in the run, Sentences\(version=1\) now\); use another folder"):
        measure(tmp_path, PARAGRAPHS)
    assert files(tmp_path) == before


def test_a_run_with_steps_of_ones_own_needs_them_to_grow_and_not_to_be_read(tmp_path: Path, own: Callable[..., None]) -> None:
    own("np.arange(len(spans))")
    measure(tmp_path / "run", {"mine": "Mine(x=1)"})
    before = files(tmp_path / "run")
    plugins._folders.clear()
    assert columns(open_run(tmp_path / "run")) == {"step_mine": [0, 1, 2] * 3}
    with pytest.raises(RunError, match=r"has steps by 'mine', which cannot be made here \(unknown .*\); add --plugins FOLDER"):
        measure(tmp_path / "run", SENTENCES)
    assert files(tmp_path / "run") == before


@pytest.mark.parametrize(
    ("expression", "words"),
    [
        (
            "np.arange(len(spans) + 1)",
            r"gives int64 of shape \(4,\) for the 3 tokens of chain 'a'; it must give a whole number",
        ),
        ("np.linspace(0, 1, len(spans))", r"gives float64 of shape \(3,\) for the 3 tokens of chain 'a'; it must give a whole"),
        ("np.array([0, 2, 1])", "gives steps of chain 'a' that are negative or go backwards; number them from 0"),
        ("np.array([-1, 0, 1])", "gives steps of chain 'a' that are negative or go backwards; number them from 0"),
        ("1 / 0", r"fails on chain 'a' \(ZeroDivisionError: division by zero\); repair it"),
    ],
)
def test_a_segmenter_that_does_not_partition_the_tokens_is_named_and_measurements_stay(
    tmp_path: Path, own: Callable[..., None], expression: str, words: str
) -> None:
    own(expression)
    with pytest.raises(PluginError, match=f"^segmenter 'mine' {words}"):
        measure(tmp_path / "run", {"mine": "Mine(x=1)"})
    assert open_run(tmp_path / "run").status().n_done == 3
    assert not (tmp_path / "run" / "tokens.parquet").exists()


def test_a_list_of_steps_is_as_good_as_an_array(tmp_path: Path, own: Callable[..., None]) -> None:
    own("[0, 0, 3]")
    measure(tmp_path / "run", {"mine": "Mine(x=1)"})
    assert columns(open_run(tmp_path / "run")) == {"step_mine": [0, 0, 3] * 3}
