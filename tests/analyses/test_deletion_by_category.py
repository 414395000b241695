"""Which kinds of token go first: from run folder to result."""

from collections.abc import Callable
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from statsmodels.stats.multitest import multipletests

from analyses import Analysis
from analyses._deletion_by_category.evidence import chain_values, relative_step
from analyses._schemes import SCHEMES as ALL_SCHEMES
from analyses.annotator_agreement import AnnotatorAgreement
from analyses.deletion_by_category import DeletionByCategory
from reasoning_anatomy.categories import CATEGORIES, LINGUISTIC_SCAFFOLDING, PROBLEM_CONTENT, SCHEMES, SYMBOLIC_COMPUTATION
from reasoning_anatomy.errors import AnalysisError, MissingError
from reasoning_anatomy.plugins import load
from reasoning_anatomy.run.folder import Run
from reasoning_anatomy.run.manifest import write_manifest
from reasoning_anatomy.types import RESULT_COLUMNS, AnalysisResult, Annotation, ReasoningChain

FAST = DeletionByCategory(draws=499)
CLASSES = f"{SYMBOLIC_COMPUTATION} - {LINGUISTIC_SCAFFOLDING}"
Make = Callable[..., Run]
Choose = Callable[[pd.DataFrame, np.random.Generator], np.ndarray]


def by_chance(rows: pd.DataFrame, rng: np.random.Generator) -> np.ndarray:
    return rng.integers(0, 6, len(rows))


def mathematics_late(rows: pd.DataFrame, rng: np.random.Generator) -> np.ndarray:
    """Tokens of the last third are mathematics, mostly; those that were never deleted are among them."""
    is_late = rows["deletion_step_greedy"].fillna(len(rows)).to_numpy() > 0.6 * len(rows)
    return np.where(rng.random(len(rows)) < 0.3, rng.integers(0, 6, len(rows)), np.where(is_late, 0, 5))


def annotate(run: Run, choose: Choose = by_chance, *, name: str = "rules", seed: int = 0) -> Run:
    """Label every token; the labels depend on the deletions as ``choose`` says, so that the truth is known."""
    rng = np.random.default_rng(seed)
    labels = {
        str(chain_id): Annotation("Planted()", tuple(CATEGORIES[place] if place >= 0 else None for place in choose(rows, rng)))
        for chain_id, rows in run.tokens().groupby("chain_id", sort=False)
    }
    run.write_annotations(name, labels)
    return run


def add_strategy(run: Run, name: str, step: Callable[[pd.DataFrame], "pd.Series[int]"]) -> Run:
    """Add a strategy whose deletion steps are a function of the table of tokens."""
    path = run.folder / "tokens.parquet"
    tokens = pd.read_parquet(path)
    tokens[f"deletion_step_{name}"] = step(tokens).astype("Int64")
    tokens.to_parquet(path)
    configuration = run.manifest.configuration
    more = configuration.model_copy(update={"strategies": {**configuration.strategies, name: f"{name.title()}()"}})
    write_manifest(run.folder, run.manifest.model_copy(update={"configuration": more}))
    return Run(run.folder)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, make_planted_run: Make, make_chains: Make) -> Run:
    return annotate(make_planted_run(tmp_path_factory.mktemp("run"), make_chains(10, 2, 40), keep=0.25, seed=1))


@pytest.fixture(scope="module")
def result(run: Run) -> AnalysisResult:
    return FAST.analyse(run)


def test_tokens_that_outlived_all_deletions_share_the_ranks_that_are_left() -> None:
    assert relative_step(np.array([2, np.nan, 1, np.nan, 3, np.nan])).tolist() == pytest.approx(
        [2 / 6, 5 / 6, 1 / 6, 5 / 6, 3 / 6, 5 / 6]  # (4 + 5 + 6) / 3 = 5
    )
    for kept in (0, 3, 8):
        step = np.where(np.arange(1, 11) > 10 - kept, np.nan, np.arange(1, 11))
        assert relative_step(step).mean() == pytest.approx(11 / 20)


