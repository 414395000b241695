"""Differences between runs on the chains that they share, against direct computation."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from analyses.compare import RunComparison
from analyses.rank_correlation import RankCorrelation
from reasoning_anatomy.errors import AnalysisError
from reasoning_anatomy.run import Run, open_run
from reasoning_anatomy.run.naming import names_of
from reasoning_anatomy.types import Annotation, PruningPath, ReasoningChain

Make = Callable[..., Any]

FAST = RunComparison(draws=499)
N_TOKENS = 20


def chains(n: int, *, text: str = "so 12 plus 3 is 15") -> list[ReasoningChain]:
    return [
        ReasoningChain(
            chain_id=f"c{number}", question_id=f"q{number // 2}", question="?", reasoning=f"{text} " * 4, answer=f"{number}"
        )
        for number in range(n)
    ]


def bent(path: PruningPath, start: float, power: float) -> PruningPath:
    """Path whose nll begins at ``start`` and rises to one more, as a power of the share that is deleted."""
    nll = start + (np.arange(len(path.deleted) + 1) / path.n_reasoning) ** power
    return dataclasses.replace(path, nll_answer=nll, nll_joint=nll, nll_reasoning=nll)


@pytest.fixture(scope="session")
def pair(tmp_path_factory: pytest.TempPathFactory, make_planted_run: Make, add_paths: Make) -> tuple[Run, Run]:
    """Two runs on the same chains but two: scores of the second follow the order more closely, its answers are likelier."""
    made = []
    for name, strength, power, of_run in (("first", 0.2, 2.0, chains(24)[:-1]), ("second", 0.6, 1.0, chains(25)[1:])):
        run = make_planted_run(tmp_path_factory.mktemp("pair") / name, of_run, strength=strength, seed=len(name))
        rng = np.random.default_rng(len(name))
        start = {chain_id: float(rng.random() + power) for chain_id in run.measured}
        paths = {chain_id: bent(run.path(chain_id, "greedy"), start[chain_id], power) for chain_id in run.measured}
        run = add_paths(
            run, "bent", {chain_id: dataclasses.replace(path, strategy="bent()") for chain_id, path in paths.items()}
        )
        run.write_analysis(RankCorrelation(draws=99, competitors=False).analyse(run))
        made.append(run)
    return made[0], made[1]


@pytest.fixture(scope="session")
def result(pair: tuple[Run, Run]) -> Any:
    return FAST.compare(pair)


def by_question(run: Run, values: "pd.Series[float]", shared: list[str]) -> "pd.Series[float]":
    frame = pd.DataFrame({"value": values.loc[shared], "question": [run.chains[chain_id].question_id for chain_id in shared]})
    return frame.groupby("question")["value"].mean()


@pytest.mark.parametrize(
    ("column", "term"),
    [
        ("spearman", "spearman of answer_attention"),
        ("spearman_given_position", "spearman of answer_attention given position"),
    ],
)
def test_a_difference_is_the_mean_over_questions_of_paired_differences(
    pair: tuple[Run, Run], result: Any, column: str, term: str
) -> None:
    shared = [f"c{number}" for number in range(1, 23)]
    tables = [run.analysis("rank_correlation").details["per_chain"].set_index("chain_id") for run in pair]
    first, second = (by_question(run, table[column], shared) for run, table in zip(pair, tables, strict=True))
    direct = stats.ttest_rel(second, first)
    row = result.table.set_index("term").loc[term]
    assert row["estimate"] == pytest.approx((second - first).mean(), abs=1e-12)
    assert (row["n_questions"], row["n_chains"]) == (len(first), len(shared)) == (12, 22)
    interval = direct.confidence_interval(0.95)
    assert row[["ci_low", "ci_high"]].tolist() == pytest.approx(list(interval), abs=0.05), "studentised bootstrap and t agree"
    assert row["p_value"] < 0.01
    assert direct.pvalue < 0.01


def test_the_nll_is_compared_before_and_while_tokens_go(pair: tuple[Run, Run], result: Any) -> None:
    shared = [f"c{number}" for number in range(1, 23)]
    rows = result.table.set_index("term")
    assert rows.loc["nll of the answer, whole chain", "estimate"] == 0, "that of the first path, which is the same in all"
    for ratio in (0.9, 0.7, 0.5):
        row = rows.loc[f"rise of the nll at keep ratio {ratio:g} of bent"]
        gone = 1 - ratio
        assert row["estimate"] == pytest.approx(gone - gone**2, abs=2e-3)
    assert rows.loc["mean rise of the nll to keep ratio 0.5 of bent", "estimate"] == pytest.approx(0.25 - 1 / 12, abs=2e-3)
    levels = result.details["levels"].set_index("term")
    of_bent = levels.loc["rise of the nll at keep ratio 0.5 of bent"]
    assert of_bent[["mean_of_less", "mean_of_run"]].tolist() == pytest.approx([0.25, 0.5])
    assert len(result.details["per_chain"]) == len(shared) * len(result.table)


def test_swapping_the_runs_turns_the_signs(pair: tuple[Run, Run], result: Any) -> None:
    swapped = FAST.compare(pair[::-1]).table.set_index("term").loc[result.table["term"]]
    for name, other in (("estimate", "estimate"), ("ci_low", "ci_high"), ("ci_high", "ci_low")):
        np.testing.assert_allclose(swapped[name], -result.table[other], atol=1e-9)
    np.testing.assert_allclose(swapped["p_value"], result.table["p_value"])
    assert set(swapped["less"]) == {"second"}


def test_chains_that_are_not_shared_are_counted(
    pair: tuple[Run, Run], result: Any, make_planted_run: Make, tmp_path: Path
) -> None:
    assert result.exclusions == {"only_in_the_first_run": 1, "only_in_the_other_run": 2}
    assert (
        "second: of its chains and those of the first run, 1 only in the first run, 2 only in the other run" in result.warnings
    )
    other = [*chains(4), *chains(8, text="so 12 plus 3 is 16")[4:]]
    exclusions = FAST.compare([pair[0], make_planted_run(tmp_path / "other", other)]).exclusions
    assert exclusions == {"only_in_the_first_run": 15, "same_id_but_other_text": 4}
    with pytest.raises(
        AnalysisError, match=r"first and none share no chain \(23 only in the first run, 1 only in the other run"
    ):
        FAST.compare([pair[0], make_planted_run(tmp_path / "none", [chains(1)[0].model_copy(update={"chain_id": "x"})])])


def test_holm_over_all_quantities_of_a_run(result: Any) -> None:
    tested = result.table.dropna(subset="p_value")
    assert len(tested) >= 2
    order = np.sort(tested["p_value"])
    assert tested["p_adjusted"].min() == pytest.approx(min(1, order[0] * len(tested)))


def test_the_finding_names_the_clearest_difference(result: Any) -> None:
    assert " quantities differ between second and first, corrected for their number; the clearest is " in result.finding
    assert "second less first: " in result.finding


def test_a_run_and_itself_are_the_same(pair: tuple[Run, Run]) -> None:
    result = FAST.compare([pair[0], pair[0]])
    assert set(result.table["run"]) == {"first (2)"}
    assert result.finding == f"first (2) and first (1) are the same in all {len(result.table)} quantities."


def test_one_strategy_each_is_compared_although_their_labels_differ(
    make_planted_run: Make, add_paths: Make, tmp_path: Path
) -> None:
    first, second = (make_planted_run(tmp_path / name, chains(6)) for name in ("a", "b"))
    paths = {chain_id: bent(second.path(chain_id, "greedy"), 0, 2) for chain_id in second.measured}
    second = open_run(add_paths(second, "other", paths).folder, only=["other"])
    terms = set(FAST.compare([first, second]).table["term"])
    assert "rise of the nll at keep ratio 0.5 of greedy and other" in terms


def test_categories_of_one_annotator_each_are_compared(make_planted_run: Make, tmp_path: Path) -> None:
    runs = [make_planted_run(tmp_path / name, chains(6)) for name in ("a", "b")]
    for run, name, share in ((runs[0], "rules", 2), (runs[1], "other", 4)):
        labels = {
            chain_id: Annotation(
                "A()", tuple("FUNCTION" if place % share else "ENTITY_NAME" for place in range(len(rows))), None
            )
            for chain_id, rows in run.tokens().groupby("chain_id")
        }
        run.write_annotations(name, labels)
    row = FAST.compare(runs).table.set_index("term").loc["share of ENTITY_NAME of rules and other"]
    assert row["estimate"] == pytest.approx(0.25 - 0.5, abs=0.03)


def test_accuracy_is_compared_at_the_same_threshold(add_answers: Make, make_planted_run: Make, tmp_path: Path) -> None:
    runs = []
    for name, wrong in (("a", 2), ("b", 3)):
        run = make_planted_run(tmp_path / name, [chain.model_copy(update={"gold_answer": "42"}) for chain in chains(12)])
        rows = [
            {
                "chain_id": chain_id,
                "threshold": threshold,
                "verdict": "wrong" if threshold and number % wrong == 0 else "correct",
            }
            for number, chain_id in enumerate(run.chains)
            for threshold in (0.0, 0.5)
        ]
        runs.append(add_answers(run, rows))
    table = FAST.compare(runs).table.set_index("term")
    found = table[table.index.str.startswith("accuracy at threshold 0.5 (closed_up, restatements kept) of ")]
    assert found["estimate"].tolist() == pytest.approx([8 / 12 - 6 / 12])


def test_one_run_is_not_compared(pair: tuple[Run, Run]) -> None:
    with pytest.raises(AnalysisError, match="two runs or more"):
        FAST.compare(pair[:1])


@pytest.mark.parametrize(
    ("folders", "names"),
    [
        (["x/a", "x/b"], ["a", "b"]),
        (["x/demo", "y/demo"], ["x/demo", "y/demo"]),
        (["x/a", "x/a", "x/b"], ["a (1)", "a (2)", "b"]),
    ],
)
def test_runs_have_the_shortest_names_that_tell_them_apart(folders: list[str], names: list[str]) -> None:
    assert names_of([Run(Path(folder)) for folder in folders]) == names
