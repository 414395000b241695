"""How the model answers in a sweep: the same at every threshold."""

from dataclasses import dataclass, field, replace
from typing import Final

from reasoning_anatomy.generation.completion import LOOP_TOKENS, Sampling
from reasoning_anatomy.options import expect_at_least
from reasoning_anatomy.specs import EncodingOptions
from reasoning_anatomy.thinking import tag_in

GOLD: Final = "GOLD"
_STEM: Final = "The answer is"


@dataclass(frozen=True, kw_only=True)
class Answering:
    r"""What stands behind the reasoning that is left, and how the model goes on.

    Attributes
    ----------
    sampling
        How tokens are drawn. A sample has the same random numbers at every threshold.
    stem
        Text with which the answer begins. If left out: nothing for models that close their thinking, ``The answer is`` for
        others.
    gold_form
        The text of which the likelihood is measured, from ``GOLD`` on, where the gold answer is put in.
    segmenter
        Key and options of the segmenter by which steps are counted.
    loop_tokens
        An answer ends that has only repeated a piece of at most 128 tokens over this many tokens; 0 lets it go on.

    Raises
    ------
    ValueError
        An option is out of its range.
    """

    sampling: Sampling = field(default_factory=lambda: Sampling(max_tokens=1024))
    stem: str | None = None
    gold_form: str = r"The answer is: \boxed{GOLD}"
    segmenter: str = "sentences"
    loop_tokens: int = LOOP_TOKENS

    def __post_init__(self) -> None:
        expect_at_least(self, loop_tokens=0)
        if self.gold_form.count(GOLD) != 1:
            raise ValueError(f"gold_form is {self.gold_form!r}, expected a text in which {GOLD} stands once")

    def resolved(self, encoding: EncodingOptions) -> "Answering":
        """Say which stem is meant, for a model whose joints are known."""
        if self.stem is not None:
            return self
        return replace(self, stem="" if tag_in(str(encoding.before_answer)) else _STEM)