def test_a_category_that_survives_does_not_look_early() -> None:
    step = np.array([1, 2, np.nan, np.nan, np.nan, 3, 4, 5, 6, 7])
    member = np.zeros((10, 6), dtype=bool)
    member[:5, 0] = member[5:, 5] = True
    outcome = relative_step(step)
    scheme = next(scheme for scheme in ALL_SCHEMES if scheme.name == "classes")
    raw = chain_values(outcome, member, scheme)[0]
    assert raw.tolist() == pytest.approx([0.6, 0.5, 0.1])  # (1 + 2 + 9 + 9 + 9) / 50 and (3 + ... + 7) / 50
    left_out = np.nanmean(step[:5]) / 10, np.nanmean(step[5:]) / 10
    assert left_out[0] < left_out[1], "the means of the deleted alone are 0.15 and 0.5"


def test_every_estimate_is_a_mean_of_chain_then_question(run: Run, result: AnalysisResult) -> None:
    tokens = run.tokens()
    groups = tokens.groupby("chain_id", sort=False)
    n = groups["position"].transform("size")
    left = tokens["deletion_step_greedy"].isna()
    n_left = left.groupby(tokens["chain_id"], sort=False).transform("sum")
    tokens["step"] = tokens["deletion_step_greedy"].astype("float").where(~left, n - (n_left - 1) / 2) / n
    found = result.table.set_index(["scheme", "term"])
    pairs = result.details["between_categories"].set_index("term")
    for scheme, names in SCHEMES.items():
        tokens["group"] = tokens["category_rules"].map(dict(zip(CATEGORIES, names, strict=True)))
        chain = tokens.pivot_table(index=["question_id", "chain_id"], columns="group", values="step", aggfunc="mean")
        for group in chain:
            expected = chain[group].groupby("question_id").mean().mean()
            shown = found.loc[(scheme, group)]
            assert shown["estimate"] == pytest.approx(expected, abs=1e-12)
            assert np.isnan(shown["p_value"])
            sizes = shown[["n_questions", "n_chains", "n_tokens"]].tolist()
            assert sizes == [10, chain[group].notna().sum(), (tokens["group"] == group).sum()]
        for first, second in combinations(dict.fromkeys(names), 2):
            difference = (chain[first] - chain[second]).groupby("question_id").mean()
            name = f"{first} - {second}"
            shown = pairs.loc[name] if scheme == "categories" else found.loc[(scheme, name)]
            assert shown["estimate"] == pytest.approx(difference.mean(), abs=1e-12)
            assert shown["ci_low"] <= shown["estimate"] <= shown["ci_high"]


def test_differences_are_corrected_within_their_scheme(result: AnalysisResult) -> None:
    pairs = result.details["between_categories"]
    for part, family in ((pairs.iloc[:15], 15), (pairs.iloc[15:], 15)):
        assert len(part) == family
        np.testing.assert_allclose(part["p_adjusted"], multipletests(part["p_value"], method="holm")[1], rtol=1e-12)
    classes = result.table[(result.table["scheme"] == "classes") & result.table["p_value"].notna()]
    assert len(classes) == 2
    assert classes["p_adjusted"].tolist() == classes["p_value"].tolist(), "one difference is a family of one"
    apart = result.table[(result.table["scheme"] == "classes_entities_apart") & result.table["p_value"].notna()]
    for part in (apart.iloc[:3], apart.iloc[3:]):
        np.testing.assert_allclose(part["p_adjusted"], multipletests(part["p_value"], method="holm")[1], rtol=1e-12)


