"""The default annotator: characters decide symbols, spaCy and lexicons decide words."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from annotations._decide import label_text
from annotations._parse import BLANK, load_pipeline
from annotations.alignment import align, check_spans
from reasoning_anatomy.errors import AnnotationError
from reasoning_anatomy.types import Annotation


@dataclass(frozen=True, kw_only=True)
class Spacy:
    """Six categories from a grammar of symbols, spaCy's tags and dependencies, and lexicons.

    A unit's category is decided on the text and the question, before any token is looked at; a token takes the category
    of the unit it overlaps most. Tokens of different models are therefore labelled alike.

    Attributes
    ----------
    model
        Name of an installed spaCy pipeline for English; ``"auto"`` takes ``en_core_web_sm`` where it is installed and warns
        where no model is; ``"blank"`` goes without tags and dependencies, on characters and lexicons alone.

    Examples
    --------
    >>> text = "So 48 / 2 = 24 clips"
    >>> Spacy(model="blank").annotate(text, [(0, 2), (2, 5), (5, 7), (7, 9), (9, 11), (11, 14), (14, 20)]).category
    ('META_DISCOURSE', 'SYMBOLIC_MATH', 'SYMBOLIC_MATH', 'SYMBOLIC_MATH', 'SYMBOLIC_MATH', 'SYMBOLIC_MATH', 'ENTITY_NAME')
    """

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
        One category per span, in the order of the spans; no confidence.

        Raises
        ------
        AnnotationError
            A span does not fit the text, or the spaCy model is not installed.
        """
        checked = check_spans(spans, len(text))
        pipeline = self._pipeline()
        labelled = label_text(text, question, pipeline)
        units = [(unit.start, unit.end) for unit in labelled.layout.units]
        categories = align(checked, units, labelled.category, in_formula=labelled.layout.formula)
        return Annotation(self._provenance(pipeline), categories)

    @staticmethod
    def _provenance(pipeline: Any) -> str:
        """Name the pipeline that was found, whatever ``model`` asked for."""
        if not pipeline.pipe_names:
            return repr(Spacy(model=BLANK))
        meta = pipeline.meta
        return f"{Spacy(model=meta['lang'] + '_' + meta['name'])!r} {meta['version']}"

    def _pipeline(self) -> Any:
        try:
            return load_pipeline(self.model)
        except ImportError as error:
            raise AnnotationError(
                "the spacy annotator needs spaCy; install it with: pip install 'reasoning-anatomy[annotate]'"
            ) from error
        except OSError as error:
            raise AnnotationError(
                f"spaCy model {self.model!r} is not installed; install it with: python -m spacy download {self.model}, "
                "or choose model='auto' or model='blank'"
            ) from error
