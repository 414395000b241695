"""Pruning at random within categories, a baseline."""

import threading
from dataclasses import dataclass
from typing import Final

import numpy as np

from reasoning_anatomy import plugins
from reasoning_anatomy.errors import PluginError
from reasoning_anatomy.models.loading import LoadedModel
from reasoning_anatomy.pruning import PruningJob
from reasoning_anatomy.pruning._curve import CurveOptions, follow
from reasoning_anatomy.randomness import chain_generator
from reasoning_anatomy.types import Annotation, EncodedChain, IntArray, PruningPath

_annotating: Final = threading.Lock()  # chains are measured side by side, and a parser may not be thread-safe


@dataclass(frozen=True, kw_only=True)
class CategoryMatched(CurveOptions):
    """Delete random tokens of the categories that another strategy deletes, in the order in which it deletes them.

    At each step a uniformly random token is deleted among those that are left in the category of the token that the
    reference deleted at that step. So after every deletion both have deleted equally many of each category, and what
    still sets them apart is the choice of tokens within a category.

    Attributes
    ----------
    reference
        Label of the strategy to follow, as far as its path goes; it must be measured before this one.
    annotator
        Key and options of the annotator that gives the categories.
    seed
        The same seed gives the same order on a chain, whatever other chains are measured.
    """

    reference: str = "greedy"
    annotator: str = "rules"
    seed: int = 0
    curve_points: int = 0
    token_budget: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        plugins.load("annotator", self.annotator)  # refuses an unknown annotator before anything is measured

    def prune(self, chain: EncodedChain, *, loaded: LoadedModel, job: PruningJob | None = None) -> PruningPath:
        """Delete tokens of one chain; see `Strategy.prune`."""
        job = job or PruningJob()
        if self.reference not in job.paths:
            raise PluginError(
                f"strategy {plugins.label(self)!r}: follows {self.reference!r}, which is not measured before it; list it "
                f"first: --strategies {self.reference} {plugins.label(self)}"
            )
        rng = chain_generator("category_matched", self.seed, chain.chain_id)
        deleted = _matched(job.paths[self.reference].deleted, self._annotation(chain), rng)
        return follow(self, deleted, chain, loaded=loaded, job=job)

    def _annotation(self, chain: EncodedChain) -> Annotation:
        annotator = plugins.load("annotator", self.annotator)
        with _annotating:
            annotation: Annotation = annotator.annotate(chain.chain.reasoning, chain.spans, question=chain.chain.question)
        return annotation


def _matched(reference: IntArray, annotation: Annotation, rng: np.random.Generator) -> IntArray:
    """Draw positions without replacement, each from the category of the reference's position at that step."""
    categories = np.array(annotation.category)
    drawn = {name: iter(rng.permutation(np.flatnonzero(categories == name))) for name in np.unique(categories)}
    return np.array([next(drawn[category]) for category in categories[reference]], dtype=np.int64)
