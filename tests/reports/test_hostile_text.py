"""A page full of text that tries to become code, in a real browser: it stays text, wherever it stands."""

import json
import re
from html.parser import HTMLParser
from urllib.parse import quote

import numpy as np
import pytest

from analyses.distillation import Distillation
from reasoning_anatomy.run import open_run
from reasoning_anatomy.run.layout import STUDENTS_NAME
from reasoning_anatomy.run.manifest import Configuration, ModelIdentity
from reasoning_anatomy.run.students import FULL, Arm, Student, open_students
from reasoning_anatomy.run.writer import begin_run
from reasoning_anatomy.types import Annotation, EncodedChain, PruningPath, ReasoningChain, TokenScores
from reports import write_report, write_students_report

HACK = "window.hacked=1"
PAYLOADS = (
    # scripts
    f"<script>{HACK}</script>",
    f"<SCRIPT>{HACK}</SCRIPT>",
    f"<scr<script>ipt>{HACK}</scr</script>ipt>",
    "<script src=//x.test/a.js></script>",
    f"<script/x>{HACK}</script >",
    f"<script\n>{HACK}</script\n>",
    f"<script type=module>{HACK}</script>",
    f"<noscript><p title='</noscript><img src=x onerror={HACK}>'>",
    # out of the element that holds the text
    f"</script><script>{HACK}</script>",
    f"</ScRiPt ><img src=x onerror={HACK}>",
    f"</style><script>{HACK}</script>",
    f"</title><script>{HACK}</script>",
    f"</textarea><script>{HACK}</script>",
    f"</option></select><img src=x onerror={HACK}>",
    f"</span></div><script>{HACK}</script>",
    f"</svg><script>{HACK}</script>",
    f"<!--<script>{HACK}//-->",
    f"--><script>{HACK}</script><!--",
    f"--!><img src=x onerror={HACK}>",
    f"<![CDATA[<script>{HACK}</script>]]>",
    f"]]><script>{HACK}</script>",
    f"<?xml version='1.0'?><script>{HACK}</script>",
    # event handlers
    f"<img src=x onerror={HACK}>",
    f"<img src=x onerror='{HACK}'>",
    f'<img/src="x"/onerror="{HACK}">',
    f"<body onload={HACK}>",
    f"<input autofocus onfocus={HACK}>",
    f"<details open ontoggle={HACK}>",
    f"<video><source onerror={HACK}></video>",
    f"<audio src=x onerror={HACK}>",
    f"<marquee onstart={HACK}>",
    f"<a href=# onmouseover={HACK}>over me</a>",
    f"<div style=animation:x onanimationstart={HACK}>",
    f"<select autofocus onfocus={HACK}>",
    # other languages in the page
    f"<svg onload={HACK}>",
    f"<svg><script>{HACK}</script></svg>",
    f"<svg><animate onbegin={HACK} attributeName=x dur=1s>",
    f"<svg><a xlink:href='javascript:{HACK}'><text>x</text></a></svg>",
    f"<math><mtext><table><mglyph><style><img src=x onerror={HACK}>",
    f"<math href='javascript:{HACK}'>x</math>",
    f"<template><script>{HACK}</script></template>",
    # addresses
    f"javascript:{HACK}",
    f"<a href='javascript:{HACK}'>x</a>",
    f"<a href='java\tscript:{HACK}'>x</a>",
    f"<iframe src='javascript:{HACK}'>",
    f"<iframe srcdoc='<script>parent.{HACK}</script>'>",
    f"<object data='data:text/html,<script>{HACK}</script>'>",
    f"<embed src='javascript:{HACK}'>",
    f"<form action='javascript:{HACK}'><button>x</button></form>",
    "<base href=//x.test/>",
    f"<meta http-equiv=refresh content='0;url=javascript:{HACK}'>",
    "<link rel=stylesheet href=//x.test/a.css>",
    # out of an attribute
    f'" onmouseover="{HACK}',
    f"' autofocus onfocus='{HACK}",
    f'"><script>{HACK}</script>',
    f"'><img src=x onerror={HACK}>",
    f"` onerror={HACK} `",
    f'x" style="animation:x" onanimationstart="{HACK}',
    # styles
    "</style><style>*{display:none}",
    "red;background:url(//x.test/a.png)",
    "}body{display:none}",
    "@import '//x.test/a.css';",
    f"expression({HACK})",
    # templates, strings, keys
    "{{7*7}}{% raw %}{#",
    "{{ self.__init__.__globals__ }}",
    "${" + HACK + "}",
    f"`;{HACK}//",
    f'";{HACK}//',
    f'\\";{HACK}//',
    f"\u2028{HACK}\u2029",
    "__proto__",
    "constructor",
    "toString",
    "hasOwnProperty",
    # entities and other writings
    f"&lt;script&gt;{HACK}&lt;/script&gt;",
    f"&#60;img src=x onerror={HACK}&#62;",
    "&amp;lt;b&amp;gt;",
    f"\\u003cscript\\u003e{HACK}\\u003c/script\\u003e",
    f"%3Cscript%3E{HACK}%3C/script%3E",
    f"+ADw-script+AD4-{HACK}+ADw-/script+AD4-",
    f"\x00<script>{HACK}</script>\x1b",
    f"\u202e>tpircs/<{HACK}>tpircs<",
    "\u2066<b>\u2069\u200f\u200b",
    f"\uff1cscript\uff1e{HACK}\uff1c/script\uff1e",
    f"a\r\n<script>{HACK}</script>",
    f"<b{'x' * 300}>",
    # fragments and links
    f"#chain=x&step=1'-{HACK}-'",
    "viewer",
    "step",
    f"[x](javascript:{HACK})",
    f"$$\\href{{javascript:{HACK}}}{{x}}$$",
    "\\input{/etc/passwd}%",
)


