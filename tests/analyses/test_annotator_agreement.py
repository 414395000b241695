"""Agreement of annotators: against scikit-learn, a published example, plain loops, and by simulation."""

from collections.abc import Callable
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import cohen_kappa_score, f1_score

from analyses._statistics.agreement import (
    MISSING,
    cohen_kappa,
    coincidences,
    confusion,
    f1,
    krippendorff_alpha,
    merged,
    observed_agreement,
)
from analyses._statistics.questions import pseudo_values
from analyses.annotator_agreement import AnnotatorAgreement
from benchmarks._validity.annotator_agreement import coverage
from reasoning_anatomy.categories import CATEGORIES, SCHEMES
from reasoning_anatomy.errors import AnalysisError, MissingError
from reasoning_anatomy.plugins import label, load
from reasoning_anatomy.run.folder import Run, open_run
from reasoning_anatomy.run.manifest import Configuration
from reasoning_anatomy.run.writer import begin_run
from reasoning_anatomy.types import RESULT_COLUMNS, Annotation, EncodedChain, ReasoningChain

_ = MISSING
PUBLISHED = np.array(  # Krippendorff (2011), section C: 4 observers, 12 units, values 1..5, nominal alpha 0.743
    [
        [1, 2, 3, 3, 2, 1, 4, 1, 2, _, _, _],
        [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, _, 3],
        [_, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, _],
        [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, _],
    ]
)
Make = Callable[..., Run]


def random_labels(rng: np.random.Generator, n_annotators: int, n: int, *, missing: float = 0.0, k: int = 6) -> np.ndarray:
    truth = rng.integers(0, k, n)
    labels = np.where(rng.random((n_annotators, n)) < 0.3, rng.integers(0, k, (n_annotators, n)), truth)
    return np.where(rng.random(labels.shape) < missing, MISSING, labels)


def alpha_by_pairs(labels: np.ndarray) -> float:
    """Krippendorff's alpha from its definition: disagreement within units over disagreement between any two labels."""
    units = [unit[unit != MISSING] for unit in labels.T if (unit != MISSING).sum() > 1]
    values = np.concatenate(units)
    n = len(values)
    within = sum(2 * sum(a != b for a, b in combinations(unit, 2)) / (len(unit) - 1) for unit in units) / n
    between = 2 * sum(a != b for a, b in combinations(values, 2)) / (n * (n - 1))
    return 1 - within / between


def test_alpha_of_the_published_example() -> None:
    counts = coincidences(PUBLISHED, 6)[1:, 1:]
    # the coincidence matrix as printed there; the twelfth unit has one value and pairs with nothing
    assert np.diag(counts) == pytest.approx([7, 10, 8, 4, 3])
    np.testing.assert_allclose(counts, [[7, 4/3, 1/3, 1/3, 0], [4/3, 10, 4/3, 1/3, 0], [1/3, 4/3, 8, 1/3, 0],
                                        [1/3, 1/3, 1/3, 4, 0], [0, 0, 0, 0, 3]])  # fmt: skip
    assert float(krippendorff_alpha(counts)) == pytest.approx(0.743, abs=5e-4)
    assert float(krippendorff_alpha(counts)) == pytest.approx(alpha_by_pairs(PUBLISHED), abs=1e-12)


@pytest.mark.parametrize("n_annotators", [2, 3, 5])
@pytest.mark.parametrize("missing", [0.0, 0.4])
def test_alpha_is_its_definition(n_annotators: int, missing: float) -> None:
    labels = random_labels(np.random.default_rng(n_annotators), n_annotators, 60, missing=missing)
    assert float(krippendorff_alpha(coincidences(labels, 6))) == pytest.approx(alpha_by_pairs(labels), abs=1e-12)


@pytest.mark.parametrize("seed", range(5))
def test_kappa_and_f1_are_those_of_scikit_learn(seed: int) -> None:
    first, second = random_labels(np.random.default_rng(seed), 2, 80)
    counts = confusion(first, second, 6)
    assert float(cohen_kappa(counts)) == pytest.approx(cohen_kappa_score(first, second), abs=1e-12)
    assert f1(counts).tolist() == pytest.approx(f1_score(first, second, average=None), abs=1e-12)
    assert float(observed_agreement(counts)) == pytest.approx((first == second).mean(), abs=1e-12)


