"""Tokens that an annotator labels in a second of one CPU core: the tokens of a real model, on chains short and long.

The pipeline is loaded before the clock starts. The short texts are the package's gold chains, labelled one by one as
`reasoning-anatomy annotate` does; the long text is all of them in one.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import tyro

from annotations import label_spans
from annotations.agreement import DEV, UNSEEN, read_gold
from reasoning_anatomy.models.loading import load_tokenizer

Spans = list[tuple[int, int]]


@dataclass(frozen=True)
class Options:
    """Tokens that annotators label in a second."""

    annotators: tuple[str, ...] = ("rules", "rules:model=blank", "learned")
    """Keys and options."""
    tokenizer: str = "smollm2-135m"
    """Model whose tokens are labelled."""
    repeats: int = 3
    """Times that the texts are labelled; the fastest counts."""


@dataclass(frozen=True)
class Text:
    """A text, the spans of its tokens and its question."""

    text: str
    spans: Spans
    question: str


def gold_texts(spans_of: Callable[[str], Spans]) -> list[Text]:
    """Return the package's gold chains, cut into tokens."""
    chains = [chain for path in (DEV, UNSEEN) for chain in read_gold(path)]
    return [Text(chain.reasoning, spans_of(chain.reasoning), chain.question) for chain in chains]


def joined(texts: Sequence[Text]) -> Text:
    """All texts in one, two line breaks between them."""
    text, spans = "", []
    for piece in texts:
        spans += [(len(text) + start, len(text) + end) for start, end in piece.spans]
        text += piece.text + "\n\n"
    return Text(text, spans, " ".join(piece.question for piece in texts))


def tokens_per_second(texts: Sequence[Text], annotator: str, *, repeats: int) -> float:
    """Tokens labelled in a CPU second of the fastest of several runs, so that a busy machine changes little."""
    label_spans(texts[0].text, texts[0].spans, annotator, texts[0].question)
    seconds = []
    for _ in range(repeats):
        begun = time.process_time()
        for text in texts:
            label_spans(text.text, text.spans, annotator, text.question)
        seconds.append(time.process_time() - begun)
    return sum(len(text.spans) for text in texts) / min(seconds)


def main() -> None:
    """Run the benchmark."""
    options = tyro.cli(Options, prog="python -m benchmarks.annotation_speed", description=__doc__)
    tokenizer = load_tokenizer(options.tokenizer)
    texts = gold_texts(lambda text: tokenizer(text, return_offsets_mapping=True, add_special_tokens=False)["offset_mapping"])
    whole = joined(texts)
    print(f"{len(texts)} chains of {len(whole.spans) / len(texts):.0f} tokens; one text of {len(whole.spans)} tokens")
    for annotator in options.annotators:
        short, long = (tokens_per_second(cut, annotator, repeats=options.repeats) for cut in (texts, [whole]))
        print(f"{annotator:20} {short:8,.0f} tokens/s on short chains  {long:8,.0f} on the long text")


if __name__ == "__main__":
    main()
