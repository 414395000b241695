"""Results in the order of what was found, and the findings that stand first: on results that analyses made."""

import dataclasses

import numpy as np
import pandas as pd
import pytest

from analyses.category_survival import CategorySurvival
from analyses.deletion_by_category import DeletionByCategory
from analyses.rank_correlation import RankCorrelation
from reasoning_anatomy.categories import CATEGORIES
from reasoning_anatomy.plugin_files import KINDS_OF_SCORE, SUBJECTS
from reasoning_anatomy.plugins import available
from reasoning_anatomy.run import open_run
from reasoning_anatomy.run.writer import begin_run
from reasoning_anatomy.types import RESULT_COLUMNS, AnalysisResult, TokenScores
from reasoning_anatomy.unusable import Unusable, write_unusable
from reports import _sections, _summary
from reports._ordering import ordered_view, without_control
from reports._style import category_name, number
from reports._words import Glossary

SCORERS = [f"scorer_{place}" for place in range(14)]


@pytest.fixture(scope="module")
def many_scorers(make_full_run, chains, tmp_path_factory):
    """Write a run whose scorers follow the order of deletion, or run against it, the more closely the later they are named."""
    run = make_full_run(chains)
    more = run.manifest.configuration.model_copy(update={"scorers": {name: f"{name}()" for name in SCORERS}, "strategies": {}})
    rng = np.random.default_rng(0)
    with begin_run(run.folder, more, chains) as writer:
        for chain_id in run.measured:
            step = run.path(chain_id, "greedy").deletion_step
            step = np.where(np.isnan(step), len(step), step) / len(step)
            for place, name in enumerate(SCORERS):
                strength = place / len(SCORERS) * (-1) ** place
                writer.add_scores(chain_id, name, TokenScores(strength * step + (1 - abs(strength)) * rng.random(len(step))))
    return open_run(run.folder)


@pytest.fixture(scope="module")
def correlations(many_scorers):
    return RankCorrelation(draws=99).analyse(many_scorers)


@pytest.fixture(scope="module")
def of_scorers(correlations):
    return ordered_view(correlations.table, RankCorrelation.terms)


def rows_of(view, *, is_apart=False):
    return [row for group in (*view.groups, *view.more) if group.is_apart == is_apart for row in group.rows]


def _ends(row):
    ends = row["ci_low"], row["ci_high"]
    return "says nothing" if ends in ((0, 1), (-1, 1)) else f"{number(ends[0])} to {number(ends[1])}"


def test_every_signal_has_one_row_with_raw_and_given_position_side_by_side(of_scorers, correlations):
    values = correlations.table.set_index(["scorer", "term"])
    rows = rows_of(of_scorers)
    assert {row[0].text for row in rows} == {"answer_attention", *SCORERS}
    for name, raw, given, *_ in rows:
        for cell, term in ((raw, "spearman"), (given, "spearman_given_position")):
            row = values.loc[name.text, term]
            assert (cell.text, cell.words) == (number(row["estimate"]), _ends(row))


def test_the_largest_value_given_position_comes_first_whatever_its_sign(of_scorers, correlations):
    given = correlations.table.query("term == 'spearman_given_position'").set_index("scorer")["estimate"]
    sizes = [abs(given[row[0].text]) for row in rows_of(of_scorers)]
    assert sizes == sorted(sizes, reverse=True)
    assert min(given[row[0].text] for row in rows_of(of_scorers)[:4]) < 0


def test_competitors_stand_apart_below_a_heading(of_scorers, correlations):
    kinds = correlations.table.set_index("scorer")["kind"].to_dict()
    apart = {row[0].text for row in rows_of(of_scorers, is_apart=True)}
    assert apart == {scorer for scorer, kind in kinds.items() if kind != KINDS_OF_SCORE[0]}
    assert all(group.title for group in of_scorers.groups if group.is_apart)
    assert [group.is_apart for group in of_scorers.groups] == sorted(group.is_apart for group in of_scorers.groups)


def test_about_a_dozen_rows_are_seen_at_once(of_scorers):
    assert sum(len(group.rows) for group in of_scorers.groups) <= 14
    assert of_scorers.n_more == len(rows_of(of_scorers)) + len(rows_of(of_scorers, is_apart=True)) - 8 - 4


@pytest.mark.parametrize("analysis", [DeletionByCategory(draws=99), CategorySurvival(draws=99)], ids=["order", "survival"])
def test_of_categories_every_value_of_the_result_has_its_place(full_run, analysis):
    table = analysis.analyse(full_run).table
    view = ordered_view(table, {})
    shown = sorted(cell.text for row in rows_of(view) for cell in row if not cell.is_name and cell.words)
    expected = table[table["ci_low"].notna()]["estimate"]
    assert shown == sorted(map(number, expected))
    assert view.groups[0].title == "categories"


