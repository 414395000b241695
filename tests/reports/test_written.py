"""The page of a run whose chains were written under eviction policies: what the viewer holds of them, and the table."""

import dataclasses
import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest

from reasoning_anatomy.run import open_run
from reasoning_anatomy.run.evaluations import Answer
from reasoning_anatomy.run.manifest import Condition
from reasoning_anatomy.run.sweep import SweepFolder
from reasoning_anatomy.run.writer import begin_run
from reasoning_anatomy.run.written import WrittenText
from reasoning_anatomy.transcripts import EvictionEvent
from reports import write_report
from reports._writing import MOST_STOPS, TEXTS_SHOWN, Writing, writing_numbers

HOSTILE = (
    "</script><script>window.hacked=1</script>",
    "<!-- <script>",
    "<img src=x onerror='window.hacked=1'>",
    "a\u2028b\u2029c\x00\x1b \U0001f9ee",
    "{{7*7}}{% raw %}",
    "\u202e\u05e9\u05dc\u05d5\u05dd & &amp; \"'`",
)


class Page(HTMLParser):
    """Tags, attributes and the data of scripts."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.attributes, self.scripts = [], [], []
        self.inside = ""
        self.feed(html)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.attributes += [name for name, _ in attributes]
        self.inside = tag

    def handle_endtag(self, tag):
        self.inside = ""

    def handle_data(self, data):
        if self.inside == "script":
            self.scripts.append(data)


def page_of(run, path):
    return write_report(run, path).read_text(encoding="utf-8")


def written_of(html):
    """What the viewer holds of every chain's texts; None for a chain without any."""
    return [json.loads(text).get("written") for text in Page(html).scripts if text.startswith('{"ids"')]


@pytest.fixture(scope="module")
def html(written_run, tmp_path_factory):
    return page_of(written_run, tmp_path_factory.mktemp("page") / "report.html")


def gone_at(numbers):
    """By token, the stop at which it went."""
    found = {}
    for stop, borders in enumerate(numbers["gone"]):
        for first, behind in zip(borders[::2], borders[1::2], strict=True):
            found |= dict.fromkeys(range(first, behind), stop)
    return found


def steps_of(numbers):
    """First tokens of the steps, and their scores, by stop."""
    starts, found = [], []
    for n_same, others, scores in numbers["steps"]:
        starts = [*starts[:n_same], *others]
        found.append((starts, scores))
    return found


def test_the_viewer_holds_every_text_with_what_was_evicted_when(html, written_run):
    transcripts = written_run.transcripts()
    for chain_id, written in zip(written_run.measured, written_of(html), strict=True):
        assert (written is None) == (chain_id not in transcripts)
        if written is None:
            continue
        (numbers,), transcript = written, transcripts[chain_id]
        assert numbers["text"] == transcript.text
        assert np.cumsum(numbers["lengths"]).tolist() == list(transcript.token_ends)
        first, behind = numbers["reasoning"]
        pieces = np.split(np.array(list(transcript.text)), transcript.token_ends[:-1])
        assert "".join(np.concatenate(pieces[first:behind])).strip() == written_run.chains[chain_id].reasoning.strip()
        assert gone_at(numbers) == {1: 0, 2: 0, 4: 1, 5: 1}
        assert numbers["stops"] == [[6, 3, 1, 2, 15, 12], [9, 2, 0, 1, 15, 13]]
        assert steps_of(numbers) == [([*event.step_starts], [*event.step_scores]) for event in transcript.events]
        assert numbers["again"] == [8, 9]
        assert ["evictions", "2 (1 skipped: the probe did not fit)"] in numbers["facts"]
        assert ["peak cache", "21 tokens, 2.50 MB"] in numbers["facts"]
    reasons = [dict(written[0]["facts"])["finish reason"] for written in written_of(html) if written]
    assert reasons == ["eos", "loop (cut off)", "eos", "eos", "eos"]


def test_the_table_has_a_row_for_every_policy(html):
    part = html[html.index('<section id="evictions">') :]
    part = part[: part.index("</section>")]
    rows = [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row) for row in re.findall(r"<tr>(.*?)</tr>", part)]
    assert [row[:3] for row in rows[1:]] == [["Other", "1", "1"], ["Scripted<small>budget=0.5</small>", "4", "0"]]
    header = [cell.replace("_<wbr>", "_") for cell in rows[0]]
    assert dict(zip(header, rows[1], strict=True))["peak cache tokens"] == "21"
    assert dict(zip(header, rows[1], strict=True))["tokens written again"] == "2"


