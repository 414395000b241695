"""Labels of a whole run, written into its folder."""

import warnings

import pytest

from annotations import annotate_run, label_spans
from reasoning_anatomy.categories import CATEGORIES
from reasoning_anatomy.errors import AnnotationError, RunError
from reasoning_anatomy.run.folder import Run, open_run
from reasoning_anatomy.types import Annotation, ReasoningChain

BLANK = "rules:model=blank"
CHAINS = [
    ReasoningChain(
        chain_id="a", question_id="q", question="Tom has 5 pens.", reasoning="So Tom has 5 + 3 = 8 pens.", answer="8"
    ),
    ReasoningChain(
        chain_id="b", question_id="q", question="Tom has 5 pens.", reasoning="Wait, he has 8 of them left.", answer="8"
    ),
]


@pytest.fixture
def run(tmp_path, make_planted_run) -> Run:
    return make_planted_run(tmp_path / "run", CHAINS)


def test_every_token_of_every_chain_gets_its_category(run):
    path = annotate_run(run, annotator=BLANK)
    assert path == run.folder / "annotations" / "rules-model-blank.parquet"
    tokens = open_run(run.folder).tokens()
    assert set(tokens["category_rules-model-blank"]) <= set(CATEGORIES)
    for chain in CHAINS:
        spans = run.encoded(chain.chain_id).spans
        expected = label_spans(chain.reasoning, spans, BLANK, chain.question)
        assert tokens.loc[tokens["chain_id"] == chain.chain_id, "category_rules-model-blank"].tolist() == expected
    assert tokens["confidence_rules-model-blank"].between(0.8, 1).all()


def test_annotating_again_replaces_the_labels(run):
    first = annotate_run(run, annotator=BLANK).read_bytes()
    assert annotate_run(run, annotator=BLANK).read_bytes() == first
    assert run.annotators == ["rules-model-blank"]


def test_the_same_annotator_with_other_options_stands_beside(run):
    annotate_run(run, annotator=BLANK)
    annotate_run(run, annotator="learned:model=blank")
    annotate_run(run, annotator=BLANK, name="mine")
    assert run.annotators == ["learned-model-blank", "mine", "rules-model-blank"]


def test_labels_that_the_annotator_wrote_under_its_former_name_stay_and_stay_its_own(run):
    texts = {chain.chain_id: "Spacy(model='blank')" for chain in CHAINS}  # provenance of version 0.1
    spans = {chain_id: run.measurement(chain_id).encoded.spans for chain_id in texts}
    run.write_annotations(
        "spacy", {key: Annotation(made_by, ("FUNCTION",) * len(spans[key])) for key, made_by in texts.items()}
    )
    assert annotate_run(run, annotator="spacy:model=blank").name == "rules-model-blank.parquet"
    assert run.annotators == ["rules-model-blank", "spacy"]
    assert set(run.tokens()["category_spacy"]) == {"FUNCTION"}
    annotate_run(run, annotator=BLANK, name="spacy")
    assert run.annotator("spacy") == "Rules(model='blank')"
    assert run.tokens()["category_spacy"].tolist() == run.tokens()["category_rules-model-blank"].tolist()


def test_labels_of_another_annotator_are_not_replaced(run):
    annotate_run(run, annotator=BLANK, name="mine")
    with pytest.raises(
        AnnotationError, match=r"'mine' holds the labels of Rules\(model='blank'\); give another name with --as"
    ):
        annotate_run(run, annotator="learned:model=blank", name="mine")
    assert run.annotator("mine") == "Rules(model='blank')"


def test_a_name_that_no_file_can_have_is_refused_before_anything_is_labelled(run):
    with pytest.raises(RunError, match=r"annotator name '\.\./x': cannot name a file and a column"):
        annotate_run(run, annotator="llm:url=http://127.0.0.1:9/v1,model=none,key_variable=", name="../x")


def test_labels_of_no_chain_are_not_written(run):
    with pytest.raises(RunError, match="there are no labels of 'mine' to write"):
        run.write_annotations("mine", {})


def test_progress_sees_every_chain(run):
    seen = []

    def watch(chain_ids):
        for chain_id in chain_ids:
            seen.append(chain_id)
            yield chain_id

    annotate_run(run, annotator=BLANK, progress=watch)
    assert seen == ["a", "b"]


def test_a_run_without_measured_chains_is_refused(run):
    for chain in CHAINS:
        run.layout.encoded(chain.chain_id).unlink()
    with pytest.raises(AnnotationError, match="no measured chain"):
        annotate_run(run, annotator=BLANK)


CHINESE = "每排四个罐子。所以 12 个。"


@pytest.fixture
def mixed_run(tmp_path, make_planted_run) -> Run:
    chinese = [
        ReasoningChain(chain_id=f"zh{n}", question_id="q", question="几个", reasoning=CHINESE, answer="12") for n in range(2)
    ]
    return make_planted_run(tmp_path / "mixed", [*CHAINS, *chinese])


def test_chains_in_other_languages_get_one_warning_with_their_share(mixed_run):
    with pytest.warns(UserWarning, match=r"^2 of 4 chains \(50\W%\) are not in English; the categories") as said:
        annotate_run(mixed_run, annotator=BLANK)
    assert len(said) == 1


def test_english_chains_get_no_warning(run):
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        annotate_run(run, annotator=BLANK)
    assert [str(warning.message) for warning in said] == []


def test_ids_and_spans_of_a_chain_are_read_once(run, monkeypatch):
    read = []
    encoded = Run.encoded
    monkeypatch.setattr(Run, "encoded", lambda self, chain_id: read.append(chain_id) or encoded(self, chain_id))
    annotate_run(run, annotator=BLANK)
    assert read == ["a", "b"]
    assert open_run(run.folder).tokens()["role_numeric"].sum() == 4  # 5, 3 and 8; 8
