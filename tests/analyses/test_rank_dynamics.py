"""Rankings made at stages of a path and the deletions that follow, from run folder to result."""

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import kendalltau, spearmanr

from analyses._rank_dynamics.evidence import keep_ratios_of, strategy_of
from analyses._statistics.bootstrap import bootstrap_means, resample_counts
from analyses._statistics.foretelling import TERMS
from analyses.rank_dynamics import RankDynamics
from reasoning_anatomy.errors import AnalysisError, MissingError, PluginError
from reasoning_anatomy.plugins import load
from reasoning_anatomy.run.folder import Run
from reasoning_anatomy.types import RESULT_COLUMNS, AnalysisResult

FAST = RankDynamics(draws=499)
Make = Callable[..., Run]
Content = Sequence[tuple[str, Sequence[int], np.ndarray | None]]
N = 20
STAGES = (1.0, 0.7, 0.5)


def drawn(n_questions: int, noise: Sequence[float], *, per_question: int = 2, kept: int = 0, seed: int = 0) -> Content:
    """Paths in the order of a hidden value, and rankings that know it but for the noise of their stage."""
    rng = np.random.default_rng(seed)
    content = []
    for question in range(n_questions):
        for _ in range(per_question):
            hidden = rng.standard_normal(N)
            nll = np.stack([hidden + sd * rng.standard_normal(N) for sd in noise])
            content.append((f"q{question}", hidden.argsort()[: N - kept], nll))
    return content


def row(result: AnalysisResult, ranking: str, stage: str, term: str = "kendall") -> pd.Series:
    table = result.table
    found = table[(table["ranking"] == ranking) & (table["stage"] == stage) & (table["term"] == term)]
    assert len(found) == 1
    return found.iloc[0]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, make_stages: Make) -> Run:
    """Eight questions; the later a ranking is made, the more it knows."""
    folder = tmp_path_factory.mktemp("dynamics") / "run"
    return make_stages(folder, drawn(8, (3, 1, 0.3), kept=2), n_tokens=N, keep_ratios=STAGES)


def test_every_chain_is_a_plain_loop_with_scipy(run: Run) -> None:
    result = dataclasses.replace(FAST, scorers=("recency",)).analyse(run)
    per_chain = result.details["per_chain"].set_index(["chain_id", "ranking", "judged_at"])
    for chain_id in run.measured:
        path, stages = run.path(chain_id, "greedy"), run.token_scores(chain_id, "candidate_nll").stages
        for number, n_deleted in enumerate((0, 6, 10)):
            tokens = [token for token in range(N) if token not in path.deleted[: n_deleted + 1]]
            step = [list(path.deleted).index(token) if token in path.deleted else 99 for token in tokens]
            rankings = {f"made at {STAGES[made]:g}": stages.nll[made][tokens] for made in range(number + 1)}
            for name, ranking in {**rankings, "recency": tokens}.items():
                found = per_chain.loc[(chain_id, name, f"{STAGES[number]:g}")]
                assert found["kendall"] == pytest.approx(kendalltau(ranking, step).statistic)
                assert found["spearman"] == pytest.approx(spearmanr(ranking, step).statistic)
                hits = len(set(np.argsort(ranking)[:2]) & set(np.argsort(step)[:2]))
                assert found["overlap"] == pytest.approx((hits / 2 - 2 / len(tokens)) / (1 - 2 / len(tokens)))
                assert found[["n_judged", "n_after"]].tolist() == [len(tokens), 18 - n_deleted - 1]


def test_fresh_and_first_are_compared_without_the_lowest_of_either(run: Run) -> None:
    result = FAST.analyse(run)
    values = []
    for chain_id in run.measured:
        path, stages = run.path(chain_id, "greedy"), run.token_scores(chain_id, "candidate_nll").stages
        left = np.setdiff1d(np.arange(N), path.deleted[:6])
        out = {path.deleted[6], left[stages.nll[0][left].argmin()], left[stages.nll[1][left].argmin()]}
        tokens = [token for token in left if token not in out]
        step = [list(path.deleted).index(token) if token in path.deleted else 99 for token in tokens]
        fresh, first = (kendalltau(stages.nll[made][tokens], step).statistic for made in (1, 0))
        values.append(fresh - first)
    by_question = np.array(values).reshape(8, 2).mean(axis=1)
    counts = resample_counts(8, draws=499, rng=np.random.default_rng(0))
    expected = bootstrap_means(by_question[:, None], counts, confidence=0.95)
    found = row(result, "fresh less made at 1", "0.7")
    assert found[["estimate", "ci_low", "ci_high", "p_value"]].tolist() == pytest.approx(
        [expected.estimate[0], expected.ci_low[0], expected.ci_high[0], expected.p_value[0]]
    )


