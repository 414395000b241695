"""The analysis of sparsity, from run folder to result."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from analyses._attention_sparsity.evidence import RECOMMENDED
from analyses._attention_sparsity.tables import ALL, ALL_RAW, EFFECT, EFFECT_RAW, GIVEN_LENGTH, LOG_LENGTH, RAW, SLOPE
from analyses._attention_sparsity.words import finding
from analyses.attention_sparsity import AttentionSparsity
from reasoning_anatomy.errors import AnalysisError, MissingError
from reasoning_anatomy.run.folder import Run, open_run
from reasoning_anatomy.run.manifest import Configuration
from reasoning_anatomy.run.writer import begin_run
from reasoning_anatomy.types import RESULT_COLUMNS, AnalysisResult, AttentionProfile, EncodedChain, ReasoningChain, TokenScores

FAST = AttentionSparsity(draws=999)
TERMS = [RAW, GIVEN_LENGTH, EFFECT_RAW, EFFECT, ALL_RAW, ALL]
ENTROPY, GINI = "attention_sparsity", "attention_sparsity:measure=gini"
NAN = float("nan")
Row = tuple[str, bool | None, np.ndarray | None]


def write(folder: Path, content: Sequence[Row], labels: Sequence[str] = (ENTROPY,)) -> Run:
    """Write a run from ``(question_id, is_correct, profile)`` per chain; every label has the profile, None = not measured."""
    chains = [
        ReasoningChain(
            chain_id=f"c{number}", question_id=question, question=f"Q of {question}", reasoning="text", answer="A",
            is_correct=is_correct,
        )
        for number, (question, is_correct, _) in enumerate(content)
    ]  # fmt: skip
    scorers = {name: f"{name}()" for name in (*labels, "recency")}
    with begin_run(folder, Configuration(model=None, encoding="ids", scorers=scorers, strategies={}), chains) as writer:
        for chain, (_, _, received) in zip(chains, content, strict=True):
            if received is not None:
                n = received.shape[-1]
                spans = np.stack([np.arange(n), np.arange(n) + 1], axis=1)
                writer.add_encoded(EncodedChain(chain, np.array([1]), np.arange(n), np.array([2]), spans))
                writer.add_scores(chain.chain_id, "recency", TokenScores(np.arange(n, dtype=np.float64)))
                for power, name in enumerate(labels, start=1):
                    attends = ~np.isnan(received).all(axis=(1, 2))
                    profile = AttentionProfile("attention_sparsity", received**power, "itself", "none", full_precision=True)
                    scores = TokenScores((received[attends] ** power).mean(axis=(0, 1), dtype=np.float64), profile)
                    writer.add_scores(chain.chain_id, name, scores)
    return open_run(folder)


def content(n_questions: int, *, effect: float, slope: float = 0.0, longer: float = 1.5, seed: int = 0) -> list[Row]:
    """Three correct and three wrong chains on every question; the wrong ones are longer, and have another level."""
    rng, rows = np.random.default_rng(seed), []
    for number in range(n_questions):
        level = rng.normal(0.5, 0.05)
        for chain in range(6):
            is_correct = chain % 2 == 0
            n = int(rng.integers(20, 40) * (1 if is_correct else longer))
            mean = level + effect * (not is_correct) + slope * np.log(n) + rng.normal(0, 0.005)
            rows.append((f"q{number}", is_correct, rng.normal(mean, 0.001, (2, 3, n)).astype(np.float32)))
    return rows


def row(result: AnalysisResult, term: str, scorer: str = ENTROPY) -> pd.Series:
    return result.table.set_index(["scorer", "term"]).loc[(scorer, term)]


def test_sparser_wrong_chains_are_found_and_every_number_agrees_with_pandas(tmp_path: Path) -> None:
    run = write(tmp_path, content(12, effect=0.03))
    result = FAST.analyse(run)
    chains = pd.DataFrame(
        {
            "question": run.chains[chain_id].question_id,
            "wrong": not run.chains[chain_id].is_correct,
            "value": run.token_scores(chain_id, ENTROPY).score.mean(),
        }
        for chain_id in run.measured
    )
    means = chains.pivot_table(index="question", columns="wrong", values="value")
    assert row(result, RAW)["estimate"] == pytest.approx((means[True] - means[False]).mean(), abs=1e-12)
    assert row(result, GIVEN_LENGTH)["ci_low"] < 0.03 < row(result, GIVEN_LENGTH)["ci_high"]
    assert row(result, GIVEN_LENGTH)["p_adjusted"] == 0.001
    assert 4 < row(result, EFFECT)["estimate"] < 8  # 0.03 by 0.005
    assert np.isnan(row(result, EFFECT)["p_value"])
    assert result.table[["n_questions", "n_chains"]].to_numpy().tolist() == [[12, 72]] * 6
    levels = result.details["levels"].set_index("kind")["mean"]
    assert levels["wrong"] - levels["correct"] == pytest.approx(row(result, RAW)["estimate"], abs=1e-12)
    heads = result.details["per_head"].query("term == @GIVEN_LENGTH")
    assert heads["estimate"].mean() == pytest.approx(row(result, GIVEN_LENGTH)["estimate"], abs=1e-7)
    assert (heads["p_max_t"] <= 0.01).all()
    assert result.finding.startswith("Clear: wrong chains attend more sparsely than correct ones on the same question")


def test_what_length_does_is_not_taken_for_what_is_wrong(tmp_path: Path) -> None:
    result = FAST.analyse(write(tmp_path, content(12, effect=0, slope=0.1)))
    assert row(result, RAW)["p_adjusted"] < 0.01
    assert row(result, GIVEN_LENGTH)["p_adjusted"] > 0.05
    assert "so that length may be all of it" in result.finding
    length = result.details["length"].set_index("term")
    assert length.loc[SLOPE, "ci_low"] < 0.1 < length.loc[SLOPE, "ci_high"]
    assert np.exp(length.loc[LOG_LENGTH, "estimate"]) == pytest.approx(1.5, abs=0.1)


def test_result_has_the_promised_shape(tmp_path: Path) -> None:
    run = write(tmp_path / "folder", content(6, effect=0.01), (ENTROPY, GINI))
    result = FAST.analyse(run)
    assert tuple(result.table.columns) == ("scorer", *RESULT_COLUMNS)
    pairs = list(zip(result.table["scorer"], result.table["term"], strict=True))
    assert pairs == [(scorer, term) for scorer in (ENTROPY, GINI) for term in TERMS]
    assert set(FAST.terms) == set(TERMS)
    assert set(result.details) == {"levels", "length", "between_questions", "per_layer", "per_head", "per_chain", "left_out"}
    assert all(detail.columns[0] == "scorer" for detail in result.details.values())
    assert result.provenance["scorers"] == {name: f"{name}()" for name in (ENTROPY, GINI)}
    assert result.config == repr(FAST)
    assert len(result.details["per_head"]) == 2 * 2 * 6
    run.write_analysis(result)
    back = run.analysis("attention_sparsity")
    pd.testing.assert_frame_equal(back.table, result.table, check_dtype=False, check_exact=True)
    assert back.finding == result.finding


def test_labels_are_a_family(tmp_path: Path) -> None:
    run = write(tmp_path, content(8, effect=0.004, seed=3), (ENTROPY, GINI))
    together = FAST.analyse(run)
    alone = dataclasses.replace(FAST, scorer=GINI).analyse(run)
    assert set(alone.table["scorer"]) == {GINI}
    assert row(alone, GIVEN_LENGTH, GINI)["p_value"] == row(together, GIVEN_LENGTH, GINI)["p_value"]
    p_values = together.table.query("term == @GIVEN_LENGTH").sort_values("p_value")
    holm = np.minimum(1, np.maximum.accumulate(p_values["p_value"].to_numpy() * [2, 1]))
    np.testing.assert_allclose(p_values["p_adjusted"], holm)
    assert "of 2 measures say that wrong chains attend more sparsely" in together.finding
    assert "measures" not in alone.finding


def test_chains_that_cannot_be_compared_are_counted_by_reason(tmp_path: Path) -> None:
    rows = content(6, effect=0.01)
    rest = [
        ("right", True, rows[0][2]), ("right", True, rows[2][2]), ("bad", False, rows[1][2]), ("q0", None, rows[0][2]),
        ("q0", True, None), ("q1", True, np.full((2, 3, 5), np.inf, dtype=np.float32)),
    ]  # fmt: skip
    result = FAST.analyse(write(tmp_path, [*rows, *rest]))
    assert result.exclusions == {
        "no_correct_chain_on_the_question": 1, "no_verdict": 1, "no_wrong_chain_on_the_question": 2, "not_measured": 1,
        "score_not_finite": 1,
    }  # fmt: skip
    assert row(result, RAW)["n_chains"] == 36
    assert row(result, ALL)[["n_questions", "n_chains"]].tolist() == [8, 39]
    said = " ".join(result.warnings)
    assert "1 wrong chains are on questions without a correct one, 2 correct chains on questions without a wrong one" in said
    assert "1 chains have no is_correct" in said
    assert "1 chains are not measured" in said
    same = FAST.analyse(write(tmp_path / "same", rows)).table.query("term not in [@ALL, @ALL_RAW]")
    pd.testing.assert_frame_equal(result.table.query("term not in [@ALL, @ALL_RAW]"), same, check_exact=True)


def test_layers_that_do_not_attend_have_no_value(tmp_path: Path) -> None:
    rows = content(8, effect=0.02)
    for _, _, received in rows:
        received[0] = np.nan
    result = FAST.analyse(write(tmp_path, rows))
    heads = result.details["per_head"].query("term == @RAW").set_index(["layer", "head"])
    assert heads.loc[0, "estimate"].isna().all()
    assert heads.loc[0, "n_questions"].tolist() == [0] * 3
    assert heads.loc[1, "estimate"].mean() == pytest.approx(row(result, RAW)["estimate"], abs=1e-7)
    assert heads.loc[1, "p_max_t"].notna().all()


@pytest.mark.parametrize(
    ("n_questions", "words"), [(1, "one question has no variation"), (2, "2 questions are too few"), (8, "")]
)
def test_small_samples_are_warned_of(tmp_path: Path, n_questions: int, words: str) -> None:
    result = FAST.analyse(write(tmp_path, content(n_questions, effect=0.03)))
    said = " ".join(result.warnings)
    assert words in said
    assert ("80 % power" in said) == (n_questions > 1)
    assert np.isfinite(row(result, GIVEN_LENGTH)["estimate"])
    if n_questions < 8:
        assert np.isnan(row(result, GIVEN_LENGTH)["ci_low"])
        assert ("on the one question" in result.finding) == (n_questions == 1)
    else:
        sd = result.details["between_questions"].set_index("term").loc[RAW, "sd"]
        assert f"wrong - correct {1.156035 * sd:.2g}," in said  # 1.156 standard deviations: statsmodels, 8 questions


def test_chains_of_one_token_are_chains(tmp_path: Path) -> None:
    rows = [(question, is_correct, received[..., :1]) for question, is_correct, received in content(8, effect=0.03)]
    result = FAST.analyse(write(tmp_path, rows))
    assert row(result, GIVEN_LENGTH)["estimate"] == row(result, RAW)["estimate"]  # all have one length
    assert row(result, RAW)["n_tokens"] == 48


def test_questions_of_one_kind_each_are_compared_only_over_all_questions(tmp_path: Path) -> None:
    rows = [(f"{question}-{is_correct}", is_correct, received) for question, is_correct, received in content(8, effect=0.1)]
    result = FAST.analyse(write(tmp_path, rows))
    assert row(result, RAW)["n_questions"] == 0
    assert np.isnan(row(result, RAW)["estimate"])
    assert row(result, ALL)["n_questions"] == 16
    assert result.finding.startswith("Undecided: no question has both a correct and a wrong chain")
    assert "difficulty of the questions" in result.finding
    assert set(result.details) == {"per_chain", "left_out"}


@pytest.mark.parametrize(
    ("verdict", "words"),
    [
        (True, "all chains that can be used are correct; add chains that are wrong"),
        (False, "all chains that can be used are wrong; add chains that are correct"),
        (None, r"none of 12 chains can be used \(12 no_verdict\); chains need is_correct"),
    ],
)
def test_without_both_kinds_there_is_nothing_to_compare(tmp_path: Path, verdict: bool | None, words: str) -> None:
    rows = [(question, verdict, received) for question, _, received in content(2, effect=0)]
    with pytest.raises(AnalysisError, match=words):
        FAST.analyse(write(tmp_path, rows))


def test_a_run_without_the_scorer_says_which_command_measures_it(tmp_path: Path) -> None:
    run = write(tmp_path, content(2, effect=0), ())
    with pytest.raises(MissingError) as error:
        FAST.analyse(run)
    command = str(error.value).partition("add it with: ")[2].split()
    assert command[:4] == ["reasoning-anatomy", "run", "CHAINS.jsonl", "--out"]
    assert command[command.index("--scorers") + 1 :] == list(RECOMMENDED)
    with pytest.raises(MissingError, match=f"no attention_sparsity with the label 'x'; it has {ENTROPY}"):
        AttentionSparsity(scorer="x").analyse(write(tmp_path / "other", content(2, effect=0)))


def test_same_run_and_seed_give_the_same_bytes(tmp_path: Path) -> None:
    run = write(tmp_path, content(8, effect=0.01))

    def files(seed: int) -> dict[str, bytes]:
        folder = run.write_analysis(AttentionSparsity(draws=999, seed=seed).analyse(run))
        return {path.name: path.read_bytes() for path in folder.iterdir()}

    first = files(0)
    assert files(0) == first
    assert files(1)["table.csv"] != first["table.csv"]


@pytest.mark.parametrize(
    ("options", "words"), [({"confidence": 95}, "confidence=95"), ({"seed": -1}, "seed=-1"), ({"draws": 10}, "draws=10")]
)
def test_wrong_options_are_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        AttentionSparsity(**options)


Numbers = tuple[float, float, float, int, float]


def say(raw: Numbers, given: Numbers, effect: Numbers = (0.42, 0.2, 0.64, 25, NAN), *, others: float | None = None) -> str:
    """Write the finding of (estimate, low, high, questions, adjusted p) for each term; ``others``: p of a second measure."""
    numbers = {RAW: raw, GIVEN_LENGTH: given, EFFECT: effect, ALL: (0.5, 0.4, 0.6, 40, 0.001)}
    columns = ["estimate", "ci_low", "ci_high", "n_questions", "p_adjusted"]
    rows = [dict(zip(columns, values, strict=True)) | {"scorer": ENTROPY, "term": term} for term, values in numbers.items()]
    if others is not None:
        rows += [{**each, "scorer": GINI, "estimate": -0.1, "p_adjusted": others} for each in rows]
    length = pd.DataFrame({"scorer": [ENTROPY], "term": [LOG_LENGTH], "estimate": [np.log(1.25)]})
    said = finding(pd.DataFrame(rows), length if raw[3] else None, confidence=0.95)
    return said.replace("\N{MINUS SIGN}", "-").replace("\N{NO-BREAK SPACE}", " ")


CAVEAT = (
    "Wrong chains are 1.25 times as long as correct ones on the same question. Nobody chose at random which chains are wrong, "
    "so this is no evidence that sparse attention makes them wrong."
)


@pytest.mark.parametrize(
    ("raw", "given", "effect", "sentence"),
    [
        (
            (0.015, 0.008, 0.022, 25, 0.01), (0.012, 0.005, 0.019, 25, 0.01), (0.42, 0.2, 0.64, 25, NAN),
            "Clear: wrong chains attend more sparsely than correct ones on the same question, by attention_sparsity: "
            "difference 0.012 (95 % interval 0.005 to 0.019, 25 questions) with length held constant. Without that it is 0.015 "
            "(0.008 to 0.022); with length held constant, 0.42 (0.20 to 0.64) standard deviations between chains of one kind "
            "on one question.",
        ),
        (
            (-0.015, -0.022, -0.008, 9, 0.01), (-0.012, -0.019, -0.005, 9, 0.01), (-0.42, NAN, NAN, 9, NAN),
            "Against: wrong chains attend less sparsely than correct ones on the same question, by attention_sparsity: "
            "difference -0.012 (95 % interval -0.019 to -0.005, only 9 questions) with length held constant. Without that it "
            "is -0.015 (-0.022 to -0.008); with length held constant, -0.42 standard deviations between chains of one kind on "
            "one question.",
        ),
        (
            (0.015, 0.008, 0.022, 25, 0.01), (0.0001, -0.005, 0.005, 25, 0.9), (NAN, NAN, NAN, 0, NAN),
            "Undecided: it is open whether wrong chains attend more sparsely than correct ones on the same question, by "
            "attention_sparsity: difference 0.000 (95 % interval -0.005 to 0.005, 25 questions) with length held constant. "
            "Without that it is 0.015 (0.008 to 0.022), so that length may be all of it.",
        ),
        (
            (0.015, NAN, NAN, 1, NAN), (NAN, NAN, NAN, 0, NAN), (NAN, NAN, NAN, 0, NAN),
            "Undecided: on the one question that has both, wrong chains attend more sparsely than correct ones, by "
            "attention_sparsity: difference 0.015 (only 1 question, no interval), and too few chains to hold their "
            "length constant.",
        ),
    ],
    ids=["more", "less", "length", "one question"],
)  # fmt: skip
def test_the_finding_in_words(raw: Numbers, given: Numbers, effect: Numbers, sentence: str) -> None:
    assert say(raw, given, effect) == f"{sentence}\n{CAVEAT}"


def test_measures_that_survive_correction_are_counted_by_direction() -> None:
    found = (0.015, 0.008, 0.022, 25, 0.01)
    for p, counts in ((0.04, "1 of 2 measures say that wrong chains attend more sparsely, and 1"), (0.06, "1 of 2 measures")):
        assert f"Corrected for their number, {counts}" in say(found, found, others=p)
    uncorrected = (0.015, 0.001, 0.03, 25, 0.08)  # its interval leaves out zero, and the correction says no
    assert say(uncorrected, uncorrected, others=0.08).startswith("Undecided: it is open whether")


def test_without_pairs_the_finding_names_the_difficulty() -> None:
    nothing = (NAN, NAN, NAN, 0, NAN)
    assert say(nothing, nothing, nothing) == (
        "Undecided: no question has both a correct and a wrong chain, so that no two can be compared on the same question; "
        "over all questions the difference is 0.500 (95 % interval 0.400 to 0.600, 40 questions) by attention_sparsity with "
        "length held constant, which may come from the difficulty of the questions."
    )
