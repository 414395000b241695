"""The learned annotator: what its training holds out, what its file says, what it answers."""

import json

import numpy as np
import pytest
from scipy.special import softmax
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression

from annotations import annotate_run, label_spans, train
from annotations.agreement import UNSEEN, measure_agreement, read_gold
from annotations.learned import SHIPPED, Learned, read_weights
from reasoning_anatomy.categories import CATEGORIES
from reasoning_anatomy.errors import AnnotationError
from reasoning_anatomy.types import ReasoningChain

TEXT, SPANS = "So 48 / 2 = 24 clips", [(0, 2), (2, 5), (5, 7), (7, 9), (9, 11), (11, 14), (14, 20)]


@pytest.fixture(scope="module")
def examples() -> train.Examples:
    return train.read_examples([*read_gold()[:4], *read_gold(UNSEEN)[:4]], model="blank")


@pytest.fixture(scope="module")
def trained(examples: train.Examples) -> train.Trained:
    return train.train(examples)


@pytest.fixture
def weights_file(tmp_path, trained):
    train.write(trained, tmp_path / "weights.json")
    return tmp_path / "weights.json"


def test_symbols_and_discourse_are_told_apart(annotator):
    learned = annotator.replace("rules", "learned")
    assert label_spans(TEXT, SPANS, learned) == ["META_DISCOURSE"] + ["SYMBOLIC_MATH"] * 5 + ["ENTITY_NAME"]


def test_confidence_is_the_probability_of_the_category():
    annotation = Learned(model="blank").annotate(TEXT, [*SPANS, (2, 3), (20, 20)])
    assert annotation.confidence is not None
    assert (annotation.confidence > 1 / len(CATEGORIES)).all()
    assert (annotation.confidence <= 1).all()
    assert annotation.category[-2:] == ("SYMBOLIC_MATH", "FUNCTION")
    assert annotation.confidence[-1] == 1


def test_probabilities_are_those_of_scikit_learn(examples, trained, weights_file):
    vectorizer = CountVectorizer(analyzer=lambda names: names, binary=True, min_df=train.MIN_UNITS)
    classifier = LogisticRegression(C=train.STRENGTH, max_iter=1000, fit_intercept=False)
    classifier.fit(vectorizer.fit_transform(examples.features), examples.category)
    logits = classifier.decision_function(vectorizer.transform(examples.features))
    expected = softmax(logits / trained.temperature, axis=1)
    found = read_weights(weights_file).probabilities(examples.features)
    assert found == pytest.approx(expected, abs=0.02)  # the file rounds some forty weights per unit to three digits
    assert np.abs(found - expected).mean() < 0.001


def test_no_chain_of_the_question_takes_part_in_its_own_prediction(examples, monkeypatch):
    trained_on = []
    fit = train._fit

    def watch(features, category):
        trained_on.append({id(unit) for unit in features})
        return fit(features, category)

    monkeypatch.setattr(train, "_fit", watch)
    train.held_out_logits(examples)
    questions = np.array(examples.question)
    left_out = [{str(questions[i]) for i, unit in enumerate(examples.features) if id(unit) not in seen} for seen in trained_on]
    kept = [{str(questions[i]) for i, unit in enumerate(examples.features) if id(unit) in seen} for seen in trained_on]
    assert all(not (out & into) for out, into in zip(left_out, kept, strict=True))
    assert set.union(*left_out) == set(questions)


def test_training_twice_writes_the_same_file(examples, weights_file, tmp_path):
    train.write(train.train(examples), tmp_path / "again.json")
    assert (tmp_path / "again.json").read_bytes() == weights_file.read_bytes()


def test_stated_confidence_is_about_the_accuracy_on_held_out_questions(trained):
    assert trained.confidence == pytest.approx(trained.accuracy, abs=0.05)


