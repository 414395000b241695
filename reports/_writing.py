"""Texts that were written under an eviction policy, as the page shows them: what was there and what was gone, at any time."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise, takewhile
from typing import Any, Final

import numpy as np
import pandas as pd

from reasoning_anatomy.run.folder import Run
from reasoning_anatomy.run.sweep import SweepFolder
from reasoning_anatomy.specs import CUTS_OFF
from reasoning_anatomy.transcripts import EvictionEvent, EvictionTranscript
from reports._style import number, whole

MOST_STOPS: Final = 100
"""Places of the time slider; if there are more evictions, one place stands for several that follow one another."""

TEXTS_SHOWN: Final = 2
"""Texts of a sweep that the page shows for every policy and question, from the first sample."""

Shown = Callable[[str], str]
"""Makes text fit to be shown, every character of it another or the same one."""


@dataclass(frozen=True)
class Writing:
    """A text that was written under a policy.

    Attributes
    ----------
    label
        By which a reader chooses it among those of a chain.
    transcript
        The text, and what was evicted while it was written.
    reasoning
        Half-open span in the text, in characters, of the reasoning that the run measures; None if it measures none of it.
    """

    label: str
    transcript: EvictionTranscript
    reasoning: tuple[int, int] | None = None


Writings = Mapping[str, Sequence[Writing]]
"""Texts by the chain_id of the chain that they belong to."""


def writings_of(run: Run) -> Writings:
    """List the texts of a run that were written under a policy, by chain_id; a chain may have several."""
    found: dict[str, list[Writing]] = {}
    for chain_id, transcript in run.transcripts().items():
        chain = run.chains[chain_id]
        found[chain_id] = [Writing("the chain itself", transcript, transcript.place_of(chain.reasoning, chain.answer))]
    for chain_id, texts in _of_sweep(run).items():
        found.setdefault(chain_id, []).extend(texts)
    return found


def _of_sweep(run: Run) -> dict[str, list[Writing]]:
    """List the first texts of a sweep under every policy; what several policies share is there once."""
    folder = SweepFolder(run, run.manifest.configuration)
    conditions = {each.plugins[0]: each for each in sorted(folder.live, key=lambda condition: condition.samples)}
    found: dict[str, list[Writing]] = {}
    for chain_id in folder.first_of_question.values():
        for condition in sorted(conditions.values(), key=lambda each: (each.strategy, each.threshold)):
            for text in folder.texts(chain_id, condition)[:TEXTS_SHOWN]:
                policy = f"{condition.strategy} at {condition.threshold:g}" if condition.threshold else "nothing evicted"
                label = f"{policy}, sample {text.answer.sample + 1}"
                found.setdefault(chain_id, []).append(Writing(label, text.transcript))
    return found


def writing_numbers(writing: Writing, shown: Shown) -> dict[str, Any]:
    """Turn a text and its transcript into what the script needs.

    Returns
    -------
    ``label``; ``facts`` (name and value); ``text`` with the ``lengths`` of its tokens in UTF-16 units, as scripts count;
    ``prompt`` (tokens); ``again`` (tokens that were written again); ``reasoning`` (first token, and that behind the last);
    ``stops``, in time: tokens written, tokens evicted since the last one, those of the prompt among them, steps that they are
    of, tokens in the cache before and after; ``gone`` by stop: borders of the runs of tokens that are in no head any more; and
    ``steps`` by stop: how many first tokens of steps are as at the last one, the others, and the scores of all.
    """
    transcript = writing.transcript
    stops = _stops(transcript.events)
    spans = list(pairwise([0, *transcript.token_ends]))
    text = shown(transcript.text)
    return {
        "label": writing.label,
        "facts": [(name, shown(value)) for name, value in _facts(transcript)],
        "text": text,
        "lengths": [len(text[start:end].encode("utf-16-le", errors="surrogatepass")) // 2 for start, end in spans],
        "prompt": transcript.n_prompt,
        "again": transcript.rewritten,
        "reasoning": None if writing.reasoning is None else _tokens_in(writing.reasoning, transcript.token_ends),
        "stops": [_row(events) for events in stops],
        "gone": [_borders([token for event in events for token in event.evicted if token >= 0]) for events in stops],
        "steps": _steps([events[-1] for events in stops]),
    }


def eviction_table(transcripts: Sequence[EvictionTranscript]) -> pd.DataFrame:
    """One row per policy: means over the texts that were written under it."""
    rows = [
        {
            "policy": each.policy,
            "n_texts": 1,
            "cut_off": each.finish_reason in CUTS_OFF,
            "tokens_written": each.n_written,
            "peak_cache_tokens": each.peak_tokens,
            "peak_cache_megabytes": each.peak_bytes / 1e6,
            "evictions": len(each.events),
            "share_evicted": each.n_evicted / (each.n_prompt + each.n_written),
            "tokens_written_again": each.n_rewritten,
        }
        for each in transcripts
    ]
    if not rows:
        return pd.DataFrame()
    table = pd.DataFrame(rows)
    how = {name: "sum" if name in ("n_texts", "cut_off") else "mean" for name in table.columns if name != "policy"}
    return table.groupby("policy", sort=True).agg(how).reset_index()


def _facts(transcript: EvictionTranscript) -> list[tuple[str, str]]:
    cut_off = " (cut off)" if transcript.finish_reason in CUTS_OFF else ""
    peak = f"{whole(transcript.peak_tokens)} tokens, {number(transcript.peak_bytes / 1e6)} MB"
    skipped = f" ({transcript.n_skipped} skipped: the probe did not fit)" if transcript.n_skipped else ""
    return [
        ("policy", transcript.policy),
        ("finish reason", transcript.finish_reason + cut_off),
        ("peak cache", peak),
        ("evictions", whole(len(transcript.events)) + skipped),
        ("tokens evicted", f"{whole(transcript.n_evicted)} of {whole(transcript.n_prompt + transcript.n_written)}"),
        ("tokens written again", whole(transcript.n_rewritten)),
    ]


def _stops(events: Sequence[EvictionEvent]) -> list[list[EvictionEvent]]:
    """Put events that follow one another together, so that there are not too many stops."""
    together = -(-len(events) // MOST_STOPS)
    return [[event for _, event in group] for _, group in groupby(enumerate(events), lambda pair: pair[0] // together)]


def _row(events: Sequence[EvictionEvent]) -> list[int]:
    last = events[-1]
    evicted = np.array([token for event in events for token in event.evicted], dtype=np.int64)
    steps = np.searchsorted(last.step_starts, evicted[evicted >= 0], side="right")
    n_steps = len(np.unique(steps)) if last.step_starts else 0
    n_evicted = sum(event.n_before - event.n_after for event in events)
    return [last.n_written, n_evicted, int((evicted < 0).sum()), n_steps, last.n_before, last.n_after]


def _borders(tokens: Sequence[int]) -> list[int]:
    """First token of every run of consecutive ones, and the token behind it.

    >>> _borders([7, 3, 4, 5])
    [3, 6, 7, 8]
    """
    ordered = np.array(sorted(tokens), dtype=np.int64)
    firsts = ordered[np.diff(ordered, prepend=-2) > 1]
    lasts = ordered[np.diff(ordered, append=np.iinfo(np.int64).max) > 1]
    return [int(border) for pair in zip(firsts, lasts + 1, strict=True) for border in pair]


def _steps(events: Sequence[EvictionEvent]) -> list[list[Any]]:
    before: tuple[int, ...] = ()
    rows: list[list[Any]] = []
    for event in events:
        n_same = len(list(takewhile(lambda pair: pair[0] == pair[1], zip(before, event.step_starts, strict=False))))
        rows.append([n_same, event.step_starts[n_same:], [_rounded(score) for score in event.step_scores]])
        before = event.step_starts
    return rows


def _rounded(score: float | None) -> float | None:
    return None if score is None else float(f"{score:.3g}")


def _tokens_in(span: tuple[int, int], token_ends: Sequence[int]) -> list[int]:
    """First token with a character of a span, and the token behind the last."""
    start, end = span
    return [int(np.searchsorted(token_ends, start, side="right")), int(np.searchsorted(token_ends, end, side="left")) + 1]
