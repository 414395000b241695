"""The page in a real browser, opened from disk."""

import dataclasses
from urllib.parse import quote, urlencode

import numpy as np
import pytest

from annotations.token_roles import write_token_roles
from benchmarks.report import plant, plant_sweep
from reasoning_anatomy.run import open_run
from reasoning_anatomy.run.manifest import Configuration
from reasoning_anatomy.run.sweep import SweepFolder
from reasoning_anatomy.run.writer import begin_run
from reasoning_anatomy.types import EncodedChain, PruningPath
from reports import write_report
from reports._page import frame
from reports._style import LOOKS, cividis
from reports._writing import Writing


@pytest.fixture(scope="module")
def run(make_full_run, chains, annotate, add_paths):
    """Write a run with hostile text, two annotators, two strategies and roles."""
    attack = "<script>window.hacked=1</script><img src=x onerror='window.hacked=1'>{{7*7}}\u2028"
    hostile = chains[0].model_copy(
        update={"chain_id": attack, "question": attack, "reasoning": f"one\n\n{attack} two\u202e three", "answer": attack}
    )
    run = make_full_run([*chains[1:], hostile])
    annotate(run, "second", shift=1)
    curves = {chain_id: np.linspace(1, 2, run.encoded(chain_id).n_reasoning) for chain_id in run.measured}
    forward = {
        chain_id: PruningPath(
            "forward()", len(curve), np.arange(len(curve) - 1), np.full(len(curve) - 1, np.nan), 0, curve, curve, curve
        )
        for chain_id, curve in curves.items()
    }
    run = add_paths(run, "forward", forward)
    write_token_roles(run)
    return run


@pytest.fixture(scope="module")
def address(run, tmp_path_factory):
    return write_report(run, tmp_path_factory.mktemp("page") / "report.html").as_uri()


@pytest.fixture(scope="module")
def sparse_address(sparse_run, tmp_path_factory):
    return write_report(sparse_run, tmp_path_factory.mktemp("page") / "report.html").as_uri()


@pytest.fixture(scope="module")
def swept_address(swept_run, tmp_path_factory):
    return write_report(swept_run, tmp_path_factory.mktemp("page") / "report.html").as_uri()


@pytest.fixture(scope="module")
def written_address(written_run, tmp_path_factory):
    return write_report(written_run, tmp_path_factory.mktemp("page") / "report.html").as_uri()


@pytest.fixture(scope="module")
def long_address(tmp_path_factory):
    folder = tmp_path_factory.mktemp("long")
    return write_report(plant_sweep(plant(folder / "run", 1, 2000)), folder / "report.html").as_uri()


@pytest.fixture
def open_page(open_any_page, address):
    """Open a page, this module's run if no other is named."""
    return lambda where=address, **options: open_any_page(where, **options)


SLIDE = """k => {
    const slider = document.getElementById('step');
    slider.value = k;
    slider.dispatchEvent(new Event('input', {bubbles: true}));
}"""


def slide(page, step):
    page.evaluate(SLIDE, step)


def struck(page):
    return page.evaluate(
        """() => [...document.querySelectorAll('.chain.active .tokens span')].map((t, i) => [t, i])
        .filter(([t]) => getComputedStyle(t).textDecorationLine.includes('line-through')).map(([, i]) => i)"""
    )


def test_the_slider_strikes_as_many_tokens_as_it_says(open_page, run):
    page = open_page()
    tokens = run.tokens()
    steps = tokens.loc[tokens["chain_id"] == "chain-1", "deletion_step_greedy"].astype("float").tolist()
    last = int(page.get_attribute("#step", "max"))
    assert last == np.nanmax(steps)
    paths = run.paths()
    nll = paths.loc[paths["chain_id"] == "chain-1", "nll_answer"].tolist()
    for step in (0, 1, 5, last, 3, 0):
        slide(page, step)
        assert struck(page) == np.flatnonzero(np.array(steps) <= step).tolist()
        reading = page.inner_text("#reading")
        assert f"step {step} of {last}" in reading
        assert f"{nll[step]:.3g}" in reading


def test_the_keyboard_moves_the_slider(open_page):
    page = open_page()
    page.focus("#step")
    for _ in range(4):
        page.keyboard.press("ArrowRight")
    assert len(struck(page)) == 4


def test_the_strategy_can_be_switched(open_page):
    page = open_page()
    slide(page, 3)
    page.select_option("#strategy", "forward")
    assert struck(page) == [0, 1, 2]


def test_a_step_without_likelihood_says_so_and_the_line_runs_through_the_others(open_page, sparse_address):
    page = open_page(sparse_address)
    page.select_option("#strategy", "sparse")
    last = int(page.get_attribute("#step", "max"))
    for step in (0, 3, 5, last):
        slide(page, step)
        is_evaluated = step % 5 == 0 or step == last
        for reading in (page.inner_text("#reading"), page.get_attribute("#step", "aria-valuetext")):
            assert ("not evaluated" in reading) != is_evaluated
            assert ("nats per token" in reading) == is_evaluated
    assert page.get_attribute("#line", "d").count("L") == len({*range(0, last + 1, 5), last}) - 1


def choose_threshold(page, place):
    page.evaluate(
        """k => {
            const slider = document.getElementById('threshold');
            slider.value = k;
            slider.dispatchEvent(new Event('input', {bubbles: true}));
        }""",
        place,
    )


def greyed(page):
    return page.evaluate(
        """() => [...document.querySelectorAll('.chain.active .tokens span')].map((t, i) => [t, i])
        .filter(([t]) => getComputedStyle(t).backgroundImage.includes('repeating-linear-gradient')).map(([, i]) => i)"""
    )


def kept_of(run, chain_id, strategy, threshold):
    conditions = run.manifest.configuration.conditions.values()
    (condition,) = (each for each in conditions if (each.strategy, each.threshold, each.reference) == (strategy, threshold, ""))
    return SweepFolder(run, run.manifest.configuration).kept(chain_id, condition)


def answers_of(page):
    """Heading, response and facts of the answers side by side."""
    return [text.split("\n") for text in page.locator("#answers .pair > div").all_inner_texts()]