def test_a_trained_file_is_an_option(weights_file):
    spec = f"learned:model=blank,weights={weights_file}"
    assert measure_agreement(read_gold()[:1], annotator=spec).kappa_categories > 0.9
    annotation = Learned(model="blank", weights=str(weights_file)).annotate(TEXT, SPANS)
    assert read_weights(weights_file).digest[:12] in annotation.annotator


def test_the_shipped_file_is_text_of_moderate_size():
    record = json.loads(SHIPPED.read_text(encoding="utf-8"))
    assert record["categories"] == list(CATEGORIES)
    assert SHIPPED.stat().st_size < 1_000_000


OTHERWISE_GOOD = json.dumps({"categories": list(CATEGORIES), "temperature": 1.0, "weights": {"word=a": [0.0] * 6}})


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{}",
        "[]",
        '{"categories": ["NOUN"]}',
        OTHERWISE_GOOD.replace("1.0", "0"),
        OTHERWISE_GOOD.replace("0.0]", "NaN]"),
        OTHERWISE_GOOD.replace(", 0.0]", "]"),
        OTHERWISE_GOOD.replace('{"word=a": [0.0, 0.0, 0.0, 0.0, 0.0, 0.0]}', "[1]"),
        None,
    ],
)
def test_a_file_without_weights_is_named_with_the_remedy(tmp_path, content):
    path = tmp_path / "weights.json"
    if content is not None:
        path.write_text(content, encoding="utf-8")
    with pytest.raises(AnnotationError, match=r"weights\.json: does not hold weights .*python -m annotations\.train"):
        Learned(weights=str(path)).annotate(TEXT, SPANS)


def test_one_question_cannot_be_cross_validated():
    with pytest.raises(AnnotationError, match="needs gold chains of at least two questions, got 1; name more"):
        train.train(train.read_examples(read_gold()[:1], model="blank"))


def test_empty_text_has_no_labels():
    assert label_spans("", [], "learned:model=blank") == []
    assert label_spans("", [(0, 0)], "learned:model=blank") == ["FUNCTION"]


def test_a_file_of_one_feature_is_enough(tmp_path):
    (tmp_path / "weights.json").write_text(OTHERWISE_GOOD, encoding="utf-8")
    assert read_weights(tmp_path / "weights.json").matrix.shape == (1, 6)


def test_it_stands_beside_the_default_in_a_run(tmp_path, make_planted_run):
    chain = ReasoningChain(
        chain_id="a", question_id="q", question="Tom has 5 pens.", reasoning="So Tom has 5 + 3 = 8 pens.", answer="8"
    )
    run = make_planted_run(tmp_path / "run", [chain])
    for annotator in ("rules:model=blank", "learned:model=blank"):
        annotate_run(run, annotator=annotator)
    assert run.annotators == ["learned-model-blank", "rules-model-blank"]
    assert run.tokens()["confidence_learned-model-blank"].between(0, 1).all()


def test_the_command_trains_and_reports(tmp_path, capsys):
    lines = UNSEEN.read_text(encoding="utf-8").splitlines()[-3:]
    (tmp_path / "gold.jsonl").write_text("\n".join(lines), encoding="utf-8")
    out = tmp_path / "weights.json"
    train.main([str(tmp_path / "gold.jsonl"), "--out", str(out), "--model", "blank"])
    printed = capsys.readouterr().out
    assert all(word in printed for word in ("of 3 questions", "left out of the training", "kappa, six categories", "accuracy"))
    assert read_weights(out).matrix.shape[1] == len(CATEGORIES)


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (["none.jsonl"], "none.jsonl: cannot be read (No such file or directory); name a file of gold labels"),
        ([], "cross-validation needs gold chains of at least two questions, got 0; name more files of gold labels"),
    ],
)
def test_an_error_of_the_command_is_one_line_and_exit_code_2(tmp_path, monkeypatch, capsys, files, message):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as exit_:
        train.main([*files, "--out", "weights.json", "--model", "blank"])
    assert exit_.value.code == 2
    assert capsys.readouterr().err == f"error: {message}\n"
    assert not list(tmp_path.iterdir())
