"""Labels of a whole run, written into its folder."""

import pytest

from annotations import annotate_run, label_spans
from reasoning_anatomy.categories import CATEGORIES
from reasoning_anatomy.errors import AnnotationError, RunError
from reasoning_anatomy.run.folder import Run, open_run
from reasoning_anatomy.types import ReasoningChain

BLANK = "spacy:model=blank"
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
    assert path == run.folder / "annotations" / "spacy-model-blank.parquet"
    tokens = open_run(run.folder).tokens()
    assert set(tokens["category_spacy-model-blank"]) <= set(CATEGORIES)
    for chain in CHAINS:
        spans = run.encoded(chain.chain_id).spans
        expected = label_spans(chain.reasoning, spans, BLANK, chain.question)
        assert tokens.loc[tokens["chain_id"] == chain.chain_id, "category_spacy-model-blank"].tolist() == expected
    assert tokens["confidence_spacy-model-blank"].between(0.8, 1).all()


def test_annotating_again_replaces_the_labels(run):
    first = annotate_run(run, annotator=BLANK).read_bytes()
    assert annotate_run(run, annotator=BLANK).read_bytes() == first
    assert run.annotators == ["spacy-model-blank"]


def test_the_same_annotator_with_other_options_stands_beside(run):
    annotate_run(run, annotator=BLANK)
    annotate_run(run, annotator="learned:model=blank")
    annotate_run(run, annotator=BLANK, name="mine")
    assert run.annotators == ["learned-model-blank", "mine", "spacy-model-blank"]


def test_a_name_that_no_file_can_have_is_refused_before_anything_is_labelled(run):
    with pytest.raises(RunError, match=r"annotator name '\.\./x': names a file and a column"):
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