def test_result_has_the_promised_shape(run: Run, result: AnalysisResult) -> None:
    assert tuple(result.table.columns) == ("annotator", "strategy", "scheme", *RESULT_COLUMNS)
    by_scheme = {scheme: rows["term"].tolist() for scheme, rows in result.table.groupby("scheme", sort=False)}
    assert list(by_scheme) == ["categories", "classes", "classes_entities_apart"]
    assert by_scheme["categories"] == [*CATEGORIES, *(f"{category} given position" for category in CATEGORIES)]
    assert by_scheme["classes"][2:] == [
        CLASSES,
        *(f"{term} given position" for term in (SYMBOLIC_COMPUTATION, LINGUISTIC_SCAFFOLDING, CLASSES)),
    ]
    assert {SYMBOLIC_COMPUTATION, LINGUISTIC_SCAFFOLDING, PROBLEM_CONTENT} < set(by_scheme["classes_entities_apart"])
    assert set(result.details) == {"between_categories", "between_questions", "per_question", "censored", "left_out"}
    assert all(list(detail.columns[:2]) == ["annotator", "strategy"] for detail in result.details.values())
    assert result.config == repr(DeletionByCategory(annotator="rules", strategy="greedy", draws=499))
    assert result.provenance["annotators"] == {"rules": "Planted()"}
    assert result.provenance["strategies"] == {"greedy": "Greedy()"}
    assert set(result.provenance["versions"]) == {"reasoning-anatomy", "numpy", "pandas", "scipy"}
    run.write_analysis(result)
    back = run.analysis("deletion_by_category")
    pd.testing.assert_frame_equal(back.table, result.table, check_dtype=False, check_exact=True)
    assert back.finding == result.finding


def test_details_add_up(run: Run, result: AnalysisResult) -> None:
    tokens = run.tokens()
    censored = result.details["censored"].set_index("category")
    for category, rows in tokens.groupby("category_rules"):
        counts = [rows["chain_id"].nunique(), len(rows), rows["deletion_step_greedy"].isna().sum()]
        assert censored.loc[category, ["n_chains", "n_tokens", "n_censored"]].tolist() == counts
    assert censored["n_censored"].sum() == 20 * 10
    per_question = result.details["per_question"].groupby(["scheme", "term"])["estimate"].mean()
    means = result.table[result.table["p_value"].isna()].set_index(["scheme", "term"])["estimate"]
    for key, estimate in means.items():
        assert per_question[key] == pytest.approx(estimate, abs=1e-12)
    spread = result.details["between_questions"].set_index(["scheme", "term"])
    assert spread.loc[("classes", CLASSES), "mean"] == pytest.approx(
        result.table.set_index(["scheme", "term"]).loc[("classes", CLASSES), "estimate"]
    )


def test_a_difference_is_found_raw_and_given_position(tmp_path: Path, make_planted_run: Make, make_chains: Make) -> None:
    run = annotate(make_planted_run(tmp_path, make_chains(12, 2, 40), keep=0.2), mathematics_late)
    result = FAST.analyse(run)
    rows = result.table[result.table["scheme"] == "classes"].set_index("term")
    for term in (CLASSES, f"{CLASSES} given position"):
        assert rows.loc[term, "ci_low"] > 0.1
        assert rows.loc[term, "p_value"] == 0.002
    assert result.finding.startswith(
        "Clear: symbolic computation is deleted later than linguistic scaffolding by greedy (categories by rules)"
    )


def test_more_chains_on_a_question_are_not_more_questions(tmp_path: Path, make_planted_run: Make) -> None:
    def chains(copies: int) -> list[ReasoningChain]:
        text = " ".join(f"w{word}" for word in range(40))
        return [
            ReasoningChain(chain_id=f"{copy}-{q}", question_id=f"q{q}", question="?", reasoning=text, answer="5")
            for copy in range(copies)
            for q in range(6)
        ]

    tables = []
    for copies in (1, 3):
        run = make_planted_run(tmp_path / str(copies), chains(copies))
        path = run.folder / "tokens.parquet"
        tokens = pd.read_parquet(path)
        orders = {f"q{q}": np.random.default_rng(q).permutation(40) + 1 for q in range(6)}
        parts = [
            rows.assign(deletion_step_greedy=orders[question])
            for (question, _), rows in tokens.groupby(["question_id", "chain_id"])
        ]
        pd.concat(parts).astype({"deletion_step_greedy": "Int64"}).to_parquet(path)
        places = np.random.default_rng(9).integers(0, 6, 40)
        tables.append(FAST.analyse(annotate(run, lambda rows, rng, places=places: places)).table)
    same = [column for column in tables[0].columns if column not in ("n_chains", "n_tokens")]
    pd.testing.assert_frame_equal(tables[0][same], tables[1][same], rtol=1e-9)
    assert (tables[1]["n_chains"] == 3 * tables[0]["n_chains"]).all()