def test_two_annotators_without_missing_labels_have_an_alpha_close_to_kappa() -> None:
    first, second = random_labels(np.random.default_rng(0), 2, 20_000)
    kappa, alpha = cohen_kappa(confusion(first, second, 6)), krippendorff_alpha(coincidences(np.stack([first, second]), 6))
    assert float(alpha) == pytest.approx(float(kappa), abs=1e-4)


@pytest.mark.parametrize("groups", [[0, 0, 1, 1, 1, 1], [0, 0, 1, 1, 2, 1], [0, 1, 2, 3, 4, 5]])
def test_merging_counts_is_merging_labels(groups: list[int]) -> None:
    labels = random_labels(np.random.default_rng(1), 3, 50, missing=0.2)
    places = np.array(groups)
    relabelled = np.where(labels == MISSING, MISSING, places[labels])
    k = max(groups) + 1
    np.testing.assert_allclose(merged(coincidences(labels, 6), places), coincidences(relabelled, k), atol=1e-12)
    np.testing.assert_allclose(merged(confusion(*labels[:2], 6), places), confusion(*relabelled[:2], k))


def test_one_label_alone_has_no_agreement_beyond_chance() -> None:
    same = np.zeros(5, dtype=int)
    assert np.isnan(cohen_kappa(confusion(same, same, 6)))
    assert np.isnan(krippendorff_alpha(coincidences(np.stack([same, same]), 6)))
    assert float(observed_agreement(confusion(same, same, 6))) == 1
    assert f1(confusion(same, same, 6)).tolist() == pytest.approx([1, *[np.nan] * 5], nan_ok=True)


def test_the_jackknife_leaves_a_mean_as_it_is() -> None:
    values = np.random.default_rng(0).random((7, 2))
    sums = np.stack([values, np.ones_like(values)], axis=-1)  # (questions, columns, sum and count)
    np.testing.assert_allclose(pseudo_values(sums, lambda total: total[..., 0] / total[..., 1]), values)


def test_the_jackknife_of_kappa_is_a_plain_loop() -> None:
    rng = np.random.default_rng(2)
    counts = np.stack([confusion(*random_labels(rng, 2, int(n)), 6) for n in rng.integers(20, 60, 9)])
    values = pseudo_values(counts, lambda total: cohen_kappa(total)[:, None])[:, 0]
    whole = float(cohen_kappa(counts.sum(axis=0)))
    without = np.array([float(cohen_kappa(np.delete(counts, index, axis=0).sum(axis=0))) for index in range(9)])
    assert values.mean() == pytest.approx(whole, abs=1e-12)
    assert values.std(ddof=1) / 3 == pytest.approx(np.sqrt(8 / 9 * ((without - without.mean()) ** 2).sum()), rel=1e-12)


# Of 1000 samples each, with another seed: the numbers of docs/statistics.md. A test draws 200.
@pytest.mark.parametrize(
    ("n_questions", "error", "rate"), [(8, 0.03, 0.945), (8, 0.2, 0.956), (30, 0.03, 0.953), (30, 0.2, 0.946)]
)
def test_intervals_hold_the_true_kappa(n_questions: int, error: float, rate: float) -> None:
    assert coverage(n_questions, error, 200, seed=5)["kappa"] == pytest.approx(rate, abs=3 * np.sqrt(0.05 * 0.95 / 200))


TEXT = "So Tom has 5 + 3 = 8 pens . Then he"
WORDS = TEXT.split()


@pytest.fixture
def run(tmp_path: Path, make_planted_run: Make) -> Run:
    """Six questions with two chains each; three annotators, of whom the last has labelled half."""
    chains = [
        ReasoningChain(chain_id=f"q{q}-{c}", question_id=f"q{q}", question="?", reasoning=TEXT, answer="8")
        for q in range(6)
        for c in range(2)
    ]
    run = make_planted_run(tmp_path / "run", chains)
    rng = np.random.default_rng(3)
    for number, name in enumerate(("anna", "bert", "cleo")):
        labels = {}
        for index, chain in enumerate(chains):
            truth = np.arange(len(WORDS)) % 6
            places = np.where(rng.random(len(WORDS)) < 0.1 * (number + 1), rng.integers(0, 6, len(WORDS)), truth)
            category = tuple(CATEGORIES[place] for place in places)
            labels[chain.chain_id] = Annotation(
                f"Random({name!r})", category if number < 2 or index < 6 else (None,) * len(WORDS)
            )
        run.write_annotations(name, labels)
    return run