def test_stages_are_a_family_and_their_mean_is_not_in_it(run: Run) -> None:
    result = FAST.analyse(run)
    for term in TERMS:
        low, high = sorted([row(result, "fresh less made at 1", stage, term)["p_value"] for stage in ("0.7", "0.5")])
        adjusted = sorted([row(result, "fresh less made at 1", stage, term)["p_adjusted"] for stage in ("0.7", "0.5")])
        assert adjusted == pytest.approx([min(1, 2 * low), min(1, max(2 * low, high))])
        mean = row(result, "fresh less made at 1", "mean below 1", term)
        assert mean["p_adjusted"] == mean["p_value"]
        parts = [row(result, "fresh less made at 1", stage, term)["estimate"] for stage in ("0.7", "0.5")]
        assert mean["estimate"] == pytest.approx(np.mean(parts))


def test_a_ranking_that_knows_more_is_found_and_one_that_knows_as_much_is_not(
    run: Run, tmp_path: Path, make_stages: Make
) -> None:
    result = FAST.analyse(run)
    assert row(result, "fresh less made at 1", "mean below 1")["ci_low"] > 0
    estimates = [row(result, *of)["estimate"] for of in (("made at 1", "1"), ("fresh", "0.7"), ("fresh", "0.5"))]
    assert estimates == sorted(estimates)
    ages = result.details["made_at"].query("term == 'kendall' and judged_at == '0.5'")
    assert ages["made_at"].tolist() == ["1", "0.7", "0.5"]
    assert ages["estimate"].is_monotonic_increasing
    same = FAST.analyse(make_stages(tmp_path, drawn(8, (1, 1, 1)), n_tokens=N, keep_ratios=STAGES))
    assert row(same, "fresh less made at 1", "mean below 1")["ci_low"] < 0 < row(same, "made at 1", "1")["ci_low"]


def test_a_perfect_ranking_has_one_in_all_terms(tmp_path: Path, make_stages: Make) -> None:
    result = FAST.analyse(make_stages(tmp_path, drawn(4, (0, 0, 0)), n_tokens=N, keep_ratios=STAGES))
    alone = result.table.query("ranking in ['fresh', 'made at 1'] and term != 'kendall_given_position'")
    assert alone["estimate"].tolist() == pytest.approx([1.0] * 21)
    assert (result.table.query("ranking == 'fresh less made at 1'")["estimate"] == 0).all()
    assert "the same in all 4 questions" in result.finding


def test_what_follows_the_last_stage_need_not_be_there(tmp_path: Path, make_stages: Make) -> None:
    result = FAST.analyse(make_stages(tmp_path, drawn(5, (1, 1, 1), kept=10), n_tokens=N, keep_ratios=STAGES))
    assert row(result, "fresh", "0.7")["n_chains"] == 10
    assert row(result, "fresh", "0.5")["n_chains"] == 0
    assert "no chain has enough tokens and deletions after that stage" in " ".join(result.warnings)
    assert "in 10 of 10 chains some tokens are never deleted" in " ".join(result.warnings)
    stages = result.details["stages"].set_index("stage")
    assert stages["n_chains"].tolist() == [10, 10, 0, 10]
    assert stages.loc["0.7", ["tokens_judged", "deleted_after"]].tolist() == [13, 3]
    assert stages.loc["0.7", "overlap_by_chance"] == pytest.approx(2 / 13)


def test_only_the_first_ranking_may_be_judged(tmp_path: Path, make_stages: Make) -> None:
    content = drawn(5, (1, 1, 1), kept=14)
    result = FAST.analyse(make_stages(tmp_path, content, n_tokens=N, keep_ratios=STAGES))
    assert result.finding.startswith("No ranking that is made anew can be compared with the one made at 1, whose Kendall's")
    assert "nan" not in result.finding.lower()


def test_what_cannot_be_used_is_counted_by_reason(tmp_path: Path, make_stages: Make) -> None:
    content = [*drawn(3, (1, 1, 1)), ("unscored", range(N), None)]
    run = make_stages(tmp_path, content, n_tokens=N, keep_ratios=STAGES)
    run.layout.artefact("c1", "path", "greedy").unlink()
    run.layout.artefact("c2", "score", "recency").unlink()
    result = dataclasses.replace(FAST, scorers=("recency",)).analyse(run)
    assert result.exclusions == {"no_score_of_recency": 1, "not_measured": 1, "scorer_not_measured": 1}
    assert row(result, "recency", "1")["n_chains"] == 4
    assert row(result, "made at 1", "1")["n_chains"] == 5
    assert any(said.startswith("2 of 7 chains of the run are not used") for said in result.warnings)


def test_nothing_usable_says_why(tmp_path: Path, make_stages: Make) -> None:
    short = [("q", range(4), np.zeros((2, 4))), ("q", range(4), None)]
    with pytest.raises(AnalysisError, match=r"none of 2 chains can be used \(1 fewer_than_5_tokens, 1 scorer_not_measured\)"):
        FAST.analyse(make_stages(tmp_path, short, n_tokens=4))


def test_constant_rankings_have_no_value(tmp_path: Path, make_stages: Make) -> None:
    content = [(f"q{number}", np.random.default_rng(number).permutation(N), np.ones((3, N))) for number in range(3)]
    result = FAST.analyse(make_stages(tmp_path, content, n_tokens=N, keep_ratios=STAGES))
    assert result.table["n_questions"].tolist() == [0] * len(result.table)
    assert "rankings that are not constant" in " ".join(result.warnings)
    assert result.finding.endswith("which cannot be judged either.")