def test_what_was_tested_comes_first_and_the_rest_ascends(full_run):
    table = DeletionByCategory(draws=99).analyse(full_run).table
    view = ordered_view(table, {})
    of_classes = next(group for group in view.groups if group.title == "classes")
    assert of_classes.rows[0][0].text == "symbolic_computation \N{MINUS SIGN} linguistic_scaffolding"
    values = table.set_index("term")["estimate"].to_dict()
    keys = {category_name(key): key for key in CATEGORIES}
    of_categories = [keys[row[0].text] for row in view.groups[0].rows]
    deciding = [
        values[f"{key} given position"] if pd.notna(values[f"{key} given position"]) else values[key] for key in of_categories
    ]
    known = [value for value in deciding if pd.notna(value)]
    assert known == sorted(known)
    assert deciding[: len(known)] == known, "what is not known comes last"


@pytest.mark.parametrize(
    ("term", "split"),
    [
        ("spearman", ("spearman", "")),
        ("spearman_given_position", ("spearman", "position")),
        ("SYMBOLIC_MATH given position and surprisal", ("SYMBOLIC_MATH", "position and surprisal")),
        ("wrong - correct given length", ("wrong - correct", "length")),
        ("wrong - correct given length, all questions", ("wrong - correct given length, all questions", "")),
    ],
)
def test_a_control_is_told_from_what_is_estimated(term, split):
    assert without_control(term) == split


def test_an_empty_result_has_no_rows():
    assert ordered_view(pd.DataFrame(columns=list(RESULT_COLUMNS)), {}).groups == []


def test_every_shipped_analysis_says_what_it_is_about():
    assert {name: info.subject for name, info in available("analysis").items() if info.subject not in SUBJECTS} == {}


def result(name, finding, *, has_interval=True, warnings=()):
    ends = (0.1, 0.9) if has_interval else (np.nan, np.nan)
    table = pd.DataFrame([("t", 0.5, *ends, 0.1, 0.1, 9, 9, 9)], columns=list(RESULT_COLUMNS))
    return AnalysisResult(name, table, finding=finding, warnings=tuple(warnings))


@pytest.fixture
def with_results(make_planted_run, chains, tmp_path):
    """Write a run with results of these names."""

    def make(*results):
        run = make_planted_run(tmp_path / "run", chains[:2])
        for each in results:
            run.write_analysis(each)
        return run

    return make


def chosen(run):
    return _summary.findings(_sections.sections(run), Glossary(run))


def test_one_finding_of_each_subject_stands_first_in_the_order_of_the_subjects(with_results):
    names = ["rank_dynamics", "predict_likelihood", "best_head", "restatement_audit", "deletion_by_category"]
    names += ["category_survival", "rank_correlation", "strategy_comparison", "threshold_comparison"]
    found = chosen(with_results(*(result(name, f"{name} found it.") for name in names)))
    assert [each.section.key for each in found.first] == [
        "threshold_comparison", "strategy_comparison", "rank_correlation", "category_survival", "restatement_audit",
    ]  # fmt: skip
    assert [each.section.key for each in found.others] == [
        "deletion_by_category", "best_head", "predict_likelihood", "rank_dynamics",
    ]  # fmt: skip


def test_what_says_nothing_about_other_questions_comes_last(with_results):
    found = chosen(with_results(result("threshold_comparison", "A.", has_interval=False), result("best_head", "B.")))
    assert [each.section.key for each in found.first] == ["best_head", "threshold_comparison"]


def test_a_caveat_that_findings_share_stands_once(with_results):
    few = "5 questions are few. With this spread"
    found = chosen(
        with_results(
            *(result(name, "A.", warnings=[f"{few}, {name} needs more"]) for name in ("best_head", "rank_correlation")),
            result("rank_dynamics", "B.", warnings=["5 questions are few", "something else"]),
        )
    )
    assert found.shared == ["5 questions are few"]
    assert [each.caveats for each in found.first] == [
        ["With this spread, rank_correlation needs more"], ["With this spread, best_head needs more"], ["something else"],
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("verdicts", "expected"),
    [
        (("Clear", "Undecided", "Undecided"), "1 of 3 questions has a clear answer: a holds; 2 stay open"),
        (("Clear", "Against"), "2 of 2 questions have a clear answer: a holds, b holds"),
        (("Undecided", "Undecided"), "none of 2 questions has a clear answer"),
        (("Clear",), ""),
    ],
)
def test_one_sentence_says_which_questions_have_an_answer(with_results, verdicts, expected):
    names = ("rank_correlation", "best_head", "rank_dynamics")
    results = [
        result(name, f"{verdict}: {letter} holds: rho 0.3.")
        for name, verdict, letter in zip(names, verdicts, "abc", strict=False)
    ]
    assert _summary.findings(_sections.sections(with_results(*results))).in_short == expected