def test_the_threshold_greys_what_is_gone_and_shows_both_answers(open_page, swept_run, swept_address):
    page = open_page(swept_address)
    assert greyed(page) == []
    assert answers_of(page)[1] == ["Move the threshold to see the answer from what is left."]
    page.select_option("#sample", "2")
    table = swept_run.evaluations().query("chain_id == 'chain-0' and sample == 1 and strategy == 'step_percentile'")
    rows = table.set_index("threshold")
    for place, threshold in [(2, 0.6), (1, 0.3), (2, 0.6)]:
        choose_threshold(page, place)
        kept, row = kept_of(swept_run, "chain-0", "step_percentile", threshold), rows.loc[threshold]
        assert greyed(page) == kept.deleted.tolist()
        steps = f"{row['steps_after']} of {row['steps_before']} steps kept"
        said = f"{threshold} · {len(kept.positions)} of {kept.n_reasoning} tokens and {steps}"
        assert page.inner_text("#kept") == page.get_attribute("#threshold", "aria-valuetext") == said
        for column, at in zip(answers_of(page), (0, threshold), strict=True):
            answer = rows.loc[at]
            assert column[0] == f"Answer at threshold {at}"
            text = " ".join(column)
            for value in (answer["response"], answer["verdict"], answer["extracted"], "eos", str(answer["tokens_generated"])):
                assert value in text, value
    assert rows.loc[0, "verdict"] != rows.loc[0.6, "verdict"]
    choose_threshold(page, 0)
    assert greyed(page) == []


def test_strategy_sample_and_chain_can_be_switched_at_a_threshold(open_page, swept_run, swept_address):
    page = open_page(swept_address)
    choose_threshold(page, 2)
    page.select_option("#swept", "streaming")
    assert greyed(page) == kept_of(swept_run, "chain-0", "streaming", 0.6).deleted.tolist()
    assert "verdict correct" in " ".join(answers_of(page)[1])
    page.select_option("#sample", "2")
    assert "verdict wrong" in " ".join(answers_of(page)[1])
    page.click("#next")
    assert page.inner_text("#kept").startswith("0.6 · "), "the threshold stays"
    assert greyed(page) == kept_of(swept_run, "chain-1", "streaming", 0.6).deleted.tolist()
    page.click("#previous")
    assert greyed(page) == kept_of(swept_run, "chain-0", "streaming", 0.6).deleted.tolist()
    assert page.locator(".chain.active #answers").count() == 1


def test_both_sliders_work_side_by_side_and_from_the_keyboard(open_page, swept_run, swept_address):
    page = open_page(swept_address)
    page.focus("#threshold")
    page.keyboard.press("ArrowRight")
    gone = kept_of(swept_run, "chain-0", "step_percentile", 0.3).deleted.tolist()
    assert greyed(page) == gone
    page.focus("#step")
    for _ in range(5):
        page.keyboard.press("ArrowRight")
    assert len(struck(page)) == 5
    assert greyed(page) == gone
    page.focus(".chain.active .tokens span[tabindex='0']")
    assert "at this threshold\ngone" in page.inner_text("#card")
    page.keyboard.press("End")
    assert "at this threshold\nkept" in page.inner_text("#card")


def test_text_of_an_answer_never_runs(open_page, make_planted_run, chains, add_sweep, tmp_path):
    attack = "</script><script>window.hacked=1</script><img src=x onerror='window.hacked=1'>\u2028"
    run = add_sweep(make_planted_run(tmp_path / "run", chains[:1]), lambda *_: (f"{attack} \\boxed{{{attack}}}", "length"))
    page = open_page(write_report(run).as_uri())
    choose_threshold(page, 1)
    assert page.evaluate("window.hacked") is None
    assert page.evaluate("document.querySelector('#answers p').textContent") == f"{attack} \\boxed{{{attack}}}"
    assert "length (cut off)" in page.inner_text("#answers")
    assert page.locator("main img").count() == 0


def test_a_chain_without_answers_says_so(open_page, make_planted_run, chains, add_sweep, tmp_path):
    run = add_sweep(make_planted_run(tmp_path / "run", chains[:2]), lambda *_: ("5", "eos"), samples=1)
    table = run.evaluations()
    table[table["chain_id"] != "chain-1"].to_parquet(run.folder / "evaluations.parquet")
    page = open_page(write_report(run).as_uri())
    choose_threshold(page, 2)
    assert greyed(page)
    page.click("#next")
    assert page.inner_text("#kept") == "no answers of this chain"
    assert page.is_disabled("#threshold")
    assert greyed(page) == answers_of(page) == []
    page.click("#next")
    assert page.inner_text("#kept").startswith("0.6 · ")
    assert page.is_enabled("#threshold")


def test_answers_can_be_read_without_scripts(open_page, swept_address):
    page = open_page(swept_address, java_script_enabled=False)
    assert page.locator("div.plain-only:visible").count() == 6
    assert page.locator("#threshold").is_hidden()
    assert page.locator("#answers").is_hidden()
    with_scripts = open_page(swept_address)
    assert with_scripts.locator("div.plain-only:visible").count() == 0