def test_texts_of_a_sweep_stand_below_the_first_chain_of_their_question(make_planted_run, chains, transcript_of, tmp_path):
    run = make_planted_run(tmp_path / "run", chains)
    policies = {0.0: "Nothing()", 0.5: "Streaming(budget=0.5)"}
    conditions = [
        Condition(strategy="streaming", threshold=threshold, reading="live", samples=3, plugins=(policy,))
        for threshold, policy in policies.items()
    ]
    configuration = run.manifest.configuration.model_copy(
        update={"answering": "Answering()", "conditions": {each.label: each for each in conditions}}
    )
    with begin_run(run.folder, configuration, chains) as writer:
        folder = SweepFolder(writer.run, configuration)
        for policy in policies.values():
            for sample in range(3):
                answer = Answer(sample, 7, "It is 3.", 3, "eos")
                folder.add_text("chain-0", policy, WrittenText(answer, transcript_of(chains[1], policy=policy), False))
    html = page_of(open_run(run.folder), tmp_path / "r.html")
    first, *others = written_of(html)
    assert [numbers["label"] for numbers in first] == [
        "nothing evicted, sample 1", "nothing evicted, sample 2", "streaming at 0.5, sample 1", "streaming at 0.5, sample 2",
    ]  # fmt: skip
    assert {numbers["reasoning"] for numbers in first} == {None}
    assert set(others) == {None}
    assert TEXTS_SHOWN == 2


def test_a_run_without_transcripts_has_the_page_it_had(full_run, tmp_path):
    html = page_of(full_run, tmp_path / "r.html")
    for word in ('id="written"', 'id="time"', 'id="evictions"', '"written"'):
        assert word not in html, word
    assert html.count("<script>") == 5


def test_a_transcript_of_a_chain_that_is_not_shown_needs_no_slider(written_run, tmp_path):
    html = write_report(written_run, tmp_path / "r.html", chain_ids=["chain-1"]).read_text(encoding="utf-8")
    assert 'id="time"' not in html
    assert '<section id="evictions">' in html


def test_hostile_texts_and_policies_stay_text(make_planted_run, chains, add_transcripts, transcript_of, tmp_path):
    many = [
        chains[0].model_copy(update={"chain_id": f"c{number}", "reasoning": f"so {text} it is 3"})
        for number, text in enumerate(HOSTILE)
    ]
    transcripts = {chain.chain_id: transcript_of(chain, policy=f"P({HOSTILE[0]!r})", reason=HOSTILE[2]) for chain in many}
    run = add_transcripts(make_planted_run(tmp_path / "run", many), transcripts)
    html = page_of(run, tmp_path / "r.html")
    page = Page(html)
    assert page.tags.count("script") == len(many) + 7, "one of numbers per chain, one of words, six of code"
    assert not {"img", "iframe", "object"} & set(page.tags)
    assert not {"onerror", "onload"} & set(page.attributes)
    for chain, (numbers,) in zip(many, written_of(html), strict=True):
        visible = transcripts[chain.chain_id].text.replace("\x00", "\u2400").replace("\x1b", "\u241b")
        assert numbers["text"] == visible
        assert dict(numbers["facts"])["policy"] == f"P({HOSTILE[0]!r})"


def test_lengths_count_as_scripts_do(transcript_of, chains):
    transcript = transcript_of(chains[0].model_copy(update={"reasoning": "a \U0001f9ee\U0001f9ee b \ud83d c"}))
    numbers = writing_numbers(Writing("one", transcript), str)
    units = [len(piece.encode("utf-16-le", errors="surrogatepass")) // 2 for piece in re.findall(r"\S+\s*", transcript.text)]
    assert numbers["lengths"] == units
    assert units[2] == 5


def test_many_evictions_share_places_of_the_slider(transcript_of, chains):
    n = 3 * MOST_STOPS + 1
    events = tuple(EvictionEvent(k + 5, (k,), 20, 19) for k in range(n))
    transcript = dataclasses.replace(transcript_of(chains[0]), events=events)
    numbers = writing_numbers(Writing("one", transcript), str)
    assert len(numbers["stops"]) == len(numbers["gone"]) == len(numbers["steps"]) <= MOST_STOPS
    assert sum(stop[1] for stop in numbers["stops"]) == n
    assert set(gone_at(numbers)) == set(range(n))
    for token, stop in gone_at(numbers).items():
        assert numbers["stops"][stop][0] >= token + 5


def test_a_text_from_which_nothing_was_evicted_has_no_stops(transcript_of, chains):
    numbers = writing_numbers(Writing("one", dataclasses.replace(transcript_of(chains[0]), events=())), str)
    assert numbers["stops"] == numbers["gone"] == numbers["steps"] == []


def test_same_transcripts_same_bytes(written_run, html, tmp_path):
    assert page_of(open_run(written_run.folder), tmp_path / "again.html") == html
