"""The run folder as a reader sees it."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from reasoning_anatomy.errors import MissingError, ReasoningAnatomyError, RunError
from reasoning_anatomy.run.folder import Run, newest_run, open_run
from reasoning_anatomy.run.writer import begin_run
from reasoning_anatomy.types import RESULT_COLUMNS, AnalysisResult, Annotation, ReasoningChain, TokenScores

Make = Callable[..., Run]
IDS = ["NA", "001", "a/b", "😀", "null"]


@pytest.fixture
def chains() -> list[ReasoningChain]:
    return [
        ReasoningChain(
            chain_id=chain_id, question_id=f"0{number // 2}", question="Q?", answer="5",
            reasoning=f"Take {number} apples. Then add 2!\nSo 5",
        )
        for number, chain_id in enumerate(IDS)
    ]  # fmt: skip


@pytest.fixture
def run(tmp_path: Path, make_planted_run: Make, chains: list[ReasoningChain]) -> Run:
    return make_planted_run(tmp_path / "run", chains, keep=0.4)


def annotate(run: Run, name: str = "words", *, confidence: bool = True) -> dict[str, Annotation]:
    labels = {}
    for number, chain_id in enumerate(run.measured):
        n = run.encoded(chain_id).n_reasoning
        categories = tuple(f"{chain_id}{position}" for position in range(n))
        labels[chain_id] = Annotation(f"Annotator({name!r})", categories, np.linspace(0, 1, n) * number if confidence else None)
    run.write_annotations(name, labels)
    return labels


def test_a_folder_without_manifest_is_no_run(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "none"):
        with pytest.raises(RunError, match=r"is not a run folder \(no run\.json\); make one with: reasoning-anatomy run"):
            open_run(folder)


def test_a_run_opens_from_text_or_path(run: Run) -> None:
    assert open_run(str(run.folder)) == open_run(run.folder) == run
    assert open_run(run.folder).status().n_done == 5


def test_chains_come_in_the_order_of_the_input(run: Run, chains: list[ReasoningChain]) -> None:
    assert list(run.chains.values()) == chains
    assert run.measured == IDS
    shutil.rmtree(run.layout.chain("001"))
    assert run.measured == ["NA", "a/b", "😀", "null"]


@pytest.mark.parametrize(
    "read",
    [
        Run.measurement,
        Run.encoded,
        lambda run, chain_id: run.token_scores(chain_id, "answer_attention"),
        lambda run, chain_id: run.path(chain_id, "greedy"),
    ],
    ids=["measurement", "encoded", "token_scores", "path"],
)
def test_a_chain_that_the_run_does_not_have_is_named(run: Run, read: Callable[[Run, str], object]) -> None:
    with pytest.raises(RunError, match=r"run: has no chain 'zzz'$"):
        read(run, "zzz")


def test_a_chain_that_is_not_measured_is_named(run: Run) -> None:
    run.layout.encoded("001").unlink()
    for read in (run.measurement, run.encoded):
        with pytest.raises(RunError, match="nothing has been measured on chain '001' yet; run the same command again"):
            read("001")


def test_a_chain_is_measured_if_something_has_been_measured_on_it(run: Run) -> None:
    run.layout.artefact("NA", "score", "answer_attention").unlink()
    run.layout.artefact("001", "path", "greedy").unlink()
    for stage, label in (("score", "answer_attention"), ("path", "greedy")):
        run.layout.artefact("a/b", stage, label).unlink()
    run.layout.encoded("😀").unlink()
    assert run.measured == ["NA", "001", "null"]


def test_what_was_not_measured_is_none_and_what_was_not_asked_for_is_named(run: Run) -> None:
    run.layout.artefact("001", "score", "answer_attention").unlink()
    run.layout.artefact("001", "path", "greedy").unlink()
    assert run.token_scores("001", "answer_attention") is None
    assert run.missing_score("001", "answer_attention") is None
    assert run.path("001", "greedy") is None
    with pytest.raises(RunError, match=r"has no scorer 'nope'; it has answer_attention"):
        run.token_scores("001", "nope")
    with pytest.raises(RunError, match=r"has no strategy 'nope'; it has greedy"):
        run.path("001", "nope")


def test_a_measurement_is_all_that_is_there(run: Run) -> None:
    found = run.measurement("001")
    scores, path = run.token_scores("001", "answer_attention"), run.path("001", "greedy")
    assert scores is not None
    assert scores.profile is not None
    assert path is not None
    np.testing.assert_array_equal(found.encoded.reasoning_ids, run.encoded("001").reasoning_ids)
    np.testing.assert_array_equal(found.scores["answer_attention"], scores.score)
    np.testing.assert_array_equal(found.profiles["answer_attention"].received, scores.profile.received)
    np.testing.assert_array_equal(found.paths["greedy"].deleted, path.deleted)
    assert (list(found.scores), list(found.profiles), list(found.paths)) == (
        ["answer_attention"],
        ["answer_attention"],
        ["greedy"],
    )
    run.layout.artefact("001", "score", "answer_attention").unlink()
    run.layout.artefact("001", "path", "greedy").unlink()
    found = run.measurement("001")
    assert (found.scores, found.profiles, found.paths, found.missing_scores) == ({}, {}, {}, {})


def test_a_score_that_a_scorer_does_not_have_is_missing_with_its_reason(run: Run) -> None:
    run.layout.artefact("001", "score", "answer_attention").unlink()
    run.layout.missing_score("001", "answer_attention").write_text('{"reason": "the reasoning is one token"}')
    found = run.measurement("001")
    assert np.isnan(found.scores["answer_attention"]).tolist() == [True] * 10
    assert found.missing_scores == {"answer_attention": "the reasoning is one token"}
    assert run.missing_score("001", "answer_attention") == "the reasoning is one token"


def test_spans_are_read_without_attention_or_paths(run: Run) -> None:
    run.layout.artefact("001", "score", "answer_attention").write_bytes(b"broken")
    run.layout.artefact("001", "path", "greedy").write_bytes(b"broken")
    assert run.encoded("001").n_reasoning == 10
    with pytest.raises(RunError, match="cannot be read"):
        run.measurement("001")


def test_the_newest_run_is_the_one_written_last(tmp_path: Path, make_planted_run: Make, chains: list[ReasoningChain]) -> None:
    for age, name in enumerate(["c", "a", "b"]):
        folder = make_planted_run(tmp_path / "runs" / name, chains[:1]).folder
        os.utime(folder / "run.json", ns=(0, (10 - age) * 10**9))
    (tmp_path / "runs" / "no-run").mkdir()
    (tmp_path / "runs" / "file").write_text("")
    assert newest_run(tmp_path / "runs").folder == tmp_path / "runs" / "c"
    os.utime(tmp_path / "runs" / "b" / "run.json", ns=(0, 10**11))
    assert newest_run(str(tmp_path / "runs")).folder == tmp_path / "runs" / "b"


@pytest.mark.parametrize("exists", [True, False])
def test_a_folder_without_runs_says_how_to_make_one(tmp_path: Path, exists: bool) -> None:
    folder = tmp_path / "runs"
    if exists:
        folder.mkdir()
    with pytest.raises(RunError) as refused:
        newest_run(folder)
    assert (
        str(refused.value) == f"{folder}: holds no run; name one, or make one with: reasoning-anatomy demo --out {folder}/demo"
    )


def test_tokens_are_those_of_the_files_of_the_chains(run: Run, chains: list[ReasoningChain]) -> None:
    tokens = run.tokens()
    assert list(tokens.columns) == [
        "chain_id", "question_id", "position", "token_id", "text", "start", "end", "step_sentences", "score_answer_attention",
        "deletion_step_greedy",
    ]  # fmt: skip
    assert tokens["chain_id"].unique().tolist() == IDS
    for chain in chains:
        rows, measurement = tokens[tokens["chain_id"] == chain.chain_id], run.measurement(chain.chain_id)
        # the planted tokens are words and marks: Take 0 apples . Then add 2 ! So 5
        assert rows["text"].tolist() == ["Take", chain.reasoning[5], "apples", ".", "Then", "add", "2", "!", "So", "5"]
        assert rows["step_sentences"].tolist() == [0, 0, 0, 0, 1, 1, 1, 1, 2, 2]
        assert rows["position"].tolist() == list(range(10))
        assert [chain.reasoning[start:end] for start, end in zip(rows["start"], rows["end"], strict=True)] == rows[
            "text"
        ].tolist()
        assert rows["score_answer_attention"].tolist() == measurement.scores["answer_attention"].tolist()
        steps = rows["deletion_step_greedy"].astype("float64").to_numpy(na_value=np.nan)
        np.testing.assert_array_equal(steps, measurement.paths["greedy"].deletion_step)
        assert rows["deletion_step_greedy"].isna().sum() == 4  # 0.4 of 10 tokens are kept
    assert str(tokens["deletion_step_greedy"].dtype) == "Int64"


def test_columns_and_chains_of_the_tokens_are_those_of_the_whole_table(run: Run) -> None:
    annotate(run)
    run.write_token_roles({"001": pd.DataFrame({"role_numeric": pd.array([True] * 10, dtype="boolean")})})
    whole = run.tokens()
    assert run.token_columns == list(whole.columns)
    columns = ["category_words", "text", "role_numeric", "position"]
    pd.testing.assert_frame_equal(run.tokens(columns=columns), whole[columns])
    wanted = [IDS[3], IDS[1]]
    expected = whole[whole["chain_id"].isin(wanted)].reset_index(drop=True)
    pd.testing.assert_frame_equal(run.tokens(chains=wanted), expected)
    pd.testing.assert_frame_equal(run.tokens(chains=iter(wanted), columns=iter(columns)), expected[columns])
    assert run.tokens(columns=["end"], chains=[]).shape == (0, 1)
    assert run.tokens(columns=[]).shape == (len(whole), 0)


def test_only_the_files_with_wanted_columns_are_read(run: Run) -> None:
    annotate(run)
    path = run.folder / "annotations" / "words.parquet"
    content = bytearray(path.read_bytes())
    content[4:40] = bytes(36)  # the head stays, which says what columns there are
    path.write_bytes(content)
    assert run.tokens(columns=["chain_id", "score_answer_attention"]).notna().all(axis=None)
    with pytest.raises(RunError, match=r"words\.parquet: cannot be read"):
        run.tokens(columns=["category_words"])


def test_a_column_or_chain_that_is_not_there_is_refused(run: Run) -> None:
    with pytest.raises(MissingError) as refused:
        run.tokens(columns=["position", "score_surprisal"])
    assert str(refused.value) == (
        f"{run.folder}: its tokens have no column 'score_surprisal'; they have {', '.join(run.token_columns)}"
    )
    with pytest.raises(RunError, match="has no chain 'stranger'"):
        run.tokens(chains=["001", "stranger"])
    shown = open_run(run.folder, only=["greedy"])
    assert shown.token_columns == run.token_columns  # nothing of another kind is hidden


def test_steps_hold_mean_and_sum_of_their_tokens(run: Run, chains: list[ReasoningChain]) -> None:
    steps, tokens = run.steps(), run.tokens()
    assert list(steps.columns) == [
        "chain_id", "question_id", "step", "start", "end", "text", "n_tokens", "score_answer_attention_mean",
        "score_answer_attention_sum",
    ]  # fmt: skip
    assert steps["chain_id"].unique().tolist() == IDS
    for chain in chains:
        rows = steps[steps["chain_id"] == chain.chain_id]
        # Take 0 apples. Then add 2! So 5
        assert rows["text"].tolist() == [f"Take {chain.reasoning[5]} apples.", "Then add 2!", "So 5"]
        assert rows["step"].tolist() == [0, 1, 2]
        assert rows["n_tokens"].tolist() == [4, 4, 2]
        of_chain = tokens[tokens["chain_id"] == chain.chain_id]
        for how in ("mean", "sum"):
            expected = of_chain.groupby("step_sentences")["score_answer_attention"].agg(how)
            np.testing.assert_allclose(rows[f"score_answer_attention_{how}"], expected, rtol=1e-12)


def test_tokens_join_every_annotator(run: Run) -> None:
    before = run.tokens()
    words, other = annotate(run), annotate(run, "other", confidence=False)
    assert run.annotators == ["other", "words"]
    tokens = run.tokens()
    assert tokens[before.columns].equals(before)
    assert list(tokens.columns[len(before.columns) :]) == [
        "category_other", "confidence_other", "category_words", "confidence_words",
    ]  # fmt: skip
    for chain_id in IDS:
        rows = tokens[tokens["chain_id"] == chain_id]
        assert tuple(rows["category_words"]) == words[chain_id].category
        assert tuple(rows["category_other"]) == other[chain_id].category
        np.testing.assert_array_equal(rows["confidence_words"], words[chain_id].confidence)
        assert rows["confidence_other"].isna().all()


def test_labels_may_be_missing_justified_and_voted_on(run: Run) -> None:
    why = ("because", None, *["so"] * 8)
    category = ("WORD", None, *["OTHER"] * 8)
    run.write_annotations("a", {"001": Annotation("A()", category, justification=why, votes=np.arange(10))})
    tokens = run.tokens()
    rows = tokens[tokens["chain_id"] == "001"]
    assert list(tokens.columns[-4:]) == ["category_a", "confidence_a", "justification_a", "votes_a"]
    for name, expected in (("category_a", category), ("justification_a", why)):
        assert [None if missing else text for text, missing in zip(rows[name], rows[name].isna(), strict=True)] == list(
            expected
        )
    assert rows["votes_a"].tolist() == list(range(10))


@pytest.mark.parametrize("name", ["../a", "a/b", ".a", "", "a:b", "a" * 101])
def test_the_name_of_an_annotator_is_no_path(run: Run, name: str) -> None:
    with pytest.raises(RunError, match="cannot name a file and a column; use up to 100 letters"):
        run.write_annotations(name, {"001": Annotation("A()", ("WORD",) * 10)})
    assert run.annotators == []


def test_roles_of_tokens_are_joined(run: Run) -> None:
    before = run.tokens()
    run.write_token_roles({"001": pd.DataFrame({"role_numeric": pd.array([True, None, *[False] * 8], dtype="boolean")})})
    tokens = run.tokens()
    assert tokens[before.columns].equals(before)
    assert list(tokens.columns[len(before.columns) :]) == ["role_numeric"]
    assert tokens["role_numeric"].sum() == 1
    assert tokens["role_numeric"].notna().sum() == 9  # other chains have none
    (run.folder / "token_roles.parquet").write_bytes(b"broken")
    with pytest.raises(RunError, match=r"token_roles\.parquet: cannot be read .*; make it again with: "):
        run.tokens()


def test_chains_without_labels_keep_their_rows(run: Run) -> None:
    labels = annotate(run)
    run.write_annotations("words", {"001": labels["001"]})
    tokens = run.tokens()
    assert len(tokens) == 50
    assert tokens.loc[tokens["category_words"].notna(), "chain_id"].unique().tolist() == ["001"]


def test_the_annotator_says_how_it_was_configured(run: Run) -> None:
    annotate(run)
    assert run.annotator("words") == "Annotator('words')"
    assert open_run(run.folder).annotator("words") == "Annotator('words')"
    with pytest.raises(RunError) as refused:
        run.annotator("none")
    assert str(refused.value) == (
        f"{run.folder}: has no labels of annotator 'none'; "
        f"make them with: reasoning-anatomy annotate {run.folder} --annotator none"
    )


def test_paths_have_a_row_for_the_unpruned_chain_and_one_per_deletion(run: Run) -> None:
    paths = run.paths()
    assert list(paths.columns) == [
        "chain_id", "question_id", "strategy", "deletion_step", "position", "margin", "nll_answer", "nll_joint",
        "nll_reasoning",
    ]  # fmt: skip
    for chain_id in IDS:
        rows, path = paths[paths["chain_id"] == chain_id], run.path(chain_id, "greedy")
        assert path is not None
        assert rows["deletion_step"].tolist() == list(range(7))  # 6 of 10 tokens are deleted
        assert rows["position"].isna().tolist() == [True] + [False] * 6
        assert rows["position"].tolist()[1:] == path.deleted.tolist()
        assert rows["nll_answer"].tolist() == path.nll_answer.tolist()
        assert rows["margin"].isna().tolist() == [True] + [False] * 6
        assert set(rows["strategy"]) == {"greedy"}


@pytest.mark.parametrize(("name", "read"), [("tokens.parquet", Run.tokens), ("paths.parquet", Run.paths)])
def test_a_missing_table_says_what_to_do(run: Run, name: str, read: Callable[[Run], pd.DataFrame]) -> None:
    (run.folder / name).unlink()
    with pytest.raises(RunError) as refused:
        read(run)
    assert str(refused.value) == f"{run.folder / name}: does not exist, so the run is not finished; run the same command again"


@pytest.mark.parametrize("content", [b"", b"PAR1", b"no table", None])
@pytest.mark.parametrize(
    ("name", "remedy"),
    [
        ("tokens.parquet", "delete the file and run the same command again"),
        ("annotations/words.parquet", "make it again with: reasoning-anatomy annotate "),
    ],
)
def test_a_damaged_table_says_what_to_do(run: Run, name: str, remedy: str, content: bytes | None) -> None:
    annotate(run)
    path = run.folder / name
    path.write_bytes(path.read_bytes()[:-20] if content is None else content)
    with pytest.raises(RunError) as refused:
        run.tokens()
    message = str(refused.value)
    assert message.startswith(f"{path}: cannot be read (")
    assert remedy in message
    assert "\n" not in message


def test_a_run_without_its_chains_is_refused(run: Run) -> None:
    (run.folder / "chains.jsonl").unlink()
    with pytest.raises(ReasoningAnatomyError, match=r"chains\.jsonl: No such file"):
        _ = open_run(run.folder).chains


def result() -> AnalysisResult:
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"term": ["NA", "b", "c"], **{name: rng.standard_normal(3) * 1e-9 for name in RESULT_COLUMNS[1:]}})
    table.loc[1, "p_value"] = np.nan
    table = table.astype(dict.fromkeys(RESULT_COLUMNS[6:], "int64"))
    per_chain = pd.DataFrame(
        {"chain_id": IDS, "question_id": ["00", "01", "1e5", "007", "10"], "rho": rng.random(5), "n": range(5)}
    )
    return AnalysisResult(
        name="rank_correlation", table=table[list(RESULT_COLUMNS)], details={"per_chain": per_chain},
        exclusions={"constant_attention": 2}, warnings=("few questions · é",), config="RankCorrelation(draws=3)",
        provenance={"model": "m", "versions": {"numpy": "2"}, "revision": None},
    )  # fmt: skip


def test_a_result_comes_back_to_the_last_bit(run: Run) -> None:
    expected = result()
    assert run.write_analysis(expected) == run.folder / "analyses" / "rank_correlation"
    assert run.analyses == ["rank_correlation"]
    found = run.analysis("rank_correlation")
    pd.testing.assert_frame_equal(found.table, expected.table, check_exact=True)
    # ids that look like numbers or like missing values stay text
    pd.testing.assert_frame_equal(found.details["per_chain"], expected.details["per_chain"], check_exact=True)
    for name in ("name", "exclusions", "warnings", "config", "provenance"):
        assert getattr(found, name) == getattr(expected, name)


def test_a_result_that_is_written_again_is_the_same_bytes(run: Run) -> None:
    folder = run.write_analysis(result())
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert before.keys() == {"table.csv", "per_chain.csv", "result.json"}
    run.write_analysis(run.analysis("rank_correlation"))
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_a_result_that_is_not_there_says_how_to_make_it(run: Run) -> None:
    assert run.analyses == []
    with pytest.raises(RunError) as refused:
        run.analysis("rank_correlation")
    assert str(refused.value) == (
        f"{run.folder}: has no analysis 'rank_correlation'; make it with: python -m analyses.rank_correlation {run.folder}"
    )


@pytest.mark.parametrize(
    ("name", "content"), [("result.json", "{"), ("result.json", "{}"), ("table.csv", ""), ("table.csv", "a,b\n1,2\n")]
)
def test_a_damaged_result_says_how_to_make_it_again(run: Run, name: str, content: str) -> None:
    folder = run.write_analysis(result())
    (folder / name).write_text(content)
    with pytest.raises(
        RunError, match=r"rank_correlation: cannot be read \(.*\); make it again with: python -m analyses\.rank_corr"
    ):
        run.analysis("rank_correlation")


def test_a_reader_may_see_some_labels_only_and_nothing_is_removed(tmp_path: Path, make_planted_run: Make) -> None:
    chains = [ReasoningChain(chain_id="a", question_id="q", question="Q?", reasoning="one two three", answer="3")]
    run = make_planted_run(tmp_path / "run", chains)
    more = run.manifest.configuration.model_copy(update={"strategies": {"tail": "Tail()"}, "scorers": {"length": "Length()"}})
    with begin_run(run.folder, more, chains) as writer:
        writer.add_path("a", "tail", run.path("a", "greedy"))  # type: ignore[arg-type]
        writer.add_scores("a", "length", TokenScores(np.arange(3.0)))
    for name in ("words", "other"):
        annotate(run, name)
    seen = open_run(run.folder, only=["tail", "other"])
    assert list(seen.manifest.configuration.strategies) == ["tail"]
    assert list(seen.manifest.configuration.scorers) == ["answer_attention", "length"]  # of a kind that is not named, all
    assert seen.annotators == ["other"]
    names = [name for name in seen.tokens().columns if name.startswith(("score", "deletion", "category"))]
    assert names == ["score_answer_attention", "score_length", "deletion_step_tail", "category_other"]
    assert set(seen.paths()["strategy"]) == {"tail"}
    assert seen.strategy_named(None) == "tail"
    with pytest.raises(RunError, match="has no strategy 'greedy'; it has tail"):
        seen.strategy_named("greedy")
    assert {"deletion_step_greedy", "category_words"} <= set(open_run(run.folder).tokens().columns)


def test_a_name_that_a_reader_wants_to_see_must_be_there(run: Run) -> None:
    annotate(run)
    with pytest.raises(RunError) as refused:
        open_run(run.folder, only=["greedy", "nope"])
    message = "has no scorer, strategy, segmenter or annotator 'nope'; it has answer_attention, greedy, sentences, words"
    assert str(refused.value) == f"{run.folder}: {message}"


def test_a_result_is_older_than_a_run_that_has_grown(run: Run, chains: list[ReasoningChain]) -> None:
    assert not run.is_current("rank_correlation")
    run.write_analysis(result())
    assert run.is_current("rank_correlation")
    assert not open_run(run.folder, only=["greedy"]).is_current("rank_correlation")
    annotate(run)
    assert not run.is_current("rank_correlation")
    run.write_analysis(result())
    more = run.manifest.configuration.model_copy(update={"scorers": {"length": "Length()"}, "strategies": {}})
    with begin_run(run.folder, more, chains[:1]) as writer:
        writer.add_scores(chains[0].chain_id, "length", TokenScores(np.arange(10.0)))
    assert not open_run(run.folder).is_current("rank_correlation")
