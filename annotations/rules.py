"""The default annotator: characters decide symbols; spaCy and lexicons decide words."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Final

import numpy as np
import numpy.typing as npt

from annotations._rules.decide import label_text
from annotations._text.alignment import NO_UNIT, check_spans, deciding_units
from annotations._text.english import without_confidence
from annotations._text.parse import has_parser, name_of, pipeline_for
from reasoning_anatomy.categories import FUNCTION
from reasoning_anatomy.types import Annotation

CONFIDENCE: Final = {
    True: {"symbol": 0.995, "phrase": 0.95, "special": 0.913, "listed": 0.974, "inferred": 0.912},
    False: {"symbol": 0.995, "phrase": 0.95, "special": 0.889, "listed": 0.946, "inferred": 0.883},
}
"""Share of units that each level of rules labelled correctly on chains seen for the first time (``docs/annotation.md``), with
a parser and without: (correct + 1) / (labelled + 2) of 3,633 units."""


@dataclass(frozen=True, kw_only=True)
class Rules:
    """Six categories from a grammar of symbols, spaCy's tags and dependencies, and lexicons.

    A unit's category is decided on the text and the question, before any token is looked at; a token takes the category
    of the unit that it overlaps most. Tokens of different models are therefore labelled alike.

    Attributes
    ----------
    model
        Name of an installed spaCy pipeline for English. ``"auto"`` takes ``en_core_web_sm`` if it is installed and warns if
        no model is; ``"blank"`` does without tags and dependencies, and without spaCy, on characters and lexicons alone.

    Examples
    --------
    >>> text = "So 48 / 2 = 24 clips"
    >>> Rules(model="blank").annotate(text, [(0, 2), (2, 5), (5, 7), (7, 9), (9, 11), (11, 14), (14, 20)]).category
    ('META_DISCOURSE', 'SYMBOLIC_MATH', 'SYMBOLIC_MATH', 'SYMBOLIC_MATH', 'SYMBOLIC_MATH', 'SYMBOLIC_MATH', 'ENTITY_NAME')
    """

    also_called: ClassVar[tuple[str, ...]] = ("spacy",)

    model: str = "auto"

    def annotate(
        self, text: str, spans: Sequence[tuple[int, int]] | npt.NDArray[np.integer], *, question: str | None = None
    ) -> Annotation:
        """Label every span of a text.

        Parameters
        ----------
        text
            The reasoning of one chain.
        spans
            (n, 2) half-open character spans of the tokens.
        question
            The problem that the reasoning solves: its words show what belongs to the story.

        Returns
        -------
        One category per span, in the order of the spans. The confidence is that of the level of rules that decided
        (`CONFIDENCE`): how often it was correct on chains that it had not seen. They were English, so a word has none (NaN) if
        its script is another, or if the prose of the text is not English.

        Raises
        ------
        AnnotationError
            A span does not fit the text, or spaCy or its model is not installed.
        """
        checked = check_spans(spans, len(text))
        pipeline = pipeline_for(self.model, annotator="rules")
        labelled = label_text(text, question, pipeline)
        units = [(unit.start, unit.end) for unit in labelled.layout.units]
        owners = deciding_units(checked, units, labelled.category, in_formula=labelled.layout.formula, text=text)
        levels, unsure_of = CONFIDENCE[has_parser(pipeline)], without_confidence(labelled.layout)
        confidence = [
            np.nan if unsure and level != "symbol" else levels[level]
            for level, unsure in zip(labelled.level, unsure_of, strict=True)
        ]
        name, _, version = name_of(pipeline).partition(" ")  # of the pipeline that was loaded, whatever was asked for
        return Annotation(
            f"{Rules(model=name)!r} {version}".rstrip(),
            tuple(FUNCTION if index == NO_UNIT else labelled.category[index] for index in owners),
            np.array([levels["symbol"] if index == NO_UNIT else confidence[index] for index in owners], np.float64),
        )