def test_the_verdict_is_in_view_on_a_narrow_screen(open_page, swept_address):
    page = open_page(swept_address, viewport={"width": 400, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") <= 400
    cell = page.locator(".summary tbody tr:nth-child(2) td:last-child").first
    assert cell.inner_text() == "undecided"
    box = cell.bounding_box()
    assert box["x"] + box["width"] <= 400


def go_to(page, stop):
    page.evaluate(
        """k => {
            const slider = document.getElementById('time');
            slider.value = k;
            slider.dispatchEvent(new Event('input', {bubbles: true}));
        }""",
        stop,
    )


def written_tokens(page, condition):
    """Places of the tokens of the written text whose computed style fulfils a condition on ``s``."""
    return page.evaluate(
        f"""() => [...document.querySelectorAll('.chain.active div.flow > span')].map((t, i) => [getComputedStyle(t), i])
        .filter(([s]) => {condition}).map(([, i]) => i)"""
    )


def test_the_time_slider_shows_the_text_as_it_had_been_written_and_strikes_what_was_gone(
    open_page, written_run, written_address
):
    page = open_page(written_address)
    n = written_run.transcripts()["chain-0"].n_written
    wanted = [
        (0, 6, [1, 2], "6 tokens written: 3 tokens of 2 steps (1 of the prompt) evicted, 12 of 15 tokens in the cache"),
        (1, 9, [1, 2, 4, 5], "9 tokens written: 2 tokens of 1 step evicted, 13 of 18 tokens in the cache"),
        (2, n, [1, 2, 4, 5], f"{n} tokens written, the end: {n + 4} of {n + 9} tokens in the cache"),
    ]
    assert page.get_attribute("#time", "max") == "2"
    for stop, written, gone, said in [*wanted[::-1], *wanted]:
        go_to(page, stop)
        assert written_tokens(page, "s.visibility === 'hidden'") == list(range(written, n))
        assert written_tokens(page, "s.textDecorationLine.includes('line-through')") == gone
        assert page.inner_text("#moment") == page.get_attribute("#time", "aria-valuetext") == said
    assert page.text_content("div.flow") == written_run.transcripts()["chain-0"].text
    assert page.inner_text("#written-facts").split("\n")[:4] == ["policy", "Scripted(budget=0.5)", "finish reason", "eos"]


def test_the_scores_of_the_steps_are_those_of_the_moment(open_page, written_address):
    page = open_page(written_address)
    fills = "() => [...document.querySelectorAll('div.flow > span')].map(t => getComputedStyle(t).backgroundColor)"
    at_the_end = page.evaluate(fills)
    assert len(set(at_the_end)) == 1, "nothing is scored when all is written"
    assert page.inner_text("#shades-text") == "score of a step at this moment, by rank: none"
    go_to(page, 0)
    first = page.evaluate(fills)[:6]
    assert first[1] == first[2] == at_the_end[0], "what is gone has no shade"
    assert first[4] == first[5], "they are of one step"
    assert len({at_the_end[0], first[0], first[3], first[4]}) == 4
    assert page.inner_text("#shades-text") == "score of a step at this moment, by rank: 0.125 → 0.750"
    page.hover("div.flow > span:nth-of-type(1)")
    assert "score of the step\n0.500" in page.inner_text("#card")
    go_to(page, 1)
    page.hover("div.flow > span:nth-of-type(2)")
    assert "score of the step\nnone: it is gone" in page.inner_text("#card")
    assert "in the cache\nno: evicted when 6 were written" in page.inner_text("#card")


def test_the_written_text_can_be_gone_through_with_the_keyboard(open_page, written_address):
    page = open_page(written_address)
    page.focus("#time")
    page.keyboard.press("ArrowLeft")
    assert "9 tokens written" in page.inner_text("#moment")
    page.focus("div.flow > span[tabindex='0']")
    page.keyboard.press("End")
    assert "token\n8 of 0 to " in page.inner_text("#card"), "the last that had been written"
    assert "written again\nyes: evicted before" in page.inner_text("#card")
    page.focus("#time")
    page.keyboard.press("Home")
    assert page.locator("div.flow > span[tabindex='0']").count() == 1
    page.focus("div.flow > span[tabindex='0']")
    assert "token\n5 of 0 to " in page.inner_text("#card")
    page.focus(".chain.active .tokens span[tabindex='0']")
    page.keyboard.press("ArrowRight")
    assert "position\n1 of 0 to " in page.inner_text("#card"), "the tokens of the chain are on their own"


def test_only_chains_with_a_transcript_have_a_time_slider(open_page, written_run, written_address):
    page = open_page(written_address)
    assert page.is_visible("#time")
    assert page.is_hidden("#writing"), "there is one text"
    page.click("#next")
    assert page.is_hidden("#time")
    page.click("#next")
    assert "loop (cut off)" in page.inner_text("#written-facts")
    assert page.text_content(".chain.active div.flow") == written_run.transcripts()["chain-2"].text
    page.click("#previous")
    page.click("#previous")
    assert page.text_content(".chain.active div.flow") == written_run.transcripts()["chain-0"].text
    assert page.locator("#written").count() == 1


def test_one_of_several_texts_is_chosen(open_page, written_run, written_address, tmp_path, monkeypatch):
    transcripts = written_run.transcripts()
    texts = {"chain-0": [Writing(f"<b>{name}</b>", transcripts[name]) for name in ("chain-0", "chain-2")]}
    monkeypatch.setattr("reports._page.writings_of", lambda _: texts)
    page = open_page(write_report(written_run, tmp_path / "r.html").as_uri())
    assert page.locator("#writing option").all_inner_texts() == ["<b>chain-0</b>", "<b>chain-2</b>"]
    go_to(page, 0)
    page.select_option("#writing", "<b>chain-2</b>")
    assert page.text_content("div.flow") == transcripts["chain-2"].text
    assert "Other()" in page.inner_text("#written-facts")
    assert page.is_hidden("#around"), "no part of it is the reasoning of the run"


def test_tokens_that_only_some_heads_hold_are_not_struck(open_page, written_run, tmp_path, monkeypatch):
    whole = written_run.transcripts()["chain-0"]
    events = [dataclasses.replace(event, evicted=event.evicted[-1:], step_starts=(), step_scores=()) for event in whole.events]
    texts = {"chain-0": [Writing("per head", dataclasses.replace(whole, events=tuple(events)))]}
    monkeypatch.setattr("reports._page.writings_of", lambda _: texts)
    page = open_page(write_report(written_run, tmp_path / "r.html").as_uri())
    go_to(page, 0)
    said = "6 tokens written: 3 tokens evicted in each head, 1 token left the last one, 12 of 15 tokens in the cache"
    assert page.inner_text("#moment") == said
    assert written_tokens(page, "s.textDecorationLine.includes('line-through')") == [2]
    assert page.is_hidden("#shades"), "nothing was scored"


def test_a_written_text_never_runs(open_page, make_planted_run, chains, add_transcripts, transcript_of, tmp_path):
    attack = "</script><script>window.hacked=1</script><img src=x onerror='window.hacked=1'>\u2028\U0001f9ee"
    chain = chains[0].model_copy(update={"reasoning": f"one {attack} two\u202e three"})
    transcript = transcript_of(chain, policy=attack, reason=attack)
    page = open_page(
        write_report(add_transcripts(make_planted_run(tmp_path / "run", [chain]), {"chain-0": transcript})).as_uri()
    )
    go_to(page, 1)
    page.hover("div.flow > span:nth-of-type(1)")
    assert page.evaluate("window.hacked") is None
    assert page.text_content("div.flow") == transcript.text
    assert page.text_content("#written-facts dd") == attack
    assert page.locator("main img").count() == 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_time_slider_stays_in_view_on_a_narrow_screen(open_page, written_address, scheme):
    page = open_page(written_address, viewport={"width": 400, "height": 800}, color_scheme=scheme, reduced_motion="reduce")
    assert page.evaluate("document.documentElement.scrollWidth") <= 400
    page.evaluate("document.querySelector('div.flow').scrollIntoView()")
    box = page.locator("#time").bounding_box()
    assert 0 < box["y"] < 800


def fills(page, pane=0):
    """Background of every token of a pane."""
    return page.evaluate(
        """pane => [...document.querySelectorAll('.chain.active .pane')[pane].querySelectorAll('.tokens span')]
        .map(t => getComputedStyle(t).backgroundColor)""",
        pane,
    )


def test_colours_can_be_switched(open_page):
    page = open_page()
    colours = {}
    for choice in ("category:crude", "class:crude", "score:answer_attention", "step:greedy", "step:forward", "none:"):
        page.select_option("#colour", choice)
        colours[choice] = fills(page)
    assert len({tuple(each) for each in colours.values()}) == len(colours)
    assert len(set(colours["category:crude"])) == 4
    assert len(set(colours["class:crude"])) == 2
    assert len(set(colours["score:answer_attention"])) == 9
    assert len(set(colours["none:"])) == 1
    page.select_option("#colour", "category:second")
    assert fills(page)[:-1] == colours["category:crude"][1:]


def tokens_of(run, chain_id):
    return run.tokens().query("chain_id == @chain_id").sort_values("position")


def test_tokens_stand_in_their_order(open_page, run):
    page = open_page()
    for chain_id in list(run.chains)[:2]:
        rows = tokens_of(run, chain_id)
        assert page.locator(".chain.active .tokens span").all_text_contents() == rows["text"].tolist()
        assert page.text_content(".chain.active .tokens") == run.chains[chain_id].reasoning
        page.click("#next")


def test_colours_follow_the_numbers(open_page, run):
    page = open_page()
    rows = tokens_of(run, "chain-1")
    shades = [tuple(int(colour[k : k + 2], 16) for k in (1, 3, 5)) for colour, _ in cividis()]
    for choice, column in (("score:answer_attention", "score_answer_attention"), ("step:forward", "deletion_step_forward")):
        page.select_option("#colour", choice)
        values = rows[column].astype("float").to_numpy()
        n = np.isfinite(values).sum()
        places = [min(8, int(9 * (values < value).sum() / n)) if np.isfinite(value) else None for value in values]
        wanted = ["rgba(0, 0, 0, 0)" if place is None else f"rgb{shades[place]}" for place in places]
        assert fills(page) == wanted, choice
    frames = page.evaluate(
        "[...document.querySelectorAll('.chain.active .tokens span')].map(t => getComputedStyle(t).outlineStyle)"
    )
    assert [style == "dotted" for style in frames] == rows["deletion_step_forward"].isna().tolist()


def framed(page, pane):
    return page.evaluate(
        """pane => [...document.querySelectorAll('.chain.active .pane')[pane].querySelectorAll('.tokens span')]
        .map((t, i) => [t, i]).filter(([t]) => getComputedStyle(t).boxShadow !== 'none').map(([, i]) => i)""",
        pane,
    )


def test_two_orders_side_by_side_frame_what_only_one_of_them_has_deleted(open_page, run):
    page = open_page()
    page.check("#compare")
    assert page.locator(".chain.active .pane").count() == 2
    steps = [tokens_of(run, "chain-1")[f"deletion_step_{name}"].astype("float").to_numpy() for name in ("greedy", "forward")]
    for step in (5, 9, 4, 0):
        slide(page, step)
        one, two = (each <= step for each in steps)
        assert framed(page, 0) == framed(page, 1) == np.flatnonzero(one != two).tolist()
        only = [int((a & ~b).sum()) for a, b in ((one, two), (two, one))]
        said = f"Framed: deleted by one of the two only: {only[0]} by greedy, {only[1]} by forward."
        assert page.inner_text("#difference") == said
        assert page.inner_text("#reading").count(f"step {step} of") == 2
    assert page.get_attribute("#line", "d") != page.get_attribute("#line-2", "d")
    assert "line: greedy, dashed: forward" in page.text_content("#curve-name")
    page.click("#next")
    assert page.locator(".pane").count() == 7, "of six chains, one has two"
    page.uncheck("#compare")
    assert page.locator(".pane").count() == 6
    assert page.is_hidden("#difference")
    assert page.get_attribute("#line-2", "d") == ""


def test_two_colours_side_by_side_frame_where_they_differ(open_page, run):
    page = open_page()
    page.check("#compare")
    page.select_option("#strategy-2", "greedy")
    rows = tokens_of(run, "chain-1")
    page.select_option("#colour", "category:crude")
    page.select_option("#colour-2", "category:second")
    differ = np.flatnonzero((rows["category_crude"] != rows["category_second"]).to_numpy()).tolist()
    assert framed(page, 0) == framed(page, 1) == differ
    page.select_option("#colour", "score:answer_attention")
    page.select_option("#colour-2", "step:greedy")
    ranks = (rows["score_answer_attention"].rank().to_numpy() - 1) / len(rows)
    steps = rows["deletion_step_greedy"].astype("float").to_numpy()
    steps = np.where(np.isnan(steps), 1, (steps - 1) / np.nanmax(steps))
    assert framed(page, 1) == np.flatnonzero(np.abs(ranks - steps) >= 1 / 3).tolist() != []
    assert fills(page, 0) != fills(page, 1)
    page.select_option("#colour-2", "category:crude")
    assert framed(page, 0) == []
    assert "Nothing is framed" in page.inner_text("#difference")


@pytest.mark.parametrize(("width", "is_beside"), [(1200, True), (700, False)])
def test_what_is_pointed_at_is_shown_in_both_views(open_page, width, is_beside):
    page = open_page(viewport={"width": width, "height": 900}, reduced_motion="reduce")
    page.check("#compare")
    boxes = [page.locator(".chain.active .pane").nth(place).bounding_box() for place in (0, 1)]
    assert (boxes[0]["y"] == boxes[1]["y"]) == is_beside
    page.locator(".chain.active .pane").nth(1).locator(".tokens span").nth(2).hover()
    assert page.evaluate("[...document.querySelectorAll('.here')].map(t => t.position)") == [2, 2]
    assert "deletion_step of forward\n3 of" in page.inner_text("#card")
    assert "deletion_step of greedy" in page.inner_text("#card")


def dimmed(page):
    return page.evaluate(
        """() => [...document.querySelectorAll('.chain.active .tokens span')].map((t, i) => [t, i])
        .filter(([t]) => t.classList.contains('dim')).map(([, i]) => i)"""
    )


def test_all_but_a_category_a_class_or_a_role_is_dimmed(open_page, run):
    page = open_page()
    rows = tokens_of(run, "chain-1")
    of_class = rows["category_second"].isin(["SYMBOLIC_MATH", "VERBAL_MATH"])
    for choice, wanted in (
        ("category:4:crude", rows["category_crude"] == "ENTITY_NAME"),
        ("class:0:second", of_class),
        ("role:0:numeric", rows["role_numeric"]),
    ):
        page.select_option("#only", choice)
        assert dimmed(page) == np.flatnonzero(~wanted.to_numpy(dtype=bool)).tolist(), choice
        assert page.inner_text("#n-only") == f"{wanted.sum()} of {len(rows)} tokens"
    lost = page.evaluate(
        "new Set([...document.querySelectorAll('.chain.active .dim')].map(t => getComputedStyle(t).backgroundColor)).size"
    )
    assert lost == 1
    page.click("#next")
    assert dimmed(page) == np.flatnonzero(~tokens_of(run, "chain-2")["role_numeric"].to_numpy(dtype=bool)).tolist(), "it stays"
    page.select_option("#only", "")
    assert dimmed(page) == []


def found(page, which="found"):
    return page.evaluate(
        """which => [...document.querySelectorAll('.chain.active .tokens span')]
        .flatMap((t, i) => t.classList.contains(which) ? [i] : [])""",
        which,
    )


def test_text_is_found_in_and_across_tokens(open_page, run):
    page = open_page()
    texts = tokens_of(run, "chain-1")["text"].tolist()
    assert texts[:7] == ["First", ",", "1", "+", "3", "=", "4"]
    page.fill("#find", "3")
    places = [i for i, text in enumerate(texts) if "3" in text]
    assert found(page) == places
    assert page.inner_text("#found") == f"1 of {len(places)}"
    for key, now in (("Enter", 1), ("Enter", 0), ("Shift+Enter", 1)):
        page.press("#find", key)
        assert found(page, "now") == [places[now]]
    page.click("#find-next")
    assert found(page, "now") == [places[0]]
    page.fill("#find", "FIRST, 1 +")
    assert found(page) == found(page, "now") == [0, 1, 2, 3]
    page.fill("#find", "nowhere")
    assert page.inner_text("#found") == "not there"
    assert found(page) == []
    page.fill("#find", "")
    assert page.inner_text("#found") == ""


def test_whitespace_and_steps_are_shown_on_demand_and_the_text_stays(open_page, run):
    page = open_page()
    box = page.locator(".chain.active .tokens")
    before, text = box.inner_html(), run.chains["chain-1"].reasoning
    page.check("#whitespace")
    assert box.locator("u").count() == text.count(" ")
    page.select_option("#blocks", "sentences")
    n_steps = tokens_of(run, "chain-1")["step_sentences"].nunique()
    assert box.locator(".step").count() == n_steps > 1
    steps = tokens_of(run, "chain-1").groupby("step_sentences")["text"].agg(list).tolist()
    shown = [box.locator(".step").nth(k).locator("span").all_text_contents() for k in range(n_steps)]
    assert shown == steps
    assert box.text_content() == text
    page.select_option("#blocks", "")
    page.uncheck("#whitespace")
    assert box.inner_html() == before


@pytest.mark.parametrize("character", ["\t", "\u00a0"])
def test_other_whitespace_has_other_signs(open_page, make_planted_run, chains, tmp_path, character):
    chain = chains[0].model_copy(update={"reasoning": f"one{character}two three"})
    page = open_page(write_report(make_planted_run(tmp_path / "run", [chain])).as_uri())
    page.check("#whitespace")
    assert page.evaluate("[...document.querySelectorAll('.tokens u')].map(u => [u.className, u.textContent])") == [
        ["tab" if character == "\t" else "odd", character],
        ["", " "],
    ]


def address_of(page):
    page.wait_for_timeout(250)
    return page.evaluate("decodeURIComponent(location.hash)")


def test_the_address_says_which_chain_and_step_is_shown(open_page, address):
    page = open_page()
    assert address_of(page) == "", "nothing is written before anything is chosen"
    length = page.evaluate("history.length")
    page.click("#next")
    slide(page, 4)
    page.select_option("#colour", "score:answer_attention")
    assert address_of(page) == "#chain=chain-2&step=4&colour=score:answer_attention"
    page.check("#compare")
    page.select_option("#strategy", "forward")
    page.wait_for_timeout(250)
    link = page.evaluate("location.href")
    assert page.evaluate("history.length") == length, "the way back does not lead through every step"
    other = open_page(link, reduced_motion="reduce")
    assert other.locator(".chain.active h3").inner_text() == "chain-2"
    for at in ("#colour", "#strategy", "#colour-2", "#strategy-2", "#step"):
        assert other.input_value(at) == page.input_value(at), at
    for pane in (0, 1):
        assert fills(other, pane) == fills(page, pane)
        assert framed(other, pane) == framed(page, pane)
    assert other.evaluate("document.getElementById('viewer').getBoundingClientRect().top < innerHeight")


def test_the_address_has_the_threshold(open_page, swept_run, swept_address):
    page = open_page(f"{swept_address}#chain=chain-2&threshold=0.6")
    assert greyed(page) == kept_of(swept_run, "chain-2", "step_percentile", 0.6).deleted.tolist()
    page.click("#previous")
    assert address_of(page) == "#chain=chain-1&threshold=0.6"


def test_a_link_changes_what_is_shown_without_loading_the_page_again(open_page, address):
    page = open_page(reduced_motion="reduce")
    page.evaluate("location.hash = '#chain=chain-4&step=2'")
    page.locator(".chain.active h3", has_text="chain-4").wait_for()
    assert len(struck(page)) == 2
    page.click("nav a[href='#rank_correlation']")
    assert page.evaluate("location.hash") == "#rank_correlation"
    assert page.evaluate("Math.abs(document.getElementById('rank_correlation').getBoundingClientRect().top) < 400")
    assert page.locator(".chain.active h3").inner_text() == "chain-4"


def test_a_link_followed_right_after_the_slider_stays_in_the_address(open_page):
    page = open_page()
    page.evaluate("""() => {
        const step = document.getElementById("step");
        step.value = 2;
        step.dispatchEvent(new Event("input", {bubbles: true}));
        document.querySelector("nav a[href='#rank_correlation']").click();
    }""")
    assert len(struck(page)) == 2
    assert address_of(page) == "#rank_correlation"


NONSENSE = {
    "step=99999999999999999999": 0, "step=9999": -1, "step=-3": 0, "step=NaN": 0, "step=1e1": 0, "step=0x3": 0,
    "step=3&step=4": 3, "step=%00%ff": 0, "colour=none%3A%3Cimg%20src=x%20onerror=alert(1)%3E&step=1": 1,
    "%E0%A4%A&step=2": 2, "&&==&step=2&%": 2, "step=2#step=3": 0,
    "order=__proto__&colour=step:constructor&order2=toString&colour2=__proto__&threshold=Infinity&step=2": 2,
}  # fmt: skip
"""Steps that fragments lead to; -1 = the last."""


def test_nonsense_in_the_address_is_passed_over(open_page, address):
    page = open_page()
    for fragment, step in NONSENSE.items():
        page.evaluate("history.replaceState(null, '', '#')")
        page.goto(f"{address}#chain=chain-3&{fragment}")
        page.locator(".chain.active h3", has_text="chain-3").wait_for()
        assert len(struck(page)) == (step if step >= 0 else int(page.get_attribute("#step", "max"))), fragment
        assert page.locator(".chain.active .pane").count() == 1
        assert page.input_value("#colour") == "category:crude"
        page.select_option("#chain", "0")


def test_a_chain_that_is_not_there_is_not_shown(open_page, address):
    page = open_page()
    for wanted in ("nobody", "<img src=x onerror='window.hacked=1'>", "__proto__", "\u202e", ""):
        page.goto(f"{address}#chain={quote(wanted)}&step=3")
        said = page.locator("#matches", has_text="The chain of this link is not on this page." if wanted else "")
        said.wait_for(state="attached")
        assert page.locator(".chain.active h3").inner_text() == "chain-1"
        assert struck(page) == []
    assert page.evaluate("window.hacked") is None


def test_a_hostile_chain_can_be_linked_to(open_page, run, address):
    attack = list(run.chains)[-1]
    page = open_page(f"{address}#{urlencode({'chain': attack, 'step': 1})}")
    assert page.text_content(".chain.active h3") == attack
    page.keyboard.press("]")
    assert address_of(page) == f"#chain={attack.replace(' ', '+')}&step=2"


def copied(page, button):
    page.click(button)
    page.locator("#copied:not(:empty)").wait_for(state="attached")
    return page.evaluate("navigator.clipboard.readText()")


def test_a_chain_is_copied_as_text_as_latex_and_as_a_link(open_page, run, address):
    page = open_page(permissions=["clipboard-read", "clipboard-write"])
    chain = run.chains["chain-1"]
    assert copied(page, "#copy-text") == f"{chain.question}\n\n{chain.reasoning}\n\n{chain.answer}"
    slide(page, 2)
    page.select_option("#strategy", "forward")
    left = chain.reasoning.replace("First", "", 1).replace(",", "", 1)
    assert copied(page, "#copy-text") == f"{chain.question}\n\n{left}\n\n{chain.answer}"
    assert page.inner_text("#copied") == "The chain as text, 2 tokens left out, is in the clipboard"
    latex = copied(page, "#copy-latex").splitlines()
    assert latex[0] == "% Chain chain-1; category by crude; 2 of 20 tokens deleted"
    assert rf"\definecolor{{tokenc0}}{{HTML}}{{{LOOKS[0].fill[1:].upper()}}} % symbolic mathematics" in latex
    assert any(
        line.startswith(r"\textcolor{gray}{\sout{First}}\textcolor{gray}{\sout{,}} \colorbox{tokenc3}{\strut 1} ")
        for line in latex
    )
    link = copied(page, "#copy-link")
    assert link.startswith(f"{address}#chain=chain-1&step=2&order=forward")


def test_latex_has_no_sign_that_means_something_else(open_page, make_planted_run, chains, tmp_path):
    text = '\\frac{1}{2} 50% & $x_1^2$ #3 ~ <a|b> "q" `c` it\'s a -- b\u202e \U0001f9ee'
    chain = chains[0].model_copy(update={"reasoning": text, "chain_id": "a\n\\input{/etc/passwd}\u2028%"})
    page = open_page(
        write_report(make_planted_run(tmp_path / "run", [chain])).as_uri(), permissions=["clipboard-read", "clipboard-write"]
    )
    page.select_option("#colour", "none:")
    latex = copied(page, "#copy-latex")
    first, *rest = latex.splitlines()
    assert first.startswith("% Chain a \\input{/etc/passwd} %; no colour; 0 of "), "one line, and a comment"
    body = "".join(line for line in rest if not line.startswith(("%", "{\\setlength", "\\definecolor", "\\par}")))
    wanted = (
        r"\textbackslash{}frac\{1\}\{2\} 50\% \& \$x\_1\textasciicircum{}2\$ \#3 \textasciitilde{} "
        r"\textless{}a\textbar{}b\textgreater{} \textquotedbl{}q\textquotedbl{} \textasciigrave{}c\textasciigrave{} "
        "it\\textquotesingle{}s a {-}{-} b \U0001f9ee"
    )
    assert body == wanted


def test_without_a_clipboard_there_is_something_to_copy_from(open_page, run):
    page = open_page()
    page.evaluate("Object.defineProperty(navigator, 'clipboard', {value: undefined})")
    page.click("#copy-text")
    page.wait_for_selector("#copy:visible")
    assert run.chains["chain-1"].reasoning in page.input_value("#copy")
    assert page.evaluate("document.activeElement.id") == "copy"
    assert page.evaluate("getSelection().toString()").startswith(run.chains["chain-1"].question)


def test_everything_can_be_done_from_the_keyboard(open_page):
    page = open_page()
    page.keyboard.press("]")
    page.keyboard.press("}")
    page.keyboard.press("[")
    assert len(struck(page)) == 10
    page.keyboard.press("{")
    page.keyboard.press("/")
    assert page.evaluate("document.activeElement.id") == "find"
    page.keyboard.type("[/]")
    assert page.input_value("#find") == "[/]", "where one types, signs are signs"
    assert struck(page) == []
    page.focus("#search")
    seen = []
    while not seen or (seen[-1] != "token" and len(seen) < 30):
        page.keyboard.press("Tab")
        seen.append(page.evaluate("document.activeElement.closest('.tokens') ? 'token' : document.activeElement.id"))
    assert {
        "chain",
        "previous",
        "next",
        "only",
        "find",
        "whitespace",
        "blocks",
        "copy-text",
        "copy-latex",
        "copy-link",
        "colour",
        "strategy",
        "compare",
        "step",
        "token",
    } <= set(seen)
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"


def test_the_ends_of_the_curve_have_their_values(open_page, run):
    page = open_page()
    nll = run.paths().query("chain_id == 'chain-1' and strategy == 'greedy'")["nll_answer"]
    assert page.text_content("#curve-high") == f"{nll.max():.3g}" + ".00" * float(nll.max()).is_integer()
    assert page.text_content("#curve-low") == f"{nll.min():.3g}" + ".00" * float(nll.min()).is_integer()
    assert page.text_content("#curve-end") == page.get_attribute("#step", "max")


def test_the_scripts_are_small():
    assert sum(len(script.encode()) for script in frame()["scripts"].values()) < 40_000
    assert not any("innerHTML" in script or "eval(" in script for script in frame()["scripts"].values())


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1200, 400])
def test_there_is_no_serious_obstacle_for_anyone(open_page, address, scheme, width):
    from axe_playwright_python.sync_playwright import Axe

    page = open_page(bypass_csp=True, color_scheme=scheme, viewport={"width": width, "height": 900})
    page.check("#compare")
    slide(page, 4)
    page.select_option("#only", "role:0:numeric")
    page.fill("#find", "3")
    page.check("#whitespace")
    page.select_option("#blocks", "sentences")
    page.select_option("#colour-2", "score:answer_attention")
    violations = Axe().run(page).response["violations"]
    assert [
        (each["id"], [node["html"][:90] for node in each["nodes"][:3]])
        for each in violations
        if each["impact"] in {"serious", "critical"}
    ] == []


