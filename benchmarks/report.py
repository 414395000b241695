"""How large a report is, and how fast: ``python -m benchmarks.report``.

Two runs are made up from the text of the example chains, with one token per word or line break and numbers that are drawn:
one of many chains as they often are, one of a single long chain with a sweep. Their pages are opened from disk in Chromium.
The first paint is counted from the start of the navigation. A response is the time from a key to the next frame, as the
browser itself counts it (Event Timing: in steps of 8 milliseconds; what takes less than 16 counts as 16). All tokens in sight
have changed in that frame: if one changes later, this ends with an error.
"""

import re
import shutil
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from itertools import cycle
from pathlib import Path
from typing import Any, Final

import numpy as np
import tyro

from reasoning_anatomy.categories import CATEGORIES
from reasoning_anatomy.chains import read_chains
from reasoning_anatomy.run import Run, open_run
from reasoning_anatomy.run.evaluation_table import write_evaluations
from reasoning_anatomy.run.evaluations import Answer
from reasoning_anatomy.run.manifest import Condition, Configuration, ModelIdentity
from reasoning_anatomy.run.selection import Kept
from reasoning_anatomy.run.sweep import SweepFolder
from reasoning_anatomy.run.writer import begin_run
from reasoning_anatomy.types import Annotation, EncodedChain, PruningPath, ReasoningChain, TokenScores
from reports import write_report

SCORERS: Final = ("answer_attention", "surprisal", "contribution", "gradient_x_input", "key_norm", "recency")
STRATEGIES: Final = ("greedy", "random_tokens")
THRESHOLDS: Final = tuple(tenth / 10 for tenth in range(10))
SHORTEST: Final = 16
"""Milliseconds below which the browser does not report a response."""

BROWSERS: Final = ("chromium", "chromium-browser", "google-chrome")
"""Programs to measure in, the first that is there."""

_FIRST_PAINT: Final = "performance.getEntriesByName('first-contentful-paint')[0].startTime"
_LOOK_AT_TOKENS: Final = """() => {
    const tokens = [...document.querySelectorAll(".chain.active .tokens span")];
    tokens.at(Math.min(100, tokens.length - 1)).scrollIntoView({block: "center", behavior: "instant"});
}"""
_OBSERVE: Final = """() => {
    new PerformanceObserver(list => window.responses.push(...list.getEntries().map(each => [each.name, each.duration])))
        .observe({type: 'event', durationThreshold: 16});
    let answering = true;
    addEventListener("keydown", () => {
        answering = true;
        requestAnimationFrame(() => { answering = false; });
    }, true);
    const isSeen = ({top, bottom}) => bottom > 0 && top < innerHeight;
    new MutationObserver(changes => {
        if (!answering) window.late += changes.filter(({target}) => isSeen(target.getBoundingClientRect())).length;
    }).observe(document.querySelector("#chains"), {subtree: true, attributes: true, attributeFilter: ["class"]});
}"""


@dataclass(frozen=True)
class Options:
    """How large a report is, and how fast."""

    chains: int = 100
    """Of the page with many."""
    tokens: int = 200
    """Of each of them."""
    long: int = 2000
    """Tokens of the chain that is alone on its page."""
    repeats: int = 5
    """Times that a page is opened."""
    presses: int = 30
    """Of a key on the slider."""


@dataclass(frozen=True)
class Speed:
    """Of a page, in milliseconds: until something is painted, and until the slider is answered, by what was done to it."""

    first_paint: list[float]
    responses: dict[str, list[float]]


def main(options: Options) -> None:
    """Write the pages, open them, and print how large and how fast they are."""
    with tempfile.TemporaryDirectory() as folder:
        pages = {
            f"{options.chains} chains x {options.tokens} tokens": plant(Path(folder) / "many", options.chains, options.tokens),
            f"1 chain x {options.long} tokens": plant_sweep(plant(Path(folder) / "long", 1, options.long)),
        }
        for name, run in pages.items():
            page = write_report(run, max_chains=options.chains)
            _say(f"{name}: {page.stat().st_size / 1e6:.2f} MB")
            speed = speed_of(page, options)
            _say(f"  {'first paint':<28}{_summary(speed.first_paint)}")
            for what, times in speed.responses.items():
                _say(f"  {what:<28}{_summary(times)}")


def plant(folder: Path, n_chains: int, n_tokens: int, seed: int = 0) -> Run:
    """Write a run of chains of so many words of the example chains, with an annotation; its numbers are drawn."""
    rng = np.random.default_rng(seed)
    with_text = cycle(read_chains(Path(str(files("reasoning_anatomy") / "data" / "example_chains.jsonl"))))
    model = ModelIdentity(
        id="planted", revision=None, architecture="planted", n_layers=1, n_heads=1, weights="planted", template="planted",
        dtype="float32", device="cpu", quantization=None,
    )  # fmt: skip
    configuration = Configuration(
        model=model,
        encoding="words",
        scorers={label: f"{label}()" for label in SCORERS},
        strategies={label: f"{label}()" for label in STRATEGIES},
    )
    chains = [_chain(f"c{number}", n_tokens, with_text) for number in range(n_chains)]
    with begin_run(folder, configuration, [chain for chain, _ in chains]) as writer:
        for chain, spans in chains:
            writer.add_encoded(EncodedChain(chain, np.arange(20), rng.integers(0, 50_000, n_tokens), np.arange(5), spans))
            for scorer in SCORERS:
                writer.add_scores(chain.chain_id, scorer, TokenScores(rng.random(n_tokens)))
            for strategy in STRATEGIES:
                curve = np.sort(rng.random(n_tokens + 1))
                path = PruningPath(
                    "Planted()", n_tokens, rng.permutation(n_tokens), rng.random(n_tokens), 0, curve, curve, curve
                )
                writer.add_path(chain.chain_id, strategy, path)
    run = open_run(folder)
    labels = {chain.chain_id: tuple(rng.choice(CATEGORIES, n_tokens).tolist()) for chain, _ in chains}
    run.write_annotations(
        "drawn", {chain_id: Annotation("Drawn()", each, rng.random(n_tokens)) for chain_id, each in labels.items()}
    )
    return open_run(folder)


