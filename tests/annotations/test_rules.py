"""The annotator as a plugin: provenance, choice of the model, what happens without one."""

import subprocess
import sys
import warnings

import numpy as np
import pytest

from annotations import label_spans
from annotations._text.parse import load_pipeline
from annotations.rules import CONFIDENCE, Rules
from reasoning_anatomy import plugins
from reasoning_anatomy.categories import CATEGORIES, class_of
from reasoning_anatomy.errors import AnnotationError, PluginError

TEXT, SPANS = "So 48 / 2 = 24 clips", [(0, 2), (3, 5), (6, 7), (14, 20)]


def test_the_annotation_says_who_made_it():
    annotation = Rules(model="blank").annotate(TEXT, SPANS)
    assert annotation.annotator == "Rules(model='blank')"
    assert annotation.confidence is not None
    assert annotation.confidence.tolist() == [CONFIDENCE[False][level] for level in ("special", "symbol", "symbol", "inferred")]
    assert annotation.category == ("META_DISCOURSE", "SYMBOLIC_MATH", "SYMBOLIC_MATH", "ENTITY_NAME")


def test_the_folder_lists_it():
    assert plugins.available("annotator")["rules"].class_name == "Rules"


def test_its_former_key_is_accepted():
    assert plugins.load("annotator", "spacy:model=blank") == Rules(model="blank")
    assert label_spans(TEXT, SPANS, "spacy:model=blank") == label_spans(TEXT, SPANS, "rules:model=blank")


def test_an_unknown_annotator_lists_those_that_exist():
    with pytest.raises(PluginError, match=r"available: .*rules"):
        label_spans(TEXT, SPANS, "mind_reader")


def test_a_model_that_is_not_installed_is_named_with_the_remedy():
    with pytest.raises(AnnotationError, match=r"'xx_none' is not installed; .*python -m spacy download xx_none"):
        Rules(model="xx_none").annotate(TEXT, SPANS)


def test_without_any_model_it_warns_once_and_still_labels(monkeypatch):
    monkeypatch.setattr("annotations._text.parse.MODELS", ())
    load_pipeline.cache_clear()
    try:
        with pytest.warns(UserWarning, match="python -m spacy download en_core_web_sm"):
            first = label_spans(TEXT, SPANS)
        second = label_spans(TEXT, SPANS)  # a second warning would be an error
        assert first == second == list(Rules(model="blank").annotate(TEXT, SPANS).category)
    finally:
        load_pipeline.cache_clear()


WITHOUT_SPACY = """
import sys, warnings
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "spacy": raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Absent())
from annotations._text import parse
parse.MODELS = ()  # without spaCy there is no model of it either
from annotations import label_spans
warnings.simplefilter("error")
"""


def without_spacy(statement: str) -> subprocess.CompletedProcess[str]:
    code = f"{WITHOUT_SPACY}{statement}"
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)


def test_characters_and_lexicons_alone_need_no_spacy():
    done = without_spacy(f"print(label_spans({TEXT!r}, {SPANS!r}, 'rules:model=blank'))")
    assert done.stdout == f"{label_spans(TEXT, SPANS, 'rules:model=blank')}\n", done.stderr


@pytest.mark.parametrize(
    ("annotator", "message"),
    [
        ("rules", "UserWarning: no English spaCy model is installed, so words are labelled by lexicons alone and less exactly"),
        ("rules:model=en_core_web_md", "AnnotationError: rules:model=en_core_web_md needs spaCy; install it with: pip install"),
    ],
)
def test_what_needs_spacy_says_so_with_the_remedy(annotator, message):
    done = without_spacy(f"label_spans({TEXT!r}, {SPANS!r}, {annotator!r})")
    assert done.returncode == 1
    assert message in done.stderr
    assert "pip install 'reasoning-anatomy[annotate]'" in done.stderr


def test_importing_the_package_loads_neither_spacy_nor_torch():
    code = (
        "import sys, annotations, reasoning_anatomy.categories; print(sorted({'spacy', 'torch', 'sklearn'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"


def test_the_classes_partition_the_categories():
    assert [class_of(category) for category in CATEGORIES] == ["symbolic_computation"] * 2 + ["linguistic_scaffolding"] * 4
    assert class_of("ENTITY_NAME", entities="problem_content") == "problem_content"
    assert class_of("FUNCTION", entities="problem_content") == "linguistic_scaffolding"


@pytest.mark.parametrize(("category", "entities"), [("NOUN", "scaffolding"), ("FUNCTION", "both")])
def test_an_unknown_category_or_option_is_named(category, entities):
    with pytest.raises(ValueError, match=f"{category}|{entities}"):
        class_of(category, entities=entities)


def test_labels_are_the_same_twice():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # if no model is installed
        assert label_spans(TEXT, SPANS) == label_spans(TEXT, SPANS)


@pytest.mark.parametrize("annotator", ["rules:model=blank", "learned:model=blank"])
def test_words_outside_english_have_no_confidence(annotator):
    chinese, german = "每排 3 个", "also " * 20 + "= 5"
    for text, spans, unsure in (
        (chinese, [(0, 2), (2, 4), (4, 6)], [True, False, True]),
        (german, [(0, 4), (100, 101), (102, 103)], [True, False, False]),
        ("Ольга has 3 of the pens", [(0, 5), (6, 9), (10, 11)], [True, False, False]),
        (TEXT, SPANS, [False] * 4),
    ):
        annotation = plugins.load("annotator", annotator).annotate(text, spans)
        assert np.isnan(annotation.confidence).tolist() == unsure
        assert None not in annotation.category
