"""The analysis best_head from run folder to result."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from analyses._best_head.words import finding
from analyses.best_head import BestHead
from analyses.rank_correlation import RankCorrelation
from reasoning_anatomy.errors import AnalysisError, MissingError
from reasoning_anatomy.plugins import load
from reasoning_anatomy.run.folder import Run
from reasoning_anatomy.types import AnalysisResult, ReasoningChain

FAST = BestHead(draws=499, halvings=20)
Make = Callable[..., Run]
Content = list[tuple[str, np.ndarray | None, np.ndarray]]
N = 12


def row(result: AnalysisResult, term: str) -> pd.Series:
    return result.table.set_index("term").loc[term]


def planted(rng: np.random.Generator, n_questions: int, *, head: tuple[int, int] | None, per_question: int = 2) -> Content:
    """Attention in whole numbers, so that half precision keeps it; one head of 2 x 3 follows the order of deletion."""
    content: Content = []
    for question in range(n_questions):
        for _chain in range(per_question):
            deleted = rng.permutation(N)
            received = np.stack([rng.permutation(N) for _ in range(6)]).reshape(2, 3, N).astype(np.float32)
            if head is not None:
                received[(*head, deleted)] = (np.arange(N) + rng.normal(0, 4, N)).argsort().argsort()
            content.append((f"q{question}", received, deleted))
    return content


def test_the_head_that_follows_the_order_is_chosen_and_holds_on_other_questions(tmp_path: Path, make_run: Make) -> None:
    run = make_run(tmp_path, planted(np.random.default_rng(0), 20, head=(1, 2)))
    result = FAST.analyse(run)
    first = result.details["heads"].iloc[0]
    assert (first["layer"], first["head"], first["n_chosen"], first["share_chosen"]) == (1, 2, 40, 1.0)
    per_head = RankCorrelation(scorer="answer_attention", draws=99).analyse(run).details["per_head"]
    for ending in ("", "_given_position"):
        (alone,) = per_head.query(f"layer == 1 and head == 2 and term == 'spearman{ending}'")["estimate"]
        assert row(result, f"other_questions{ending}")["estimate"] == pytest.approx(alone)  # it is always the choice
        assert row(result, f"same_questions{ending}")["estimate"] == pytest.approx(alone)
        assert row(result, f"flattery{ending}")["estimate"] == pytest.approx(0)
        assert row(result, f"other_questions{ending}")["p_value"] == 0.002
        assert row(result, f"same_questions{ending}")["p_value"] == 0.002
    assert result.finding.startswith(
        "Clear: the best of 6 heads of answer_attention go with the deletion order of greedy: Spearman's rho "
    )
    assert (
        ". Head 1.2 (layer 1, head 2, both from 0) is the choice of 40 of 40 halves of the questions, 40 of 40 "
        in result.finding
    )


def test_every_head_has_the_mean_that_rank_correlation_gives(tmp_path: Path, make_run: Make) -> None:
    run = make_run(tmp_path, planted(np.random.default_rng(1), 7, head=(0, 1)))
    heads = FAST.analyse(run).details["heads"].assign(term=lambda table: table["control"].str.replace("raw", ""))
    heads["term"] = ("spearman_" + heads["term"]).str.rstrip("_")
    wanted = RankCorrelation(scorer="answer_attention", draws=99).analyse(run).details["per_head"]
    both = heads.merge(wanted, on=["layer", "head", "term"], suffixes=("", "_wanted"))
    assert len(both) == 12
    np.testing.assert_allclose(both["estimate"], both["estimate_wanted"], atol=1e-12)
    assert (both["n_questions"] == 7).all()


def test_what_is_chosen_by_luck_flatters_and_does_not_hold(tmp_path: Path, make_run: Make) -> None:
    result = FAST.analyse(make_run(tmp_path, planted(np.random.default_rng(2), 16, head=None)))
    other, same, flattery = (row(result, term) for term in ("other_questions", "same_questions", "flattery"))
    assert other["ci_low"] < 0 < other["ci_high"]
    assert same["estimate"] > 0 > other["estimate"]
    assert same["p_value"] > 0.05
    assert flattery["estimate"] == pytest.approx(same["estimate"] - other["estimate"])
    assert flattery["ci_high"] - flattery["estimate"] == pytest.approx(other["estimate"] - other["ci_low"])
    assert np.isnan([same["ci_low"], same["ci_high"], flattery["p_value"]]).all()
    assert result.finding.startswith("Undecided: it is open whether any of 6 heads of answer_attention goes with the")


def test_of_several_scorers_one_is_spoken_of_and_the_others_are_summed_up(tmp_path: Path, make_run: Make) -> None:
    result = FAST.analyse(make_run(tmp_path, planted(np.random.default_rng(0), 20, head=(1, 2))))
    weaker = result.table.assign(scorer="weaker", estimate=0.1, p_adjusted=0.2)
    heads = result.details["heads"]
    both = pd.concat([weaker, result.table], ignore_index=True)
    found = finding(both, pd.concat([heads.assign(scorer="weaker"), heads]), strategy="greedy", confidence=0.95)
    alone, several = found.splitlines()
    assert alone == result.finding
    assert several.startswith(
        "Clear: of 2 scorers, the best heads of 1 are shown to be related to the order on other questions"
    )
    assert "those of answer_attention are the strongest: rho " in several


def test_the_numbers_of_the_table_follow_from_its_details(tmp_path: Path, make_run: Make) -> None:
    result = FAST.analyse(make_run(tmp_path, planted(np.random.default_rng(3), 9, head=None)))
    heads = result.details["heads"]
    for control, ending in (("raw", ""), ("given_position", "_given_position")):
        of_control = heads[heads["control"] == control]
        assert of_control["n_chosen"].sum() == 40
        assert of_control["n_chosen"].is_monotonic_decreasing
        assert row(result, f"same_questions{ending}")["estimate"] == pytest.approx(of_control["estimate"].max())
        assert row(result, f"same_questions{ending}")["p_value"] == of_control["p_max_shift"].min()
        per_question = result.details["per_question"].query("control == @control")
        assert row(result, f"other_questions{ending}")["estimate"] == pytest.approx(per_question["on_other_questions"].mean())
        assert per_question[["n_chains", "n_tokens"]].sum().tolist() == [18, 18 * N]
    assert result.table["n_chains"].tolist() == [18] * 6
    assert result.table["n_tokens"].tolist() == [18 * N] * 6


def test_the_order_of_the_chains_does_not_matter(tmp_path: Path, make_planted_run: Make) -> None:
    chains = [
        ReasoningChain(chain_id=f"c{n}", question_id=f"q{n // 2}", question=f"Q{n // 2}", reasoning="a " * N, answer="A")
        for n in range(12)
    ]
    run = make_planted_run(tmp_path / "one", chains, strength=0.3)
    again = Run(run.folder)
    again.__dict__["chains"] = dict(reversed(again.chains.items()))  # as if the file had them in another order
    pd.testing.assert_frame_equal(FAST.analyse(run).table, FAST.analyse(again).table)


def test_a_monotone_transform_of_the_attention_changes_nothing(tmp_path: Path, make_run: Make) -> None:
    content = planted(np.random.default_rng(4), 6, head=(0, 0))
    squared = [(question, None if received is None else received**2 + 3, deleted) for question, received, deleted in content]
    one, two = (FAST.analyse(make_run(tmp_path / name, each)) for name, each in (("one", content), ("two", squared)))
    pd.testing.assert_frame_equal(one.table, two.table)


def test_of_either_sign_the_head_far_below_zero_is_chosen(tmp_path: Path, make_run: Make) -> None:
    content = planted(np.random.default_rng(5), 12, head=(1, 0))
    for _, received, _ in content:
        assert received is not None
        received[1, 0] *= -1
    run = make_run(tmp_path, content)
    either = dataclasses.replace(FAST, sign="either").analyse(run)
    assert either.details["heads"].iloc[0][["layer", "head"]].tolist() == [1, 0]
    (mean,) = either.details["heads"].query("layer == 1 and head == 0 and control == 'raw'")["estimate"]
    assert mean < -0.3
    assert row(either, "other_questions")["estimate"] == pytest.approx(-mean)
    assert row(either, "same_questions")["p_value"] == 0.002
    assert row(FAST.analyse(run), "other_questions")["estimate"] < 0.3


def test_a_head_that_is_missing_in_a_question_cannot_be_chosen(tmp_path: Path, make_run: Make) -> None:
    content = planted(np.random.default_rng(6), 8, head=(0, 2))
    for _, received, _ in content[:2]:
        assert received is not None
        received[0, 2] = 1
    result = FAST.analyse(make_run(tmp_path, content))
    assert result.exclusions == {"constant_head": 2, "head_missing_in_a_question": 1}
    lost = result.details["heads"].query("layer == 0 and head == 2")
    assert lost["n_chosen"].tolist() == [0, 0]
    assert lost["n_questions"].tolist() == [7, 7]
    assert lost["p_max_shift"].isna().all()
    assert "heads that have no value in some question, and cannot be chosen: 1" in result.warnings
    assert " of 5 heads of answer_attention " in result.finding


def test_deletion_in_the_order_of_position_leaves_nothing_to_choose_from_given_position(tmp_path: Path, make_run: Make) -> None:
    content = [(question, received, np.arange(N)) for question, received, _ in planted(np.random.default_rng(7), 5, head=None)]
    result = FAST.analyse(make_run(tmp_path, content))
    assert result.table["n_questions"].tolist() == [5, 5, 5, 0, 0, 0]
    assert result.table.iloc[3:][["estimate", "ci_low", "p_value"]].isna().all(axis=None)
    assert result.exclusions == {"no_value_given_position": 10}
    assert "Position cannot be held constant" in result.finding
    assert any(text.startswith("other_questions_given_position: no head has a value") for text in result.warnings)


@pytest.mark.parametrize("n_questions", [2, 3])
def test_two_or_three_questions_have_estimates_alone(tmp_path: Path, make_run: Make, n_questions: int) -> None:
    result = FAST.analyse(make_run(tmp_path, planted(np.random.default_rng(8), n_questions, head=(0, 0))))
    assert result.table["estimate"].notna().all()
    assert result.table[["ci_low", "ci_high"]].isna().all(axis=None)
    assert result.warnings == (
        f"{n_questions} questions cannot be halved into parts that have a spread; no interval and no p-value",
    )
    assert f"({n_questions} questions, too few for an interval)" in result.finding


def test_one_question_or_nothing_usable_is_a_clear_error(tmp_path: Path, make_run: Make) -> None:
    one = make_run(tmp_path / "one", planted(np.random.default_rng(9), 1, head=None))
    with pytest.raises(
        AnalysisError, match="judged on other questions than those that chose it, and fewer than 2 questions can"
    ):
        FAST.analyse(one)
    content: Content = [
        ("a", np.ones((1, 2, 3)), np.arange(3)),
        ("b", np.ones((1, 2, N)), np.arange(0)),
        ("c", None, np.arange(3)),
    ]
    with pytest.raises(
        AnalysisError, match=r"\(1 fewer_than_5_tokens, 1 no_deletion, 1 not_measured\); measure chains on more"
    ):
        FAST.analyse(make_run(tmp_path / "none", content))


def test_a_scorer_without_heads_is_refused_if_named_and_left_out_if_not(tmp_path: Path, make_run: Make) -> None:
    run = make_run(tmp_path, planted(np.random.default_rng(10), 4, head=(0, 0)))
    with pytest.raises(
        MissingError, match=r"surprisal has no value per layer and head; measure attention: reasoning-anatomy run"
    ):
        BestHead(scorer="surprisal").analyse(run)
    with pytest.raises(MissingError, match="has no scorer 'h2o'; it has answer_attention, surprisal"):
        BestHead(scorer="h2o").analyse(run)
    result = FAST.analyse(run)
    assert set(result.table["scorer"]) == {"answer_attention"}
    assert result.config == repr(dataclasses.replace(FAST, scorer="answer_attention", strategy="greedy"))


def test_the_same_seed_gives_the_same_bytes_and_another_does_not(tmp_path: Path, make_run: Make) -> None:
    run = make_run(tmp_path, planted(np.random.default_rng(11), 8, head=None))

    def table(seed: int) -> bytes:
        return (run.write_analysis(dataclasses.replace(FAST, seed=seed).analyse(run)) / "table.csv").read_bytes()

    first = table(0)
    assert table(0) == first
    assert table(1) != first


@pytest.mark.parametrize(
    ("options", "words"),
    [({"halvings": 0}, "halvings=0: expected 1 or more"), ({"draws": 3}, "draws=3: a 0.95 interval needs 19 or more")],
)
def test_wrong_options_are_refused(options: dict[str, int], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        BestHead(**options)  # type: ignore[arg-type]
    assert load("analysis", "best_head:sign=either,halvings=7") == BestHead(sign="either", halvings=7)