def plant_sweep(run: Run) -> Run:
    """Let every chain of a run be answered at ten thresholds of a strategy that deletes from the beginning."""
    conditions = [
        Condition(strategy="oldest", threshold=threshold, reading="closed_up", samples=1, plugins=("oldest()",))
        for threshold in THRESHOLDS
    ]
    configuration = run.manifest.configuration.model_copy(
        update={"answering": "Answering()", "conditions": {condition.label: condition for condition in conditions}}
    )
    with begin_run(run.folder, configuration, list(run.chains.values())) as writer:
        folder = SweepFolder(writer.run, configuration)
        for chain_id, chain in run.chains.items():
            n = run.encoded(chain_id).n_reasoning
            for condition in conditions:
                kept = Kept(np.arange(int(n * condition.threshold), n), n)
                folder.add_kept(chain_id, condition, kept)
                folder.add_answers(chain_id, condition.reading, kept, [Answer(0, 0, chain.answer, 1, "eos")])
    write_evaluations(open_run(run.folder))
    return open_run(run.folder)


def speed_of(page: Path, options: Options) -> Speed:
    """Open a page and use its slider: one step at a time, from one end to the other, and with a second view beside it."""
    from playwright.sync_api import sync_playwright

    path = next(filter(None, map(shutil.which, BROWSERS)), None)
    if path is None:
        raise SystemExit(f"none of {', '.join(BROWSERS)} is installed: install Chromium, which this measures in")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        paints, errors = [], list[str]()
        for _ in range(options.repeats):
            opened = browser.new_page(viewport={"width": 1200, "height": 900})
            opened.on("pageerror", lambda error: errors.append(str(error)))
            opened.goto(page.as_uri())
            opened.wait_for_timeout(500)
            paints.append(float(opened.evaluate(_FIRST_PAINT)))
        opened.evaluate(_OBSERVE)
        responses = {
            "slider, a step": _responses(opened, ["ArrowRight"] * options.presses),
            "slider, end to end": _responses(opened, ["End", "Home"] * 3),
        }
        with_thresholds = opened.locator("#threshold").count() == 1
        if with_thresholds:
            responses["thresholds, end to end"] = _responses(opened, ["End", "Home"] * 3, "#threshold")
        opened.check("#compare")
        responses["two views, a step"] = _responses(opened, ["ArrowRight"] * options.presses)
        responses["two views, end to end"] = _responses(opened, ["End", "Home"] * 3)
        if with_thresholds:
            responses["two views, thresholds"] = _responses(opened, ["End", "Home"] * 3, "#threshold")
        browser.close()
    if errors:
        raise SystemExit(f"a script of the page failed, so that what it took says nothing: {errors[0]}")
    return Speed(paints, responses)


def _responses(page: Any, keys: Sequence[str], slider: str = "#step") -> list[float]:
    """Press keys on a slider, with tokens in sight, and return how long each took to be answered."""
    page.focus(slider)
    page.evaluate(_LOOK_AT_TOKENS)
    page.evaluate("() => { window.responses = []; window.late = 0; }")
    for key in keys:
        page.keyboard.press(key)
        page.wait_for_timeout(120)
    page.wait_for_timeout(1000)
    if late := page.evaluate("window.late"):
        raise SystemExit(f"{late} tokens in sight changed later than the frame that is measured")
    slow = [duration for name, duration in page.evaluate("window.responses") if name == "keydown"]
    return [*slow, *[float(SHORTEST)] * (len(keys) - len(slow))]


def _chain(chain_id: str, n_tokens: int, with_text: Any) -> tuple[ReasoningChain, np.ndarray[Any, Any]]:
    """Join chains until there are enough words, and cut behind the last."""
    text = ""
    words: list[tuple[int, int]] = []
    while len(words) < n_tokens:
        example = next(with_text)
        text += example.reasoning + "\n\n"
        words = [match.span() for match in re.finditer(r"\n+|[^\S\n]*(\w+|[^\w\s])", text)]
    spans = np.array(words[:n_tokens])
    chain = ReasoningChain(
        chain_id=chain_id,
        question_id=chain_id,
        question=example.question,
        reasoning=text[: spans[-1, 1]],
        answer=example.answer,
    )
    return chain, spans


def _summary(times: Sequence[float]) -> str:
    return f"{np.median(times):>5.0f} ms, at most {max(times):.0f}"


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(tyro.cli(Options))