def test_hover_and_focus_show_the_numbers_of_a_token(open_page, run):
    page = open_page()
    row = run.tokens().query("chain_id == 'chain-1' and position == 2").iloc[0]
    wanted = [
        row["text"],
        "2 of 0 to",
        f"{row['score_answer_attention']:.3g}",
        str(row["token_id"]),
        "managing the reasoning",
        "0.75",
    ]
    page.hover(".chain.active .tokens span:nth-of-type(3)")
    hovered = page.inner_text("#card")
    page.mouse.move(0, 0)
    page.keyboard.press("Escape")
    page.focus(".chain.active .tokens span[tabindex='0']")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    assert page.inner_text("#card") == hovered
    for text in wanted:
        assert text in hovered, text
    page.keyboard.press("Tab")
    assert page.is_hidden("#card")
    assert page.locator(".chain.active .tokens span[tabindex='0']").count() == 1


def test_text_from_a_chain_never_runs(open_page, run):
    page = open_page()
    last = len(run.chains) - 1
    page.select_option("#chain", str(last))
    page.hover(".chain.active .tokens span:nth-of-type(3)")
    assert page.evaluate("window.hacked") is None
    shown = page.evaluate("document.querySelector('.chain.active .tokens').textContent")
    assert shown == list(run.chains.values())[last].reasoning
    assert page.locator("main img").count() == 0


