"""Annotators as plugins: one file is enough, and every one keeps the protocol."""

import inspect
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import annotations
from annotations import Annotator, annotate_run, label_spans
from reasoning_anatomy import plugins
from reasoning_anatomy.errors import AnnotationError
from reasoning_anatomy.run.folder import Run
from reasoning_anatomy.types import ReasoningChain

CHAIN = ReasoningChain(chain_id="a", question_id="q", question="Tom?", reasoning="So Tom has 8 pens.", answer="8")
SOURCE = '''
from dataclasses import dataclass

from reasoning_anatomy.types import Annotation


@dataclass(frozen=True, kw_only=True)
class Constant:
    """Every token has one category.

    Attributes
    ----------
    category
        The category; empty for none.
    """

    category: str = "FUNCTION"

    def annotate(self, text, spans, *, question=None):
        """Label every span alike."""
        return Annotation(repr(self), (self.category or None,) * len(spans))
'''
WITH_A_NAME = """
    @property
    def name(self):
        return f"always-{self.category}"
"""


@pytest.fixture(params=[("", "constant-category-COREFERENCE"), (WITH_A_NAME, "always-COREFERENCE")], ids=["key", "name"])
def name(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Name of the labels of an annotator that is one file in a folder beside the package's own."""
    source, name = request.param
    (tmp_path / "constant.py").write_text(SOURCE + source, encoding="utf-8")
    monkeypatch.setattr(annotations, "__path__", [*annotations.__path__, str(tmp_path)])
    yield name
    sys.modules.pop("annotations.constant", None)
    vars(annotations).pop("constant", None)


@pytest.mark.parametrize("key", plugins.available("annotator"))
def test_every_annotator_has_the_signature_of_the_protocol(key: str) -> None:
    given, expected = (
        list(inspect.signature(annotator.annotate).parameters.values())
        for annotator in (plugins.load_class("annotator", key), Annotator)
    )
    assert [(one.name, one.kind, one.default) for one in given] == [(one.name, one.kind, one.default) for one in expected]


def test_one_file_is_an_annotator_of_texts_and_runs(name: str, tmp_path: Path, make_planted_run: Callable[..., Run]) -> None:
    run = make_planted_run(tmp_path / "run", [CHAIN])
    assert "constant" in plugins.available("annotator")
    assert label_spans("So it is.", [(0, 2), (3, 5)], "constant") == ["FUNCTION", "FUNCTION"]
    written = annotate_run(run, annotator="constant:category=COREFERENCE")
    assert written == run.folder / "annotations" / f"{name}.parquet"
    assert run.annotator(name) == "Constant(category='COREFERENCE')"
    assert set(run.tokens()[f"category_{name}"]) == {"COREFERENCE"}
    assert annotate_run(run, annotator="constant:category=COREFERENCE") == written


@pytest.mark.usefixtures("name")
def test_a_span_without_a_category_is_an_error_and_no_default() -> None:
    with pytest.raises(AnnotationError, match="constant:category=: leaves span 0 without a category"):
        label_spans("So", [(0, 2)], "constant:category=")