def test_an_analysis_that_was_skipped_has_its_reason_and_no_command(with_results):
    run = with_results(result("rank_correlation", "A."))
    sections, tables = _sections.sections(run), _sections.read_tables(run)
    reason = f"{run.folder}: has no annotator; add one: reasoning-anatomy annotate {run.folder}"
    skipped = {"deletion_by_category": reason}
    missing = {each.what: each for each in _summary.missing(run, sections, {}, tables, skipped)}
    of_categories = missing["Which kinds of token go first?"]
    assert of_categories.reason == "has no annotator; add one: reasoning-anatomy annotate RUN"
    assert of_categories.command == ""
    others = next(what for what in missing if "How well does the best head predict, on other questions?" in what)
    assert "Which strategy keeps the answer longest?" in others, "questions that nobody has asked yet share a line"
    assert missing[others].command == "python -m analyses RUN"
    assert missing["Categories of the tokens"].command == "reasoning-anatomy annotate RUN"


def test_what_was_run_takes_two_lines(many_scorers, swept_run):
    first, second = _summary.run_in_two_lines(many_scorers, _sections.read_tables(many_scorers))
    assert first == "none, 3 layers with 4 heads each, float32"
    n_tokens = len(many_scorers.tokens())
    assert second == f"6 chains on 3 questions, {n_tokens:,} reasoning tokens; 15 scorers, 1 strategy, 1 annotator"
    _, swept = _summary.run_in_two_lines(swept_run, _sections.read_tables(swept_run))
    assert swept.endswith("answers at 3 thresholds of 4 strategies and baselines")


def test_two_sentences_say_what_the_experiment_was(many_scorers, swept_run):
    first, second = _summary.experiment(many_scorers, _sections.read_tables(many_scorers))
    assert first == "planted was given 6 chains on 3 questions, each a question, its reasoning and its answer."
    assert second == "greedy deleted the reasoning tokens one after another, and 15 scorers said how much each of them matters."
    _, swept = _summary.experiment(swept_run, _sections.read_tables(swept_run))
    assert " kept a part of each chain beside " in swept
    assert "and the model answered again from that at 3 thresholds, " in swept


def test_answers_that_could_not_be_judged_are_counted_at_the_top(swept_run):
    table = swept_run.evaluations()
    n_undecided = int((table["verdict"] == "undecided").sum())
    said = [f"{n_undecided:,} of {len(table):,} answers could not be judged and count as not correct"] if n_undecided else []
    assert [each for each in _summary.left_out(swept_run) if "judged" in each] == said


def test_unusable_chains_are_counted_at_the_top_with_their_reason(make_planted_run, chains, tmp_path):
    run = make_planted_run(tmp_path, chains)
    assert _summary.left_out(run) == []
    unusable = [Unusable("given.jsonl", row, None, "has no answer", f"line {row}: has no answer") for row in (2, 5)]
    write_unusable(run.folder / "unusable.jsonl", unusable)
    said = f"2 of {len(run.chains) + 2} chains that were given could not be used: has no answer (2)"
    assert _summary.left_out(run) == [said]


def test_a_word_is_explained_where_it_is_first_used_and_only_there(full_run):
    glossary = Glossary(full_run)
    found = dict(glossary.first_used_in("Spearman's rho with position held constant, by greedy and not_greedy"))
    assert list(found) == ["greedy", "Spearman's rho", "position held constant"]
    assert found["greedy"].startswith("delete, again and again, the token whose loss hurts the likelihood")
    assert glossary.first_used_in("greedy, Spearman's rho") == []


def test_a_part_points_to_the_one_before_it_that_asks_the_same(with_results):
    sections = _sections.sections(with_results(*(result(name, "A.") for name in ("category_survival", "deletion_by_category"))))
    assert [(each.key, each.twin and each.twin.key) for each in sections if each.analysis and each.analysis.finding] == [
        ("category_survival", None), ("deletion_by_category", "category_survival"),
    ]  # fmt: skip


def test_a_result_that_is_older_than_the_run_is_named_at_the_top(make_full_run, chains, annotate):
    run = make_full_run(chains[:2])
    assert chosen(run).older == []
    annotate(run, "another", shift=1)
    assert chosen(open_run(run.folder)).older == ["rank_correlation", "deletion_by_category"]


def test_a_path_of_this_machine_does_not_travel_with_a_warning(make_full_run, chains):
    run = make_full_run(chains[:2])
    run.write_analysis(
        dataclasses.replace(run.analysis("rank_correlation"), warnings=(f"nothing: {run.folder}: has no answers",))
    )
    view = _sections.analysis_view(run, "rank_correlation")
    assert view.warnings == ("nothing: has no answers",)