def test_chains_are_found_by_their_text(open_page):
    page = open_page()
    page.fill("#search", "how many are 4 + 3")
    assert page.locator(".chain.active h3").inner_text() == "chain-4"
    assert "1 of 6 match" in page.inner_text("#matches")
    page.fill("#search", "")
    page.click("#next")
    assert page.locator(".chain.active h3").inner_text() == "chain-5"
    assert page.locator(".chain:visible").count() == 1


def test_it_follows_the_system_and_can_be_switched(open_page):
    background = "getComputedStyle(document.body).backgroundColor"
    dark, light = open_page(color_scheme="dark"), open_page(color_scheme="light")
    assert dark.evaluate(background) != light.evaluate(background)
    light.click("#theme")
    light.click("#theme")
    assert light.evaluate(background) == dark.evaluate(background)
    ink = "getComputedStyle(document.querySelector('.canvas svg text')).fill"
    assert light.evaluate(ink) == dark.evaluate(ink)


def test_it_can_be_read_without_scripts(open_page, run):
    page = open_page(java_script_enabled=False)
    assert page.locator(".chain:visible").count() == 6
    assert page.locator("#step").is_hidden()
    assert page.locator("noscript").count() == 1
    fills = page.locator(".tokens .c0").first
    assert fills.is_visible()
    assert "rank correlation" in page.inner_text("#rank_correlation").lower()
    assert f"{run.analysis('rank_correlation').table['estimate'].iloc[0]:.3g}" in page.inner_text("#rank_correlation")