def codes(run: Run, name: str) -> np.ndarray:
    column = run.tokens()[f"category_{name}"]
    return np.array([CATEGORIES.index(value) if isinstance(value, str) else MISSING for value in column])


def test_the_table_is_that_of_scikit_learn_and_the_definition(run: Run) -> None:
    result = AnnotatorAgreement(draws=99).analyse(run)
    assert tuple(result.table.columns) == ("annotators", *RESULT_COLUMNS)
    table = result.table.set_index(["annotators", "term"])
    labels = np.stack([codes(run, name) for name in ("anna", "bert", "cleo")])
    assert len(table) == 3 + 3 * 6
    for name, names in SCHEMES.items():
        groups = np.array([sorted(set(names)).index(group) for group in names])
        by_group = np.where(labels == MISSING, MISSING, groups[labels])
        assert table.loc[("anna, bert, cleo", f"alpha_{name}"), "estimate"] == pytest.approx(
            alpha_by_pairs(by_group), abs=1e-12
        )
        for (a, first), (b, second) in combinations(enumerate(("anna", "bert", "cleo")), 2):
            both = (labels[[a, b]] != MISSING).all(axis=0)
            pair = by_group[[a, b]][:, both]
            both_names = f"{first}, {second}"
            kappa = table.loc[(both_names, f"kappa_{name}"), "estimate"]
            assert kappa == pytest.approx(cohen_kappa_score(*pair), abs=1e-12)
            shown = table.loc[(both_names, f"agreement_{name}")]
            assert shown["estimate"] == pytest.approx((pair[0] == pair[1]).mean(), abs=1e-12)
            half = 3 if second == "cleo" else 6
            assert shown[["n_questions", "n_chains", "n_tokens"]].tolist() == [half, 2 * half, 2 * half * len(WORDS)]
    intervals = table[table["ci_low"].notna()]
    assert (intervals["ci_low"] <= intervals["estimate"]).all()
    assert (intervals["ci_high"] >= intervals["estimate"]).all()
    assert table["p_value"].isna().all()


def test_details_add_up(run: Run) -> None:
    result = AnnotatorAgreement(annotators=("bert", "anna"), draws=99).analyse(run)
    details = result.details
    assert details["confusion"]["n_tokens"].sum() == 12 * len(WORDS)
    assert details["per_chain"]["n_tokens"].tolist() == [len(WORDS)] * 12
    expected = f1_score(codes(run, "anna"), codes(run, "bert"), average=None)
    assert details["per_category"]["f1"].tolist() == pytest.approx(expected.tolist(), abs=1e-12)
    row = details["confusion"].query("category_a == 'FUNCTION' and category_b == 'SYMBOLIC_MATH'").iloc[0]
    assert row["n_tokens"] == ((codes(run, "bert") == 5) & (codes(run, "anna") == 0)).sum()
    counts = details["per_annotator"].set_index(["annotator", "category"])["n_tokens"]
    assert counts["anna", "ENTITY_NAME"] == (codes(run, "anna") == 4).sum()
    assert result.config == "AnnotatorAgreement(annotators=('bert', 'anna'), draws=99, confidence=0.95, seed=0)"
    assert result.provenance["annotators"] == {"bert": "Random('bert')", "anna": "Random('anna')"}
    run.write_analysis(result)
    pd.testing.assert_frame_equal(run.analysis("annotator_agreement").table, result.table, check_dtype=False)


def test_an_annotator_agrees_with_itself(run: Run) -> None:
    labels = run.tokens()
    same = {str(i): Annotation("Copy()", tuple(rows)) for i, rows in labels.groupby("chain_id", sort=False)["category_anna"]}
    run.write_annotations("copy", same)
    table = AnnotatorAgreement(annotators=("anna", "copy"), draws=99).analyse(run).table
    assert table["estimate"].tolist() == pytest.approx([1.0] * 9)
    assert table["ci_low"].isna().all()