def test_all_annotators_and_strategies_stand_side_by_side_with_the_numbers_they_have_alone(
    tmp_path: Path, make_planted_run: Make, make_chains: Make
) -> None:
    run = make_planted_run(tmp_path, make_chains(6, 1, 30), keep=0.1)
    run = add_strategy(run, "forward", lambda tokens: tokens["position"] + 1)
    annotate(annotate(run, name="anna", seed=1), name="bert", seed=2)
    together = FAST.analyse(run)
    labels = [("anna", "greedy"), ("anna", "forward"), ("bert", "greedy"), ("bert", "forward")]
    assert list(dict.fromkeys(zip(together.table["annotator"], together.table["strategy"], strict=True))) == labels
    for annotator, strategy in labels:
        alone = DeletionByCategory(annotator=annotator, strategy=strategy, draws=499).analyse(run)
        for name, table in {"table": alone.table, **alone.details}.items():
            of_all = together.table if name == "table" else together.details[name]
            found = of_all.query("annotator == @annotator and strategy == @strategy").reset_index(drop=True)
            pd.testing.assert_frame_equal(found, table, check_dtype=False)
    assert "by greedy (categories by anna)" in together.finding
    forward = together.table.query("strategy == 'forward' and term.str.endswith('given position')")
    assert (forward["n_questions"] == 0).all(), "position alone fixes this order"
    assert any("there is nothing to estimate" in warning for warning in together.warnings)


def test_what_cannot_be_used_is_counted_by_reason(tmp_path: Path, make_planted_run: Make, make_chains: Make) -> None:
    chains = make_chains(6, 1, 30)
    short = chains[0].model_copy(update={"chain_id": "short", "reasoning": "one two three"})
    run = make_planted_run(tmp_path, [*chains, short], keep=0)
    path = run.folder / "tokens.parquet"
    tokens = pd.read_parquet(path)
    tokens["deletion_step_greedy"] = tokens["deletion_step_greedy"].where(tokens["chain_id"] != "q1-0")
    tokens[tokens["chain_id"] != "q0-0"].to_parquet(path)  # as if it were not measured

    def choose(rows: pd.DataFrame, rng: np.random.Generator) -> np.ndarray:
        places = by_chance(rows, rng)
        places[: 30 if rows["chain_id"].iloc[0] == "q2-0" else 3] = -1
        return places

    result = FAST.analyse(annotate(run, choose))
    assert result.exclusions == {
        "fewer_than_5_tokens": 1, "no_deletion": 1, "not_annotated": 1, "not_measured": 1, "tokens_without_category": 9,
    }  # fmt: skip
    assert set(result.table["n_chains"]) <= {0, 1, 2, 3}
    assert result.table["n_chains"].max() == 3
    assert any(warning.startswith("1 chains of the run are not measured") for warning in result.warnings)
    left_out = result.details["left_out"].set_index("reason")["count"].to_dict()
    assert left_out == {"fewer_than_5_tokens": 1, "no_deletion": 1, "not_annotated": 1, "tokens_without_category": 9}


@pytest.mark.parametrize("analysis", [FAST, AnnotatorAgreement(draws=99)], ids=lambda one: type(one).__name__)
def test_chains_in_other_languages_are_a_caveat_of_every_analysis_by_category(
    tmp_path: Path, make_planted_run: Make, make_chains: Make, analysis: Analysis
) -> None:
    chains = make_chains(6, 1, 30)
    caveat = "2 of 6 chains (33\N{NO-BREAK SPACE}%) are not in English; the categories are made for English"
    for name, foreign in (("all", False), ("some", True)):
        chinese = [chain.model_copy(update={"reasoning": " ".join(["四个"] * 30)}) for chain in chains[:2]]
        run = make_planted_run(tmp_path / name, [*chinese, *chains[2:]] if foreign else chains)
        result = analysis.analyse(annotate(annotate(run, name="anna", seed=1), name="bert", seed=2))
        assert [warning.startswith(caveat) for warning in result.warnings].count(True) == foreign
        assert [" English" in warning for warning in result.warnings].count(True) == foreign