def test_a_narrow_screen_does_not_scroll_sideways(open_page):
    page = open_page(viewport={"width": 400, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") <= 400


LOOK = """() => {
    const isSeen = (token) => {
        const {top, bottom} = token.getBoundingClientRect();
        return top < innerHeight && bottom > 0;
    };
    const tokens = [...document.querySelectorAll(".chain.active .tokens span")], seen = tokens.filter(isSeen);
    const struck = (of) => of.filter((token) => token.classList.contains("deleted")).length;
    return {seen: seen.length, struckInSight: struck(seen), struck: struck(tokens)};
}"""
"""Count the tokens in sight, those of them that are struck, and all that are struck."""


@pytest.mark.parametrize("two", [False, True])
@pytest.mark.parametrize("looked_at", [0, 700])
def test_a_long_chain_is_struck_first_where_it_is_seen_and_elsewhere_once_nothing_moves(
    open_page, long_address, two, looked_at
):
    page, everything = open_page(long_address), 2000 * (1 + two)
    page.set_checked("#compare", two)
    page.evaluate("i => document.querySelectorAll('.tokens span')[i].scrollIntoView({behavior: 'instant'})", looked_at)
    at_once = page.evaluate(f"() => {{ ({SLIDE})(1000); ({SLIDE})(2000); return ({LOOK})(); }}")
    assert 100 < at_once["seen"] == at_once["struckInSight"] == at_once["struck"] < everything
    page.wait_for_function("n => document.querySelectorAll('.tokens .deleted').length === n", arg=everything)
    page.keyboard.press("[")
    assert page.locator(".chain.active .deleted").count() == everything - (1 + two)


def test_lines_are_blocks_copied_as_the_text_and_placed_as_it_would_be(open_page, long_address):
    page = open_page(long_address)
    select = "() => { getSelection().selectAllChildren(document.querySelector('.tokens')); return getSelection().toString(); }"
    assert page.evaluate(select) == page.text_content(".tokens")
    places = """() => {
        const box = document.querySelector('.tokens'), tokens = [...box.querySelectorAll('span')];
        for (const token of tokens) token.style.margin = 0; // what begins a line has no gap before it
        box.style.display = 'none';
        box.getBoundingClientRect();
        box.style.display = ''; // laid out from nothing: with only a part done again, letters come to stand closer
        return tokens.map(token => JSON.stringify(token.getBoundingClientRect()));
    }"""
    in_blocks, n_blocks = page.evaluate(places), page.locator(".tokens > div").count()
    page.evaluate("() => document.querySelectorAll('.tokens > div').forEach(block => block.replaceWith(...block.childNodes))")
    assert page.evaluate(places) == in_blocks
    assert n_blocks == 1 + sum(text.endswith("\n") for text in page.locator(".tokens span").all_text_contents()) > 20


def test_a_threshold_greys_at_once_what_is_seen_of_a_long_chain(open_page, long_address):
    page = open_page(long_address)
    page.evaluate("document.querySelector('.tokens span').scrollIntoView({behavior: 'instant'})")
    choose_threshold(page, 9)
    first = page.locator(".tokens span").first
    assert first.bounding_box()["y"] < page.viewport_size["height"]
    assert "gone" in first.get_attribute("class").split()
    page.wait_for_function("() => document.querySelectorAll('.tokens .gone').length === 1800")


def test_what_is_below_the_sliders_does_not_move_with_them(open_page, long_address):
    page = open_page(long_address)
    page.check("#compare")
    for width in range(1000, 1300, 20):  # at some of them, the words of one step take a line more than those of another
        page.set_viewport_size({"width": width, "height": 900})
        heights = []
        for step in (2000, 0, 7, 2000, 0):
            slide(page, step)
            heights.append(page.evaluate("document.querySelector('.controls.sticky').getBoundingClientRect().height"))
        assert len(set(heights[2:])) == 1, width


def test_everything_on_the_card_is_as_legible_as_the_rest(open_page):
    page = open_page()
    page.locator(".tokens span").first.hover()
    colours = page.evaluate(
        "() => [...document.querySelectorAll('#card :is(dt, dd)')].map(each => getComputedStyle(each).color)"
    )
    assert page.locator("#card .words").count() > 0
    assert len(set(colours)) == 1


def test_what_is_copied_or_printed_of_a_long_chain_is_what_the_slider_says_at_once(open_page, long_address):
    page = open_page(long_address)
    copied, printed = page.evaluate(f"""() => {{
        Object.defineProperty(navigator, "clipboard", {{value: undefined}});
        ({SLIDE})(2000);
        document.getElementById("copy-latex").click();
        dispatchEvent(new Event("beforeprint"));
        return [document.getElementById("copy").value, document.querySelectorAll(".tokens .deleted").length];
    }}""")
    assert "; 2000 of 2000 tokens deleted" in copied.splitlines()[0]
    assert printed == 2000


@pytest.mark.parametrize("theme", ["", "dark"])
def test_it_prints_light_whatever_the_screen_is(open_page, theme):
    looks = """() => ['--page', '--ink', '--fill0', '--warn']
        .map(name => getComputedStyle(document.documentElement).getPropertyValue(name))"""
    light, dark = open_page(), open_page(color_scheme="dark")
    dark.evaluate("theme => { if (theme) document.documentElement.dataset.theme = theme; }", theme)
    assert dark.evaluate(looks) != light.evaluate(looks)
    for page in (light, dark):
        page.emulate_media(media="print")
    assert dark.evaluate(looks) == light.evaluate(looks)


def test_it_prints_what_the_slider_says(open_page):
    page = open_page()
    slide(page, 3)
    page.emulate_media(media="print")
    assert page.locator(".controls :is(input, select, button):visible").count() == 0
    assert page.inner_text("#reading").startswith("step 3 of ")
    assert len(struck(page)) == 3
    assert page.pdf().startswith(b"%PDF")


def test_nothing_is_offered_that_a_run_does_not_have(open_page, chains, tmp_path):
    with begin_run(tmp_path / "run", Configuration(model=None, encoding="words"), chains[:1]) as writer:
        spans = np.array([[0, 5], [5, 6]])
        writer.add_encoded(EncodedChain(chains[0], np.array([1]), np.arange(2), np.array([2]), spans))
    page = open_page(write_report(open_run(tmp_path / "run")).as_uri())
    for control in ("#colour", "#compare", "#only", "#step"):
        assert page.is_hidden(control), control
    assert "delete one token" not in page.inner_text("#keys")
    page.keyboard.press("]")
    page.fill("#find", "First")
    assert found(page) == [0]