def test_a_run_without_stages_says_how_to_make_them(
    run: Run, tmp_path: Path, make_planted_run: Make, make_chains: Make
) -> None:
    without = make_planted_run(tmp_path / "none", make_chains(2))
    with pytest.raises(MissingError, match=r"make them with: reasoning-anatomy run .* --scorers candidate_nll"):
        FAST.analyse(without)
    with pytest.raises(MissingError, match="has no candidate_nll with the label 'other'; it has candidate_nll"):
        dataclasses.replace(FAST, scorer="other").analyse(run)
    with pytest.raises(MissingError, match="has no scorer 'h2o'"):
        dataclasses.replace(FAST, scorers=("h2o",)).analyse(run)


def test_one_stage_is_no_dynamics(tmp_path: Path, make_stages: Make) -> None:
    run = make_stages(tmp_path, drawn(2, (1,)), n_tokens=N, keep_ratios=(1.0,))
    with pytest.raises(MissingError, match="no rankings have been made at several stages"):
        FAST.analyse(run)


def test_what_the_scorer_says_of_itself() -> None:
    said = "CandidateNll(keep_ratios=(1.0, 0.5), strategy='greedy:keep_ratio=0.3', token_budget=None)"
    assert keep_ratios_of(said) == (1.0, 0.5)
    assert strategy_of(said) == "greedy:keep_ratio=0.3"
    assert keep_ratios_of("imported") == ()


@pytest.mark.parametrize("n_questions", [1, 2, 3])
def test_few_questions_have_an_answer_and_a_warning(tmp_path: Path, make_stages: Make, n_questions: int) -> None:
    result = FAST.analyse(make_stages(tmp_path, drawn(n_questions, (2, 1, 1)), n_tokens=N, keep_ratios=STAGES))
    assert (result.table["n_questions"] == n_questions).all()
    assert result.table["estimate"].notna().all()
    said = " ".join(result.warnings)
    assert ("one question has no variation" in said) == (n_questions == 1)
    assert ("questions are few" in said) == (n_questions > 1)
    assert "nan" not in (result.finding + said).lower()


def test_the_order_of_chains_and_the_scale_of_the_nll_do_not_matter(run: Run, tmp_path: Path, make_stages: Make) -> None:
    content = drawn(8, (3, 1, 0.3), kept=2)
    swapped = [content[number + 1 - 2 * (number % 2)] for number in range(len(content))]  # the two chains of each question
    monotone = [(question, deleted, np.exp(nll) + 1) for question, deleted, nll in swapped]
    other = make_stages(tmp_path, monotone, n_tokens=N, keep_ratios=STAGES)
    pd.testing.assert_frame_equal(FAST.analyse(run).table, FAST.analyse(other).table, rtol=1e-12)


def test_result_has_the_promised_shape_and_can_be_read_back(run: Run) -> None:
    result = FAST.analyse(run)
    assert tuple(result.table.columns) == ("ranking", "stage", *RESULT_COLUMNS)
    assert set(result.details) == {"stages", "made_at", "between_questions", "per_chain", "left_out"}
    assert result.printed["stage"].tolist() == ["1", "0.7", "0.5", "mean below 1"]
    assert "not exactly that of the two numbers beside it" in " ".join(result.warnings)
    assert result.config == repr(FAST)
    assert result.provenance["strategy"] == "Greedy()"
    files = [{path.name: path.read_bytes() for path in run.write_analysis(FAST.analyse(run)).iterdir()} for _ in range(2)]
    assert files[0] == files[1]
    back = run.analysis("rank_dynamics")
    pd.testing.assert_frame_equal(back.table, result.table, check_dtype=False, check_exact=True)
    assert back.finding == result.finding


def test_the_finding_says_what_the_table_says(run: Run) -> None:
    result = FAST.analyse(run)
    difference, frozen = (row(result, name, "mean below 1") for name in ("fresh less made at 1", "made at 1"))
    said = result.finding.replace("\N{MINUS SIGN}", "-").replace("\N{NO-BREAK SPACE}", " ")
    assert said.startswith("Clear: a ranking made anew foretells the deletions of greedy better than the one made at 1: ")
    low, high = f"{difference['ci_low']:.2f}", f"{difference['ci_high']:.2f}"
    assert f"difference in Kendall's tau {difference['estimate']:.2f} (95 % interval {low} to {high}, only 8 questions)" in said
    assert f"{frozen['estimate']:.2f} ({frozen['ci_low']:.2f} to {frozen['ci_high']:.2f}) if it is made at 1" in said


@pytest.mark.parametrize(("option", "value"), [("window", 0.0), ("window", 1.0), ("draws", 3)])
def test_wrong_options_are_refused(option: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"{option}={value}"):
        RankDynamics(**{option: value})


def test_options_can_be_written_in_a_spec() -> None:
    assert load("analysis", "rank_dynamics:window=0.2") == RankDynamics(window=0.2)
    with pytest.raises(PluginError, match="window=2"):
        load("analysis", "rank_dynamics:window=2.0")
