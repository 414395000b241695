"""The analysis from run folder to result."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import kendalltau, mannwhitneyu, spearmanr

from analyses._rank_correlation.competitors import competitors, kind_of
from analyses._rank_correlation.terms import ALL_TERMS
from analyses._sentences import small_sample
from analyses._statistics.correlation import TERMS
from analyses.rank_correlation import RankCorrelation
from reasoning_anatomy.errors import AnalysisError, MissingError, PluginError
from reasoning_anatomy.plugin_files import read_plugins
from reasoning_anatomy.plugins import available, load
from reasoning_anatomy.run.folder import Run
from reasoning_anatomy.run.manifest import write_manifest
from reasoning_anatomy.types import RESULT_COLUMNS, AnalysisResult, Annotation, ReasoningChain

FAST = RankCorrelation(scorer="answer_attention", draws=999, competitors=False)
Make = Callable[..., Run]


def row(result: AnalysisResult, term: str) -> pd.Series:
    return result.table.set_index("term").loc[term]


def both(x: np.ndarray, y: pd.Series) -> tuple[float, float]:
    return spearmanr(x, y).statistic, kendalltau(x, y).statistic


def attention(rng: np.random.Generator, n: int = 12) -> np.ndarray:
    return rng.random((2, 3, n)).astype(np.float32)


@pytest.mark.parametrize("keep", [0.0, 0.3])
def test_perfect_agreement_is_exactly_one(tmp_path: Path, make_planted_run: Make, make_chains: Make, keep: float) -> None:
    result = FAST.analyse(make_planted_run(tmp_path, make_chains(6, 2), strength=1.0, keep=keep))
    if keep == 0:
        assert result.table["estimate"].tolist() == pytest.approx([1.0] * 7, abs=1e-12)
        assert result.table["estimate"].tolist()[:4] == [1.0] * 4
        assert set(result.details["per_head"]["estimate"]) == {1.0}
        assert set(result.details["per_layer"]["estimate"]) == {1.0}
        assert result.table[["ci_low", "ci_high", "p_value", "p_adjusted"]].isna().all(axis=None)
        assert "all 6 questions have the same value" in " ".join(result.warnings)
    else:  # the ties among the censored cost a little: attention has an order there, and deletion has none
        assert row(result, "spearman")["estimate"] == pytest.approx(spearmanr(range(30), [*range(21), *[21] * 9]).statistic)
        assert row(result, "kendall")["estimate"] == pytest.approx(kendalltau(range(30), [*range(21), *[21] * 9]).statistic)


def test_no_relation_is_covered_and_a_relation_is_found(tmp_path: Path, make_planted_run: Make, make_chains: Make) -> None:
    nothing = FAST.analyse(make_planted_run(tmp_path / "null", make_chains(12, 2, 60), strength=0.0, seed=3)).table
    assert (nothing["ci_low"] < 0).all()
    assert (nothing["ci_high"] > 0).all()
    something = FAST.analyse(make_planted_run(tmp_path / "half", make_chains(12, 2, 60), strength=0.3, seed=3)).table
    assert (something["ci_low"] > 0.25).all()
    assert something["p_value"].tolist() == [0.001] * 7
    assert something["p_adjusted"].tolist() == [0.001] * 7  # one scorer is a family of one


def test_every_number_agrees_with_scipy_and_pandas(tmp_path: Path, make_planted_run: Make, make_chains: Make) -> None:
    run = make_planted_run(tmp_path, make_chains(5, 3), strength=0.2, keep=0.2, seed=1)
    result = FAST.analyse(run)
    rows: list[tuple[object, ...]] = []
    for chain_id in run.measured:
        measurement = run.measurement(chain_id)
        received = measurement.profiles["answer_attention"].received.astype(float)
        step = pd.Series(measurement.paths["greedy"].deletion_step).fillna(1000)
        for layer in range(3):
            rows += [(chain_id, layer, head, *both(received[layer, head], step)) for head in range(4)]
            rows.append((chain_id, layer, -1, *both(received[layer].mean(axis=0), step)))
        rows.append((chain_id, -1, -1, *both(received.mean(axis=(0, 1)), step)))
    expected = pd.DataFrame(rows, columns=["chain", "layer", "head", "spearman", "kendall"])
    expected["question"] = expected["chain"].str.split("-").str[0]
    expected = expected.groupby(["question", "layer", "head"])[["spearman", "kendall"]].mean().groupby(["layer", "head"]).mean()
    for term in ("spearman", "kendall"):
        assert row(result, term)["estimate"] == pytest.approx(expected.loc[(-1, -1), term], abs=1e-12)
        for detail, keys in [("per_layer", ["layer"]), ("per_head", ["layer", "head"])]:
            found = result.details[detail].query("term == @term")
            heads = found["head"] if "head" in keys else -1
            wanted = expected.loc[pd.MultiIndex.from_arrays([found["layer"], np.broadcast_to(heads, len(found))]), term]
            np.testing.assert_allclose(found["estimate"], wanted, atol=1e-12)
    assert result.details["per_layer"].shape[0] == 4 * 3
    assert result.details["per_head"].shape[0] == 4 * 3 * 4


def test_result_has_the_promised_shape(tmp_path: Path, make_planted_run: Make, make_chains: Make) -> None:
    run = make_planted_run(tmp_path / "folder", make_chains(8, 2), strength=0.1, keep=0.1)
    result = FAST.analyse(run)
    assert result.name == "rank_correlation"
    assert tuple(result.table.columns) == ("scorer", "kind", *RESULT_COLUMNS)
    assert tuple(result.table["term"]) == ALL_TERMS == tuple(RankCorrelation.terms)
    assert set(result.table["kind"]) == {"independent signal"}
    assert set(result.table["scorer"]) == {"answer_attention"}
    assert result.table[["n_questions", "n_chains", "n_tokens"]].to_numpy().tolist() == [[8, 16, 480]] * 7
    assert result.config == repr(dataclasses.replace(FAST, scorer="answer_attention", strategy="greedy"))
    assert result.provenance["run"] == "folder"
    assert result.provenance["strategy"] == "Greedy()"
    assert result.provenance["scorers"] == {"answer_attention": "AnswerAttention()"}
    assert set(result.provenance["versions"]) == {"reasoning-anatomy", "numpy", "pandas", "scipy"}
    assert set(result.details) == {"between_questions", "per_layer", "per_head", "per_chain", "censored", "left_out"}
    assert all(detail.columns[0] == "scorer" for detail in result.details.values())
    per_chain = result.details["per_chain"]
    facts = ["scorer", "chain_id", "question_id", "n_tokens", "n_censored", "n_correlated"]
    assert list(per_chain.columns) == [*facts, *ALL_TERMS, "kendall_partial_tau"]
    assert per_chain["chain_id"].tolist() == run.measured
    spread = result.details["between_questions"].set_index("term")
    means = per_chain.groupby("question_id")["kendall"].mean()
    assert spread.loc["kendall", "sd"] == pytest.approx(means.std())
    assert spread.loc["kendall", "median"] == pytest.approx(means.median())
    run.write_analysis(result)
    back = run.analysis("rank_correlation")
    pd.testing.assert_frame_equal(back.table, result.table, check_dtype=False, check_exact=True)
    assert back.finding == result.finding


def test_adjustments_name_their_families(tmp_path: Path, make_planted_run: Make, make_chains: Make) -> None:
    details = FAST.analyse(make_planted_run(tmp_path, make_chains(10), strength=0.15, seed=2)).details
    p_layer = details["per_layer"].query("term == 'spearman'").sort_values("p_value")
    holm = np.minimum(1, np.maximum.accumulate(p_layer["p_value"].to_numpy() * [3, 2, 1]))
    np.testing.assert_allclose(p_layer["p_adjusted"], holm)
    p_head = details["per_head"].query("term == 'spearman'").sort_values("p_value")
    stepped = p_head["p_value"].to_numpy() * 12 / np.arange(1, 13)
    np.testing.assert_allclose(p_head["p_adjusted"], np.minimum.accumulate(stepped[::-1])[::-1])
    assert (p_head["p_max_t"] >= p_head["p_value"]).all()


def test_same_run_and_seed_give_the_same_bytes(tmp_path: Path, make_planted_run: Make, make_chains: Make) -> None:
    run = make_planted_run(tmp_path, make_chains(8, 2), strength=0.2)

    def files(seed: int) -> dict[str, bytes]:
        folder = run.write_analysis(RankCorrelation(draws=999, seed=seed).analyse(run))
        return {path.name: path.read_bytes() for path in folder.iterdir()}

    first = files(0)
    assert len(first) == 7
    assert files(0) == first
    assert files(1)["table.csv"] != first["table.csv"]


def test_more_chains_on_a_question_do_not_count_as_more_questions(tmp_path: Path, make_run: Make) -> None:
    rng = np.random.default_rng(0)
    content = [(f"q{number}", attention(rng), rng.permutation(12)) for number in range(6)]
    once = FAST.analyse(make_run(tmp_path / "once", content)).table
    thrice = FAST.analyse(make_run(tmp_path / "thrice", content * 3)).table
    assert thrice["n_chains"].tolist() == [18] * 4 + [0] + [18] * 2  # twelve tokens are too few for bins
    same = [column for column in RESULT_COLUMNS if column not in ("n_chains", "n_tokens")]
    pd.testing.assert_frame_equal(once[same], thrice[same], rtol=1e-12)
    heavy = FAST.analyse(make_run(tmp_path / "heavy", content + content[:1] * 5)).table  # questions weigh the same
    np.testing.assert_allclose(heavy["estimate"], once["estimate"], rtol=1e-12)


def test_censored_tokens_are_tied_and_counted(tmp_path: Path, make_run: Make) -> None:
    received = np.arange(8, dtype=np.float32).reshape(1, 1, 8)
    shuffled = received[..., [0, 1, 2, 3, 7, 5, 4, 6]]  # the same attention, another order among the never deleted
    deleted = [1, 0, 3, 2]
    result = FAST.analyse(make_run(tmp_path, [("a", received, deleted), ("b", shuffled, deleted)]))
    per_chain = result.details["per_chain"]
    assert per_chain["n_censored"].tolist() == [4, 4]
    steps = [2, 1, 4, 3, 5, 5, 5, 5]
    assert per_chain["spearman"].tolist() == pytest.approx([spearmanr(range(8), steps).statistic] * 2)
    assert per_chain["kendall"].tolist() == pytest.approx([(20 - 2) / np.sqrt(28 * 22)] * 2)
    assert any(text.startswith("8 of 16 tokens, in 2 of 2 chains, were never deleted") for text in result.warnings)


def test_what_cannot_be_used_is_counted_by_reason(tmp_path: Path, make_run: Make) -> None:
    rng = np.random.default_rng(1)
    one_head = attention(rng)
    one_head[1, 2] = 0.25
    one_layer = attention(rng)
    one_layer[0] = 0.5
    infinite = attention(rng)
    infinite[0, 0, 0] = np.inf
    content = [
        *((f"q{number}", attention(rng), rng.permutation(12)) for number in range(5)),
        ("head", one_head, rng.permutation(12)),
        ("layer", one_layer, rng.permutation(12)),
        ("ordered", attention(rng), np.arange(12)),
        ("short", attention(rng, 4), rng.permutation(4)),
        ("kept", attention(rng), []),
        ("flat", np.full((2, 3, 12), 0.1), rng.permutation(12)),
        ("infinite", infinite, rng.permutation(12)),
        ("lost", None, []),
    ]
    result = FAST.analyse(make_run(tmp_path, content))
    assert result.exclusions == {
        "constant_head": 4, "constant_layer": 1, "constant_score": 1, "fewer_than_5_tokens": 1,
        "no_deletion": 1, "no_value_given_position": 1, "no_value_within_bins": 8, "not_measured": 1, "score_not_finite": 1,
    }  # fmt: skip
    assert result.table["n_chains"].tolist() == [8, 7, 8, 7, 0, 8, 7]
    assert result.table["n_tokens"].tolist() == [96, 84, 96, 84, 0, 96, 84]
    heads = result.details["per_head"].query("term == 'spearman'").set_index(["layer", "head"])
    assert heads["n_questions"].tolist() == [7, 7, 7, 8, 8, 7]
    assert heads["p_max_t"].isna().tolist() == [True, True, True, False, False, True]
    assert heads["p_value"].notna().all()
    assert "1 chains of the run are not measured" in " ".join(result.warnings)


def test_a_scorer_without_a_profile_has_no_layers(tmp_path: Path, make_run: Make) -> None:
    rng = np.random.default_rng(2)
    run = make_run(tmp_path, [(f"q{number}", attention(rng), rng.permutation(12)) for number in range(8)])
    by_attention, by_score = FAST.analyse(run), RankCorrelation(scorer="surprisal", draws=999, competitors=False).analyse(run)
    assert set(by_score.details) == {"between_questions", "per_chain", "left_out"}
    by_score, by_attention = (
        dataclasses.replace(result, table=result.table.dropna(subset="estimate")) for result in (by_score, by_attention)
    )
    np.testing.assert_allclose(by_score.table["estimate"], -by_attention.table["estimate"])  # in this run: the negative
    assert by_score.provenance["scorers"] == {"surprisal": "Surprisal()"}
    assert by_score.provenance["quantization"] == "nf4"


@pytest.mark.parametrize(
    ("n_questions", "words"),
    [
        (1, "6 of 7 rows: one question has no variation"),
        (3, "3 questions are too few for an interval that leaves out any value"),
        (8, "8 questions are few"),
    ],
)
def test_small_samples_are_warned_of(tmp_path: Path, make_run: Make, n_questions: int, words: str) -> None:
    rng = np.random.default_rng(3)
    run = make_run(tmp_path, [(f"q{number}", attention(rng), rng.permutation(12)) for number in range(n_questions)])
    result = FAST.analyse(run)
    said = " ".join(result.warnings)
    assert words in said
    assert ("80 % power" in said) == (n_questions > 1)
    if n_questions == 1:
        assert result.table[["ci_low", "ci_high", "p_value"]].isna().all(axis=None)
    if n_questions == 3:
        assert result.table[["ci_low", "ci_high"]].dropna().to_numpy().tolist() == [[-1, 1]] * 6
    if n_questions == 8:
        sd = result.details["between_questions"].set_index("term").loc["spearman", "sd"]
        assert f"spearman {1.156035 * sd:.2g}," in said  # 1.156 standard deviations: statsmodels, 8 questions


def test_many_questions_need_no_warning(tmp_path: Path, make_planted_run: Make, make_chains: Make) -> None:
    assert FAST.analyse(make_planted_run(tmp_path, make_chains(20), strength=0.1)).warnings == ()


def test_deletion_in_the_order_of_position_leaves_nothing_given_position(tmp_path: Path, make_run: Make) -> None:
    rng = np.random.default_rng(4)
    result = FAST.analyse(make_run(tmp_path, [(f"q{number}", attention(rng), np.arange(12)) for number in range(5)]))
    assert result.table["n_questions"].tolist() == [5, 0, 5, 0, 0, 5, 0]
    assert result.table["estimate"].notna().tolist() == [True, False, True, False, False, True, False]
    assert "kendall_top_weighted_given_position: position fixes the order" in " ".join(result.warnings)


def test_unknown_scorer_or_strategy_lists_what_there_is(tmp_path: Path, make_run: Make) -> None:
    rng = np.random.default_rng(5)
    run = make_run(tmp_path, [("q", attention(rng), rng.permutation(12))])
    with pytest.raises(MissingError, match="has no scorer 'h2o'; it has answer_attention, surprisal"):
        RankCorrelation(scorer="h2o").analyse(run)
    with pytest.raises(MissingError, match="has no strategy 'random'; it has greedy"):
        RankCorrelation(strategy="random").analyse(run)


def test_without_names_the_only_scorer_and_the_first_strategy_are_taken(
    tmp_path: Path, make_planted_run: Make, make_chains: Make
) -> None:
    run = make_planted_run(tmp_path, make_chains(6), strength=0.5)
    result = RankCorrelation(draws=99).analyse(run)
    named = RankCorrelation(scorer="answer_attention", strategy="greedy", draws=99)
    assert result.config == repr(named)
    pd.testing.assert_frame_equal(result.table, named.analyse(run).table)
    configuration = run.manifest.configuration.model_copy(update={"scorers": {}})
    write_manifest(run.folder, run.manifest.model_copy(update={"configuration": configuration}))
    with pytest.raises(MissingError, match="has no scorer; add one: "):
        RankCorrelation().analyse(Run(run.folder))


def test_a_run_without_a_model_says_where_its_numbers_come_from(tmp_path: Path, make_run: Make) -> None:
    rng = np.random.default_rng(5)
    content = [(f"q{number}", attention(rng), rng.permutation(12)) for number in range(6)]
    provenance = FAST.analyse(make_run(tmp_path, content, imported_from="imported from x")).provenance
    assert provenance["model"] == "none; imported from x"
    assert "dtype" not in provenance


def test_nothing_usable_says_why(tmp_path: Path, make_run: Make) -> None:
    rng = np.random.default_rng(6)
    run = make_run(tmp_path, [("a", attention(rng, 3), [0]), ("b", attention(rng), []), ("c", attention(rng), [])])
    with pytest.raises(AnalysisError, match=r"none of 3 chains can be used \(1 fewer_than_5_tokens, 2 no_deletion\)"):
        FAST.analyse(run)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"confidence": 95}, "confidence=95: expected a share between 0 and 1"),
        ({"confidence": float("nan")}, "confidence=nan"),
        ({"seed": -1}, "seed=-1: expected 0 or more"),
        ({"draws": 10}, "draws=10: a 0.95 interval needs 19 or more"),
    ],
)
def test_wrong_options_are_refused(options: dict[str, float], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        RankCorrelation(**options)


def test_options_can_be_written_in_a_spec() -> None:
    assert load("analysis", "rank_correlation:draws=499,confidence=0.9") == RankCorrelation(draws=499, confidence=0.9)
    with pytest.raises(PluginError, match="draws=3"):
        load("analysis", "rank_correlation:draws=3")
    info = available("analysis")["rank_correlation"]
    assert info.class_name == "RankCorrelation"
    assert "arXiv 2601.03066" in info.source
    with pytest.raises(dataclasses.FrozenInstanceError):
        RankCorrelation().seed = 1  # type: ignore[misc]


ALL = RankCorrelation(draws=999, competitors=False)
SCORERS = ("answer_attention", "surprisal")


@pytest.fixture
def two_scorers(tmp_path: Path, make_run: Make) -> Run:
    """Six questions; in this run surprisal is minus attention."""
    rng = np.random.default_rng(7)
    return make_run(tmp_path / "two", [(f"q{number}", attention(rng), rng.permutation(12)) for number in range(6)])


def test_one_scorer_is_a_table_of_several_with_one_value(two_scorers: Run) -> None:
    together = ALL.analyse(two_scorers)
    columns = list(zip(together.table["scorer"], together.table["term"], strict=True))
    assert columns == [(scorer, term) for scorer in SCORERS for term in ALL_TERMS]
    assert together.config == repr(dataclasses.replace(ALL, strategy="greedy"))
    assert together.provenance["scorers"] == {"answer_attention": "AnswerAttention()", "surprisal": "Surprisal()"}
    for scorer in SCORERS:
        alone = dataclasses.replace(ALL, scorer=scorer).analyse(two_scorers)
        for name, table in {"table": alone.table, **alone.details}.items():
            of_all = together.table if name == "table" else together.details[name]
            found = of_all.query("scorer == @scorer").reset_index(drop=True)
            same = [column for column in table.columns if column != "p_adjusted" or name != "table"]
            pd.testing.assert_frame_equal(found[same], table[same], check_dtype=False)
    assert set(together.details["per_head"]["scorer"]) == {"answer_attention"}


def test_the_family_is_the_scorers_of_one_kind_and_term(two_scorers: Run, add_scorers: Callable[..., Run]) -> None:
    run = add_scorers(two_scorers, {"key_norm": 1, "key_diff": 2, "random": 3, "conditional_surprisal": 4})
    table = ALL.analyse(run).table.dropna(subset="estimate")
    families = {key: set(family["scorer"]) for key, family in table.query("term == 'kendall'").groupby("kind")}
    assert families == {
        "independent signal": {"answer_attention", "key_norm", "key_diff"},
        "own first step": {"conditional_surprisal"},
        "trivial competitor": {"surprisal", "random"},
    }
    for _, family in table.groupby(["kind", "term"]):
        sizes = family["p_value"].sort_values() * np.arange(len(family), 0, -1)  # Holm by hand
        assert sorted(family["p_adjusted"]) == pytest.approx(np.minimum(1, np.maximum.accumulate(sizes)).tolist())


def test_exclusions_are_counted_by_scorer_and_the_most_of_any(tmp_path: Path, make_run: Make) -> None:
    rng = np.random.default_rng(8)
    one_head = attention(rng)
    one_head[1, 2] = 0.25
    run = make_run(
        tmp_path,
        [
            *((f"q{number}", attention(rng), rng.permutation(12)) for number in range(5)),
            ("head", one_head, rng.permutation(12)),
            ("short", attention(rng, 4), rng.permutation(4)),
            ("lost", None, []),
        ],
    )
    result = ALL.analyse(run)
    assert result.exclusions == {"constant_head": 1, "fewer_than_5_tokens": 1, "no_value_within_bins": 6, "not_measured": 1}
    left_out = result.details["left_out"].groupby("scorer")[["reason", "count"]]
    assert {scorer: dict(rows.to_numpy().tolist()) for scorer, rows in left_out} == {
        "answer_attention": {"constant_head": 1, "fewer_than_5_tokens": 1, "no_value_within_bins": 6, "not_measured": 1},
        "surprisal": {"fewer_than_5_tokens": 1, "no_value_within_bins": 6, "not_measured": 1},
    }


def test_a_scorer_that_cannot_be_used_is_named_and_the_others_stand(two_scorers: Run) -> None:
    configuration = two_scorers.manifest.configuration
    more = configuration.model_copy(update={"scorers": {**configuration.scorers, "astrology": "Astrology()"}})
    write_manifest(two_scorers.folder, two_scorers.manifest.model_copy(update={"configuration": more}))
    result = ALL.analyse(Run(two_scorers.folder))
    assert set(result.table["scorer"]) == set(SCORERS)
    assert "astrology: no chain can be used" in result.warnings
    assert result.exclusions == {"no_value_within_bins": 6, "scorer_not_measured": 6}


def test_few_questions_are_mentioned_once_for_all_scorers(two_scorers: Run) -> None:
    result = ALL.analyse(two_scorers)
    (few,) = [text for text in result.warnings if text.startswith("6 questions are few")]
    spreads = result.details["between_questions"]
    for term, spread in spreads[spreads["term"].isin(TERMS)].groupby("term"):
        effects = sorted({f"{effect:.2g}" for effect in spread["detectable_effect"]}, key=float)
        assert f"{term} {' to '.join(effects)}" in few


@pytest.mark.parametrize("analysis", [FAST, ALL], ids=["one scorer", "all scorers"])
def test_where_no_two_questions_differ_no_effect_is_claimed(tmp_path: Path, make_run: Make, analysis: RankCorrelation) -> None:
    received = np.broadcast_to(np.linspace(0.1, 1.2, 12), (2, 3, 12))
    order = np.random.default_rng(9).permutation(12)
    run = make_run(tmp_path, [(f"q{number}", received, order) for number in range(5)])
    result = analysis.analyse(run)
    few = [text for text in result.warnings if text.startswith("5 questions are few")]
    assert few == [
        "5 questions are few: intervals are wide and their coverage approximate. No two of them differ, so how small a mean "
        "they could show is not known"
    ]
    assert "nan" not in " ".join(result.warnings)


def test_effects_of_one_size_are_one_number(tmp_path: Path, make_run: Make) -> None:
    rng = np.random.default_rng(10)
    run = make_run(tmp_path, [(f"q{number}", attention(rng), rng.permutation(12)) for number in range(6)])
    spread = RankCorrelation(draws=999).analyse(run).details["between_questions"]
    one = spread[(spread["term"] == "spearman") & (spread["scorer"] == "surprisal")]
    (text,) = small_sample(pd.concat([one, one.assign(scorer="b")]))
    assert text.endswith(f"is: spearman {one['detectable_effect'].iloc[0]:.2g}")


def test_no_scorer_with_a_usable_chain_says_why(tmp_path: Path, make_run: Make) -> None:
    rng = np.random.default_rng(6)
    run = make_run(tmp_path, [("a", attention(rng, 3), [0]), ("b", attention(rng), [])])
    with pytest.raises(AnalysisError, match=r"none of 2 chains can be used \(1 fewer_than_5_tokens, 1 no_deletion\)"):
        ALL.analyse(run)


@pytest.fixture
def annotated(tmp_path: Path, make_planted_run: Make, make_chains: Make) -> Run:
    """Six questions with two chains of 30 words, a quarter never deleted, labelled in turn with two categories and none."""
    run = make_planted_run(tmp_path / "annotated", make_chains(6, 2), strength=0.4, keep=0.25, seed=11)
    labels = ("SYMBOLIC_MATH", "FUNCTION", None)
    run.write_annotations(
        "rules",
        {
            chain_id: Annotation("Rules()", tuple(labels[(number + place) % 3] for place in range(30)), None)
            for number, chain_id in enumerate(run.measured)
        },
    )
    return Run(run.folder)


def test_competitors_stand_beside_the_scorers_as_a_family_of_their_own(annotated: Run) -> None:
    alone = FAST.analyse(annotated).table
    result = dataclasses.replace(FAST, competitors=True).analyse(annotated)
    kinds = dict(zip(result.table["scorer"], result.table["kind"], strict=True))
    names = ["token position", "token length", "category alone (rules)"]
    assert kinds == {"answer_attention": "independent signal"} | dict.fromkeys(names, "trivial competitor")
    signal = result.table[result.table["kind"] == "independent signal"].reset_index(drop=True)
    pd.testing.assert_frame_equal(signal, alone)
    first, second = result.finding.splitlines()
    assert first == FAST.analyse(annotated).finding
    assert second.startswith("For comparison: the best of 3 trivial competitors, ")
    assert "token frequency: no chain can be used" in result.warnings  # every word stands once in every chain of this run
    assert result.printed is not None
    assert result.printed["scorer"].tolist()[0] == "answer_attention"
    assert len(result.printed) == 4


def test_competitors_know_only_other_questions(annotated: Run) -> None:
    tokens = annotated.tokens()
    tokens["text"] = [" word"[:length] for length in np.random.default_rng(12).integers(2, 6, len(tokens))]
    found = competitors(tokens, strategy="greedy", annotators=["rules"], has_position=False)
    tokens["step"] = np.nan
    for _, rows in tokens.groupby("chain_id"):
        step = rows["deletion_step_greedy"].astype(float).fillna(1000)
        tokens.loc[rows.index, "step"] = step.rank() / len(rows)
    for chain_id, rows in tokens.groupby("chain_id"):
        (question,) = set(rows["question_id"])
        others = tokens[tokens["question_id"] != question]
        assert found["token position"][chain_id].tolist() == list(range(30))
        assert found["token length"][chain_id].tolist() == [len(text.strip()) for text in rows["text"]]
        frequency = [(others["text"] == text).mean() for text in rows["text"]]
        assert found["token frequency"][chain_id].tolist() == pytest.approx(frequency)
        by_chain = others.groupby(["question_id", "category_rules", "chain_id"])["step"].mean()
        of_kind = by_chain.groupby(["question_id", "category_rules"]).mean().groupby("category_rules").mean()
        of_all = others.groupby(["question_id", "chain_id"])["step"].mean().groupby("question_id").mean().mean()
        expected = [of_all if pd.isna(kind) else of_kind[kind] for kind in rows["category_rules"]]
        assert found["category alone (rules)"][chain_id].tolist() == pytest.approx(expected)


def test_a_scorer_of_position_replaces_the_competitor_and_one_question_has_two(
    annotated: Run, add_scorers: Callable[..., Run], tmp_path: Path, make_planted_run: Make, make_chains: Make
) -> None:
    table = RankCorrelation(draws=99).analyse(add_scorers(annotated, {"recency": 1})).table
    assert set(table["scorer"]) >= {"recency", "token length"}
    assert "token position" not in set(table["scorer"])
    one = RankCorrelation(draws=99).analyse(make_planted_run(tmp_path / "one", make_chains(1, 2)))
    assert set(one.table["scorer"]) == {"answer_attention", "token position", "token length"}


def test_never_deleted_tokens_have_a_table_of_their_own(annotated: Run) -> None:
    found = FAST.analyse(annotated).details["censored"].set_index("term")
    areas = []
    for chain_id in annotated.measured:
        scores = annotated.token_scores(chain_id, "answer_attention").score  # type: ignore[union-attr]
        kept = np.isnan(annotated.path(chain_id, "greedy").deletion_step)  # type: ignore[union-attr]
        area = mannwhitneyu(scores[kept], scores[~kept]).statistic / (kept.sum() * (~kept).sum())
        areas.append((annotated.chains[chain_id].question_id, area - 0.5))
    expected = pd.DataFrame(areas).groupby(0)[1].mean().mean()
    raw = found.loc["never deleted - deleted"]
    assert raw["estimate"] == pytest.approx(expected)
    assert raw["estimate"] > 0.1  # in this run scores follow the order of deletion
    assert raw["ci_low"] < raw["estimate"] < raw["ci_high"]
    assert found["n_chains"].tolist() == [12, 12]
    assert found.loc["never deleted - deleted given position", "p_value"] <= 0.05


def test_without_censored_tokens_there_is_no_such_table(tmp_path: Path, make_planted_run: Make, make_chains: Make) -> None:
    assert "censored" not in FAST.analyse(make_planted_run(tmp_path, make_chains(4))).details


def test_steps_are_averaged_and_correlated(tmp_path: Path, make_planted_run: Make) -> None:
    texts = ["One is two. " * 8, "A b c d. E f. G h i. J k. L m n o p q. R s.", "One sentence only."]
    chains = [
        ReasoningChain(chain_id=f"c{n}", question_id=f"q{n}", question=f"Q{n}", reasoning=text, answer="A")
        for n, text in enumerate(texts)
    ]
    run = make_planted_run(tmp_path, chains, strength=0.5, keep=0.2, seed=5)
    result = dataclasses.replace(FAST, at="step").analyse(run)
    assert result.exclusions["fewer_than_5_steps"] == 1
    per_chain = result.details["per_chain"].set_index("chain_id")
    assert per_chain["n_correlated"].to_dict() == {"c0": 8, "c1": 6}
    for chain_id, rows in run.tokens().groupby("chain_id"):
        if chain_id == "c2":
            continue
        ranks = rows["deletion_step_greedy"].astype(float).fillna(1000).rank()
        by_step = rows.assign(rank=ranks).groupby("step_sentences")[["score_answer_attention", "rank"]].mean()
        expected = spearmanr(by_step["score_answer_attention"], by_step["rank"]).statistic
        assert per_chain.loc[chain_id, "spearman"] == pytest.approx(expected)
    assert "segmenter='sentences'" in result.config
    assert result.provenance["segmenter"] == run.manifest.configuration.segmenters["sentences"]
    assert "steps with a higher" in result.finding


def test_an_unknown_segmenter_or_too_few_steps_are_a_clear_error(annotated: Run) -> None:
    with pytest.raises(MissingError, match="has no segmenter 'poems'; it has sentences"):
        dataclasses.replace(FAST, at="step", segmenter="poems").analyse(annotated)
    with pytest.raises(AnalysisError, match=r"none of 12 chains can be used \(12 fewer_than_5_steps\)"):
        dataclasses.replace(FAST, at="step").analyse(annotated)


def test_kinds_of_scores_are_read_from_their_files_and_a_wrong_one_is_named(tmp_path: Path) -> None:
    assert [kind_of(label) for label in ("recency", "surprisal:token_budget=5", "conditional_surprisal", "h2o", "nobodys")] == [
        "trivial competitor", "trivial competitor", "own first step", "independent signal", "independent signal"
    ]  # fmt: skip
    (tmp_path / "s.py").write_text(
        "from dataclasses import dataclass\n\n@dataclass(frozen=True)\nclass S:\n    kind_of_score = 'joke'\n"
    )
    with pytest.raises(PluginError, match=r"s\.py, line 5: kind_of_score is 'joke'; write one of independent signal, trivial"):
        read_plugins(tmp_path / "s.py")