def test_more_chains_that_say_the_same_are_not_more_questions(tmp_path: Path, make_planted_run: Make) -> None:
    widths = []
    for copies in (1, 4):
        rng = np.random.default_rng(4)
        chains, labels = [], {"a": {}, "b": {}}
        for question in range(6):
            places = random_labels(rng, 2, len(WORDS))
            for copy in range(copies):
                chain_id = f"{question}-{copy}"
                chains.append(
                    ReasoningChain(chain_id=chain_id, question_id=f"q{question}", question="?", reasoning=TEXT, answer="8")
                )
                for name, row in zip("ab", places, strict=True):
                    labels[name][chain_id] = Annotation("A()", tuple(CATEGORIES[place] for place in row))
        run = make_planted_run(tmp_path / str(copies), chains)
        for name in "ab":
            run.write_annotations(name, labels[name])
        table = AnnotatorAgreement(draws=999).analyse(run).table.set_index("term")
        widths.append(table.loc["kappa_categories", ["estimate", "ci_low", "ci_high"]].tolist())
    assert widths[0] == pytest.approx(widths[1], abs=1e-9)


def test_tokens_that_show_nothing_or_share_a_character_do_not_count(tmp_path: Path) -> None:
    text = ReasoningChain(chain_id="c0", question_id="q", question="Q", reasoning="a é", answer="A")
    spans = np.array([[0, 1], [1, 2], [2, 3], [2, 3]])
    with begin_run(tmp_path, Configuration(model=None, encoding="ids"), [text]) as writer:
        writer.add_encoded(EncodedChain(text, np.array([1]), np.arange(4), np.array([2]), spans))
    run = open_run(tmp_path)
    for name in "ab":
        run.write_annotations(name, {"c0": Annotation("A()", CATEGORIES[:4])})
    result = AnnotatorAgreement(draws=99).analyse(run)
    assert result.exclusions == {"no_visible_character": 1, "shares_its_characters": 1}
    assert set(result.table["n_tokens"]) == {2}
    assert "one question has no variation" in " ".join(result.warnings)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"annotators": ("anna", "dora")}, "has no annotator 'dora'; it has anna, bert, cleo"),
        ({"annotators": ("anna", "anna")}, "agreement needs two or more annotators, not anna; add one with: "),
    ],
)
def test_what_cannot_be_compared_is_refused(run: Run, options: dict[str, tuple[str, ...]], words: str) -> None:
    with pytest.raises((AnalysisError, MissingError), match=words):
        AnnotatorAgreement(**options).analyse(run)


def test_another_scheme_of_categories_is_refused(run: Run) -> None:
    run.write_annotations("dora", {"q0-0": Annotation("D()", ("NOUN",) * len(WORDS))})
    with pytest.raises(AnalysisError, match="'dora' has the category 'NOUN'; expected one of SYMBOLIC_MATH, "):
        AnnotatorAgreement().analyse(run)


def test_annotators_of_different_chains_are_refused(run: Run) -> None:
    for name, chain_id in (("dora", "q0-0"), ("emil", "q1-0")):
        run.write_annotations(name, {chain_id: Annotation("D()", ("FUNCTION",) * len(WORDS))})
    with pytest.raises(AnalysisError, match="no token has the labels of two of dora, emil"):
        AnnotatorAgreement(annotators=("dora", "emil")).analyse(run)


def test_several_names_stand_in_one_option() -> None:
    spec = "annotator_agreement:annotators=anna bert,draws=99"
    analysis = load("analysis", spec)
    assert analysis == AnnotatorAgreement(annotators=("anna", "bert"), draws=99)
    assert label(analysis) == spec


def test_the_command_takes_the_names_one_by_one(
    run: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from reasoning_anatomy import cli

    monkeypatch.setattr("sys.argv", ["x", str(run.folder), "--annotators", "anna", "cleo", "--draws", "99"])
    cli.analysis_main("analyses.annotator_agreement")
    out = capsys.readouterr().out
    assert "kappa_categories" in out
    assert "anna, cleo" in out
    assert run.analyses == ["annotator_agreement"]
