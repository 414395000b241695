"""Agreement with the gold labels that the package carries."""

import json

import pytest
from sklearn.metrics import f1_score

from annotations import label_spans
from annotations._text.parse import MODELS
from annotations.agreement import UNSEEN, main, measure_agreement, read_gold
from reasoning_anatomy.categories import CATEGORIES
from reasoning_anatomy.errors import AnnotationError
from reasoning_anatomy.plugins import available


def has_model() -> bool:
    import spacy

    return any(spacy.util.is_package(name) for name in MODELS)


def test_the_gold_file_holds_what_its_readme_says():
    chains = read_gold()
    assert len(chains) == 11
    assert sum(len(chain.spans) for chain in chains) == 1251
    assert {category for chain in chains for category in chain.category} == set(CATEGORIES)


@pytest.mark.skipif(not has_model(), reason="needs an English spaCy model for tags and dependencies")
def test_the_default_annotator_agrees_with_the_gold_labels():
    agreement = measure_agreement(read_gold())
    assert agreement.kappa_categories > 0.97
    assert agreement.kappa_classes > 0.98
    assert agreement.macro_f1 > 0.96
    assert (agreement.table["f1"] > 0.93).all()


@pytest.mark.skipif(not has_model(), reason="needs an English spaCy model for tags and dependencies")
def test_the_default_annotator_agrees_with_the_labels_of_chains_once_unseen():
    agreement = measure_agreement(read_gold(UNSEEN))
    assert agreement.kappa_categories > 0.97
    assert agreement.kappa_classes > 0.97
    assert (agreement.table["f1"] > 0.93).all()


def test_the_unseen_file_holds_what_its_readme_says():
    chains = read_gold(UNSEEN)
    assert len(chains) == 19
    assert sum(len(chain.spans) for chain in chains) == 3067
    assert not {chain.chain_id for chain in chains} & {chain.chain_id for chain in read_gold()}


def test_lexicons_alone_agree_a_little_less():
    agreement = measure_agreement(read_gold(), annotator="rules:model=blank")
    assert agreement.kappa_categories > 0.95
    assert agreement.kappa_classes > 0.97


def test_the_table_is_that_of_scikit_learn(annotator):
    chains = read_gold()[:2]
    gold = [category for chain in chains for category in chain.category]
    predicted = [
        name for chain in chains for name in label_spans(chain.reasoning, chain.spans, "rules:model=blank", chain.question)
    ]
    agreement = measure_agreement(chains, annotator="rules:model=blank")
    expected = f1_score(gold, predicted, labels=list(CATEGORIES), average=None, zero_division=0.0)
    assert agreement.table["f1"].tolist() == pytest.approx(expected.tolist())
    assert agreement.confusions["n_units"].sum() == sum(a != b for a, b in zip(gold, predicted, strict=True))


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "line 2: is not a gold chain"),
        (json.dumps({"chain_id": "a", "question": "q", "reasoning": "r"}), "KeyError.*units"),
        (
            json.dumps(
                {"chain_id": "a", "question": "q", "reasoning": "r", "units": [{"start": 0, "end": 1, "category": "NOUN"}]}
            ),
            "unknown category 'NOUN'",
        ),
    ],
)
def test_a_bad_line_of_gold_is_named(tmp_path, line, message):
    path = tmp_path / "gold.jsonl"
    path.write_text("\n" + line + "\n", encoding="utf-8")
    with pytest.raises(AnnotationError, match=message):
        read_gold(path)


def test_the_command_prints_table_kappa_and_confusions(capsys):
    main(["--annotator", "rules:model=blank"])
    printed = capsys.readouterr().out
    assert all(word in printed for word in (*CATEGORIES, "kappa, six categories", "kappa, two classes", "examples"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["none.jsonl"], "none.jsonl: cannot be read (No such file or directory); name a file of gold labels"),
        (["--annotator", "mind_reader"], f"unknown annotator 'mind_reader'; available: {', '.join(available('annotator'))}"),
    ],
)
def test_an_error_of_the_command_is_one_line_and_exit_code_2(tmp_path, monkeypatch, capsys, arguments, message):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as exit_:
        main(arguments)
    assert exit_.value.code == 2
    assert capsys.readouterr().err == f"error: {message}\n"