def test_categories_of_another_scheme_are_not_guessed(tmp_path: Path, make_planted_run: Make, make_chains: Make) -> None:
    run = make_planted_run(tmp_path, make_chains(3, 1, 20))
    run.write_annotations("nouns", {chain_id: Annotation("Nouns()", ("NOUN",) * 20) for chain_id in run.chains})
    with pytest.raises(AnalysisError, match=r"none of 3 chains can be used \(3 not_annotated\)"):
        FAST.analyse(run)
    annotate(run)
    result = FAST.analyse(run)
    assert set(result.table["annotator"]) == {"rules"}
    assert "categories by nouns, greedy: no chain can be used" in result.warnings


def test_a_strategy_that_is_not_measured_yet_is_named(tmp_path: Path, make_planted_run: Make, make_chains: Make) -> None:
    run = annotate(make_planted_run(tmp_path, make_chains(4, 1, 20)))
    configuration = run.manifest.configuration
    more = configuration.model_copy(update={"strategies": {**configuration.strategies, "later": "Later()"}})
    write_manifest(run.folder, run.manifest.model_copy(update={"configuration": more}))
    result = FAST.analyse(Run(run.folder))
    assert "categories by rules, later: no chain can be used" in result.warnings
    assert result.exclusions["strategy_not_measured"] == 4


@pytest.mark.parametrize(
    ("n_questions", "words"),
    [
        (1, "one question has no variation between questions"),
        (3, "3 questions are too few for an interval that leaves out any value"),
        (8, "8 questions are few: intervals are wide"),
    ],
)
def test_small_samples_are_warned_of(
    tmp_path: Path, make_planted_run: Make, make_chains: Make, n_questions: int, words: str
) -> None:
    result = FAST.analyse(annotate(make_planted_run(tmp_path, make_chains(n_questions, 1, 60))))
    said = " ".join(result.warnings)
    assert words in said
    difference = result.details["between_questions"].query("scheme == 'classes' and term == @CLASSES").iloc[0]
    if n_questions == 8:
        assert f"{CLASSES} {1.156035 * difference['sd']:.2g}," in said  # 1.156 standard deviations: statsmodels, 8 questions
    if n_questions == 3:
        rows = result.table[(result.table["term"] == CLASSES) & (result.table["scheme"] == "classes")]
        assert rows[["ci_low", "ci_high"]].to_numpy().tolist() == [[-1, 1]]
        assert result.table.loc[0, ["ci_low", "ci_high"]].tolist() == [0, 1]


def test_what_is_missing_is_named_with_what_there_is(tmp_path: Path, make_planted_run: Make, make_chains: Make) -> None:
    run = make_planted_run(tmp_path, make_chains(3, 1, 20))
    with pytest.raises(MissingError, match="has no annotator; add one: reasoning-anatomy annotate"):
        FAST.analyse(run)
    annotate(run)
    with pytest.raises(MissingError, match="has no annotator 'anna'; it has rules"):
        DeletionByCategory(annotator="anna").analyse(run)
    with pytest.raises(MissingError, match="has no strategy 'random'; it has greedy"):
        DeletionByCategory(strategy="random").analyse(run)


@pytest.mark.parametrize(
    ("options", "words"), [({"confidence": 95}, "confidence=95: expected a share"), ({"draws": 3}, "interval needs 19 or more")]
)
def test_wrong_options_are_refused(options: dict[str, float], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        DeletionByCategory(**options)


def test_the_order_of_options_is_what_is_read_first() -> None:
    analysis = load("analysis", "deletion_by_category:strategy=greedy,seed=7")
    assert repr(analysis) == "DeletionByCategory(annotator=None, strategy='greedy', draws=9999, confidence=0.95, seed=7)"