TEXTS = [*(" ".join(PAYLOADS[first : first + 3]) for first in range(0, len(PAYLOADS), 3)), "__proto__", "constructor"]
"""Of chains: several payloads each, so that there are not too many chains, and keys that objects have already."""


def write_run(folder, texts):
    """Write a run with a chain for every text, which stands everywhere in it; options have all of them."""
    together = " ".join(texts)
    scorers = ["__proto__", "constructor", f"</option></select><img src=x onerror={HACK}>", f'" onfocus="{HACK}']
    strategies = ["__proto__", f"</script><script>{HACK}</script>"]
    model = ModelIdentity(
        id=together, revision=together, architecture=together, n_layers=1, n_heads=1, weights=together, template=together,
        dtype="float32", device="cpu", quantization=None,
    )  # fmt: skip
    configuration = Configuration(
        model=model,
        encoding=together,
        scorers={label: f"{together}({label!r})" for label in scorers},
        strategies={label: f"{together}({label!r})" for label in strategies},
    )
    chains = [
        ReasoningChain(
            chain_id=text, question_id=text, question=text, reasoning=f"so {text} then 1", answer=text, gold_answer=text,
            system_prompt=text, source={text: text, "nested": {"a": [text]}},
        )
        for text in texts
    ]  # fmt: skip
    with begin_run(folder, configuration, chains) as writer:
        for chain in chains:
            # a token may hold all of the text, or begin and end in it
            spans = np.array([(0, 3), (3, 3 + len(chain.chain_id) // 2), (3 + len(chain.chain_id) // 2, len(chain.reasoning))])
            writer.add_encoded(EncodedChain(chain, np.array([1]), np.arange(3), np.array([2]), spans))
            for label in scorers:
                writer.add_scores(chain.chain_id, label, TokenScores(np.array([0.1, 0.3, 0.2])))
            for label in strategies:
                curve = np.array([1.0, 1.5, 2.0])
                path = PruningPath("P()", 3, np.array([0, 2]), np.array([0.1, 0.1]), 0, curve, curve, curve)
                writer.add_path(chain.chain_id, label, path)
    run = open_run(folder)
    paths = run.paths()  # the last chain has no curve by the label "__proto__", which every object has something by
    paths[(paths["chain_id"] != texts[-1]) | (paths["strategy"] != "__proto__")].to_parquet(folder / "paths.parquet")
    categories = {chain.chain_id: Annotation(together, (chain.chain_id, "FUNCTION", chain.chain_id), None) for chain in chains}
    run.write_annotations("constructor", categories)
    return run


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    run = write_run(tmp_path_factory.mktemp("hostile") / "run", TEXTS)
    return write_report(run, run.folder.parent / "report.html", max_chains=len(TEXTS))


@pytest.fixture(scope="module")
def harmless(tmp_path_factory):
    run = write_run(tmp_path_factory.mktemp("harmless") / "run", ["plain\twords\u00a0", "more\nof them"])
    return write_report(run, run.folder.parent / "report.html")


ELEMENTS = """() => {
    const found = new Set();
    for (const each of document.querySelectorAll('*')) {
        const names = each.getAttributeNames().filter(name => !['value', 'style'].includes(name));
        found.add(`${each.namespaceURI.split('/').pop()} ${each.nodeName}`);
        for (const name of names) found.add(`${each.nodeName} ${name}`);
    }
    return [...found];
}"""

USE = """() => {
    const at = id => document.getElementById(id);
    const change = (id, type) => at(id).dispatchEvent(new Event(type, {bubbles: true}));
    const touch = () => {
        for (const token of document.querySelectorAll('.chain.active .tokens span')) { token.focus(); token.blur(); }
    };
    at('compare').click();
    at('whitespace').click();
    for (const id of ['colour', 'colour-2', 'strategy', 'strategy-2', 'only', 'blocks']) {
        for (const option of at(id).options) {
            at(id).value = option.value;
            change(id, 'change');
            touch();
        }
    }
    const shown = [];
    for (const option of [...at('chain').options]) {
        at('chain').value = option.value;
        change('chain', 'change');
        at('step').value = 2;
        change('step', 'input');
        touch();
        document.querySelector('.chain.active .tokens span:nth-of-type(2)').focus();
        shown.push(['h3', '.tokens'].map(part => document.querySelector(`.chain.active ${part}`).textContent));
    }
    at('find').value = 'script';
    change('find', 'input');
    at('search').value = '<';
    change('search', 'input');
    return shown;
}"""


def shown_as(text):
    """As a page shows it: control characters as pictures."""
    return re.sub(r"[\x00-\x08\x0b-\x1f\x7f]", lambda match: chr(0x2400 + ord(match[0])), text)


def test_there_are_enough_of_them():
    assert len(set(PAYLOADS)) == len(PAYLOADS) >= 60


def test_nothing_that_is_written_anywhere_runs_or_becomes_an_element(open_any_page, hostile, harmless):
    kinds = {}
    for path in (hostile, harmless):
        page = open_any_page(path.as_uri())
        shown = page.evaluate(USE)
        for button in ("#copy-text", "#copy-latex"):
            page.evaluate("Object.defineProperty(navigator, 'clipboard', {value: undefined, configurable: true})")
            page.click(button)
            page.wait_for_selector("#copy:visible")
        assert page.evaluate("window.hacked") is None
        assert page.evaluate("getComputedStyle(document.body).display") == "block"
        assert page.evaluate("Object.keys(Object.prototype)") == []
        kinds[path] = set(page.evaluate(ELEMENTS))
        scripts = page.evaluate("[...document.scripts].map(each => each.type)")
        assert scripts.count("") == 5
        assert page.locator("style").count() == 1
        if path == hostile:
            assert [re.sub(r"[\x00\r]", "", text) for text in TEXTS] == [re.sub(r"[\x00\r]", "", each) for each, _ in shown]
            assert [text for _, text in shown] == [f"so {shown_as(text)} then 1" for text in TEXTS]
    assert kinds[hostile] <= kinds[harmless]


def test_nothing_runs_that_the_address_says(open_any_page, hostile):
    page = open_any_page(hostile.as_uri())
    for text in [*PAYLOADS, *TEXTS]:
        page.goto(f"{hostile.as_uri()}#chain={quote(text)}&step={quote(text)}&colour={quote(text)}&order={quote(text)}&{text}")
    assert page.evaluate("window.hacked") is None
    fresh = open_any_page(hostile.as_uri())
    fresh.click("#next")
    assert set(page.evaluate(ELEMENTS)) <= set(fresh.evaluate(ELEMENTS))
    assert page.locator(".chain.active h3").count() == 1


def test_nothing_runs_where_scripts_are_allowed(open_any_page, hostile):
    page = open_any_page(hostile.as_uri(), bypass_csp=True)
    page.evaluate(USE)
    assert page.evaluate("window.hacked") is None


class Page(HTMLParser):
    """Tags and attributes as another parser sees them."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.attributes = set(), set()
        self.feed(html)

    def handle_starttag(self, tag, attributes):
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attributes}


def test_another_parser_finds_no_other_elements_either(hostile, harmless):
    one, other = (Page(path.read_text(encoding="utf-8")) for path in (hostile, harmless))
    assert one.tags <= other.tags
    assert one.attributes <= other.attributes


def write_students(folder, make_students, texts):
    """Write students whose questions, chains, answers, strategies and model are made of these texts."""
    arms = [Arm(strategy=FULL, keep_ratio=1.0), *(Arm(strategy=text, keep_ratio=0.5) for text in texts[:3])]
    students = make_students(folder, {Student(arm=arm): {text: ("w", 9) for text in texts[:4]} for arm in arms}, n_taught=4)
    together = " ".join(texts)
    changed = {"run": together, "recipe": together, "examination": together, "questions": together}
    model = students.manifest.student.model_copy(update=dict.fromkeys(("id", "revision", "architecture", "weights"), together))
    manifest = students.manifest.model_copy(update={**changed, "student": model})
    (folder / STUDENTS_NAME).write_text(manifest.model_dump_json(), encoding="utf-8")
    problems = [{"question_id": text, "question": together, "gold_answer": together} for text in texts[:4]]
    students.test_file.write_text("".join(f"{json.dumps(row, ensure_ascii=False)}\n" for row in problems), encoding="utf-8")
    for student in students.manifest.students:
        path = students.answers_file(student)
        rows = [{**row, "reasoning": together, "answer": together} for row in students.answer_rows(student)]
        path.write_text("".join(f"{json.dumps(row, ensure_ascii=False)}\n" for row in rows), encoding="utf-8")
        of_arm = students.rows(student.arm).assign(question=together, prompt=together, completion=together)
        of_arm.to_parquet(students.training_file(student.arm))
    students = open_students(folder)
    students.write_analysis(Distillation().analyse(students))
    return students, together


def test_nothing_that_students_were_taught_or_write_runs(open_any_page, make_students, tmp_path):
    whole = " ".join(PAYLOADS)
    hostile = [PAYLOADS[0], f"</details></summary><img src=x onerror={HACK}>", f'" onmouseover="{HACK}', whole]
    kinds = {}
    for name, texts in (("harmless", ["a", "b", "c", "d"]), ("hostile", hostile)):
        students, together = write_students(tmp_path / name, make_students, texts)
        page = open_any_page(write_students_report(students).as_uri())
        for each in page.locator("summary").all():
            each.click()
        assert page.evaluate("window.hacked") is None
        kinds[name] = set(page.evaluate(ELEMENTS))
        texts_shown = page.locator("#writing .part").all_text_contents()
        assert len(texts_shown) == 4 * 4 * 4
        if name == "hostile":
            start = re.sub(r"\s+", "", shown_as(together))[:3000]
            assert re.sub(r"\s+", "", texts_shown[-1])[: len("written") + 3000] == f"written{start}"
            free = open_any_page(page.url, bypass_csp=True)
            assert free.evaluate("window.hacked") is None
    assert kinds["hostile"] <= kinds["harmless"]
