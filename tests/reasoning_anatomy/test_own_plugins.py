"""Plugins of users: in a folder of their own, or in an installed package; those of the documentation as they are printed."""

import importlib
import importlib.util
import json
import re
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from reasoning_anatomy import plugins
from reasoning_anatomy.chains import read_chains
from reasoning_anatomy.errors import PluginError
from reasoning_anatomy.models.encoding import ChainEncoder
from reasoning_anatomy.models.loading import load_model
from reasoning_anatomy.plugins import add_folder, available, key_of, label, load, options_of
from reasoning_anatomy.run.folder import Run, open_run
from reasoning_anatomy.types import ReasoningChain

ROOT = Path(__file__).parents[2]
EXAMPLE = re.compile(r"### (\w+): `(\w+)\.py`\n.*?```python\n(.*?)```", re.DOTALL)
EXAMPLES = {
    (kind.lower(), key): source for kind, key, source in EXAMPLE.findall((ROOT / "docs/plugins.md").read_text(encoding="utf-8"))
}
SCORER = '''
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Mine:
    """Nothing of importance."""

    def score(self, chain, *, loaded): ...
'''


@pytest.fixture(autouse=True)
def _no_folders_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plugins, "_folders", {})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The examples of the documentation, one of each kind, as they are printed."""
    path = tmp_path / "mine"
    path.mkdir()
    for (_, key), source in EXAMPLES.items():
        (path / f"{key}.py").write_text(source, encoding="utf-8")
    return path


@pytest.fixture
def planted(tmp_path: Path, make_planted_run: Callable[..., Run]) -> Run:
    facts = {"question": "How many?", "reasoning": "Take 3 apples. Then 3 * 4 = 12.", "answer": "12"}
    chains = [ReasoningChain(chain_id=f"c{n}", question_id=f"q{n // 2}", **facts) for n in range(6)]
    return make_planted_run(tmp_path / "planted", chains, strength=0.5)


def written(folder: Path, **files: str) -> Path:
    folder.mkdir(exist_ok=True)
    for name, source in files.items():
        (folder / f"{name}.py").write_text(source)
    return folder


def test_the_documentation_has_an_example_of_every_kind() -> None:
    assert {kind for kind, _ in EXAMPLES} == set(plugins.KINDS)


@pytest.mark.parametrize(("kind", "key"), EXAMPLES)
def test_a_file_in_a_folder_is_a_plugin_like_any_other(
    call: Callable[..., Any], expect_contract: Callable[[str, str], None], folder: Path, kind: str, key: str
) -> None:
    shipped = available(kind)
    done = call("list", "--plugins", folder)
    assert (done.code, done.err) == (0, "")
    assert f"\n  {key:<28} {available(kind)[key].summary}\n" in done.out
    assert set(available(kind)) == {*shipped, key}
    expect_contract(kind, key)
    assert call("list", plugins.KINDS[kind].plural, key).out.startswith(available(kind)[key].summary)


def test_the_scorer_of_the_readme_is_complete_as_printed(
    tmp_path: Path, expect_contract, tiny_model_folder, example_chains
) -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    source = next(block for block in re.findall(r"```python\n(.*?)```", readme, re.DOTALL) if "def score" in block)
    add_folder(written(tmp_path, token_length=source))
    expect_contract("scorer", "token_length")
    loaded = load_model(str(tiny_model_folder))
    chain = ChainEncoder(loaded.tokenizer).encode(example_chains[0])
    score = load("scorer", "token_length").score(chain, loaded=loaded).score
    assert score.sum() == len(example_chains[0].reasoning)  # byte-level tokens: every character is in one of them
    assert score.min() == 1


def test_own_scorers_strategies_and_formats_work_from_chains_to_a_file_and_back(
    call: Callable[..., Any], folder: Path, tiny_model_folder: Path, example_chains, tmp_path: Path
) -> None:
    from reasoning_anatomy.chains import write_chains

    write_chains(tmp_path / "chains.jsonl", example_chains[:2])
    own, run = ("--plugins", folder), tmp_path / "run"
    done = call(
        "run", "chains.jsonl", "--out", run, "--model", tiny_model_folder, "--scorers", "rarity", "--strategies",
        "every_other:first=0,curve_points=1", "--segmenters", "lines", *own,
    )  # fmt: skip
    assert done.code == 0, done.err
    tokens = open_run(run).tokens()
    first = tokens[tokens["chain_id"] == example_chains[0].chain_id]
    assert [name for name in tokens.columns if name.startswith("step_")] == ["step_lines"]
    counts = first.groupby("token_id")["position"].transform("size")
    assert (first["score_rarity"] == -counts).all()
    steps = first["deletion_step_every_other:first=0,curve_points=1"].to_numpy(dtype=int)
    n = len(first)
    assert steps[::2].tolist() == list(range(1, n // 2 + n % 2 + 1))
    assert steps[1::2].tolist() == list(range(n // 2 + n % 2 + 1, n + 1))

    done = call("export", run, "--format", "deletion_order", "--out", "exported.jsonl", *own)
    assert done.code == 0, done.err
    done = call("import", "exported.jsonl", "--out", "back", "--model", tiny_model_folder, "--scorers", "rarity", *own)
    assert done.code == 0, done.err
    back = open_run(tmp_path / "back").tokens()
    pd.testing.assert_series_equal(back["score_rarity"], tokens["score_rarity"])
    assert back["deletion_step_imported"].tolist() == tokens["deletion_step_every_other:first=0,curve_points=1"].tolist()

    done = call("import", "exported.jsonl", "--out", "none", *own)
    message = "has text and no ids; name the model that pruned it: --model MODEL"
    assert done.code == 2
    assert f"error: exported.jsonl: 2 of 2 lines cannot be imported:\n  line 1: {message}\n  line 2: {message}\n" in done.err


def test_own_annotators_analyses_and_figures_work_on_a_run(call: Callable[..., Any], folder: Path, planted: Run) -> None:
    own = ("--plugins", folder)
    assert call("annotate", planted.folder, "--annotator", "digits", *own).code == 0
    tokens = open_run(planted.folder).tokens()
    assert (
        tokens["category_digits"] == tokens["text"].str.contains(r"\d").map({True: "SYMBOLIC_MATH", False: "FUNCTION"})
    ).all()

    done = call("analyse", planted.folder, "--analyses", "reasoning_length", *own)
    assert (done.code, done.err) == (0, "")
    result = open_run(planted.folder).analysis("reasoning_length")
    assert result.table["estimate"].tolist() == [11]  # Take 3 apples . Then 3 * 4 = 12 .
    assert result.table[["n_questions", "n_chains", "n_tokens"]].iloc[0].tolist() == [3, 6, 66]
    assert result.finding == "A chain has 11.0 reasoning tokens on average (3 questions)."

    done = call("figure", "length_by_question", planted.folder, *own)
    drawn = planted.folder / "figures" / "length_by_question.pdf"
    assert done.out == f"Wrote {drawn}\nWrote {drawn.with_suffix('.csv')}\n"
    assert drawn.read_bytes().startswith(b"%PDF")
    assert pd.read_csv(drawn.with_suffix(".csv"))["n_tokens"].tolist() == [11] * 6

    assert call("report", planted.folder, *own).code == 0
    page = (planted.folder / "report.html").read_text(encoding="utf-8")
    assert "reasoning_length" in page
    assert "reasoning tokens" in page
    assert "<h2>How long are the chains?</h2>" in page or "<h3>How long are the chains?</h3>" in page
    assert "Each dot is a chain, each row a question." in page


def test_a_figure_that_lacks_a_part_is_named(call: Callable[..., Any], folder: Path, planted: Run) -> None:
    file = folder / "length_by_question.py"
    file.write_text(file.read_text().replace("    title: ClassVar", "    heading: ClassVar"))
    done = call("report", planted.folder, "--plugins", folder)
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert done.err.startswith("error: figure 'length_by_question': needs the class variables title, caption, section and ")


def test_a_figure_is_drawn_with_options_in_the_format_of_its_file(
    call: Callable[..., Any], planted: Run, tmp_path: Path
) -> None:
    for name, beginning in (("a.svg", b"<?xml"), ("b.PNG", b"\x89PNG"), ("c.pdf", b"%PDF")):
        assert call("figure", "likelihood_curve:points=3", planted.folder, "--out", name).code == 0
        assert (tmp_path / name).read_bytes().startswith(beginning)
        curve = pd.read_csv((tmp_path / name).with_suffix(".csv"))
        assert sorted(curve["fraction_deleted"].unique()) == [0, 0.5, 1]
    done = call("figure", "likelihood_curve", planted.folder, "--out", "d.jpg")
    message = "error: d.jpg: a figure is written as pdf, svg, png; end the name of the file with one of them\n"
    assert (done.code, done.err) == (2, message)
    done = call("figure", "nope", planted.folder)
    assert done.code == 2
    assert done.err.startswith("error: unknown figure 'nope'; available: ")
    done = call("figure", "head_map", planted.folder)
    assert (done.code, done.err.count("\n")) == (2, 1)  # its analysis has not been run
    assert "rank_correlation" in done.err
    assert not (planted.folder / "figures").exists()


def test_a_segmenter_of_ones_own_is_made_by_its_key(folder: Path) -> None:
    add_folder(folder)
    text = "one\ntwo three\n\nfour"
    spans = np.array([match.span() for match in re.finditer(r"\w+|\n", text)])
    chain = ReasoningChain(chain_id="c", question_id="q", question="?", reasoning=text, answer="4")
    assert load("segmenter", "lines").segment(chain, spans).tolist() == [0, 0, 1, 1, 1, 2, 3]


def test_files_of_a_folder_import_from_its_private_files_and_clash_with_nobody(tmp_path: Path) -> None:
    importing = SCORER.replace("class Mine:", "class Mine:\n    words = WORDS\n").replace(
        "from dataclasses", "from ._words import WORDS\nfrom dataclasses"
    )
    for name in ("one", "two"):
        add_folder(written(tmp_path / name, _words=f"WORDS = {name!r}", **{f"scorer_of_{name}": importing}))
    made = [load("scorer", f"scorer_of_{name}") for name in ("one", "two")]
    assert [plugin.words for plugin in made] == ["one", "two"]
    assert [key_of(plugin) for plugin in made] == [label(plugin) for plugin in made] == ["scorer_of_one", "scorer_of_two"]
    for package in ("reasoning_anatomy.importance", "annotations"):
        assert importlib.util.find_spec(f"{package}.scorer_of_one") is None


def test_a_folder_may_be_added_again_and_grow(tmp_path: Path) -> None:
    before = available("scorer")
    add_folder(tmp_path)
    assert available("scorer") == before
    written(tmp_path, mine=SCORER)
    add_folder(f"{tmp_path}/.")
    assert set(available("scorer")) == {*before, "mine"}


def test_an_option_without_a_default_is_asked_for(tmp_path: Path) -> None:
    add_folder(written(tmp_path, mine=SCORER.replace("    def score", "    length: int\n\n    def score")))
    assert label(load("scorer", "mine:length=3")) == "mine:length=3"
    with pytest.raises(PluginError, match=r"^scorer 'mine': length has no default; give it a value: length=VALUE$"):
        load("scorer", "mine")
    assert [option.name for option in options_of("scorer", "mine")] == ["length"]


def test_a_converter_of_ones_own_tells_its_format(call: Callable[..., Any], folder: Path, tmp_path: Path) -> None:
    rows = [
        {"asked": "3 * 4?", "transcripts": ["<think>a</think>12", "b</think>13"], "right": 12},
        {"asked": "?", "withdrawn": 1},
    ]
    (tmp_path / "rows.json").write_text(json.dumps(rows))
    done = call("chains", "rows.json", "--out", "chains.jsonl", "--plugins", folder)
    assert (done.code, done.err) == (0, "")
    assert "rows.json: interviews\n" in done.out
    assert "  1  was withdrawn\n" in done.out
    chains = read_chains(tmp_path / "chains.jsonl")
    assert [(chain.reasoning, chain.answer, chain.gold_answer) for chain in chains] == [("a", "12", "12"), ("b", "13", "12")]


NO_PLUGIN = (
    "holds no plugin, a public class under @dataclass(frozen=True, kw_only=True) with a method score or prune or annotate or "
    "analyse or draw or read or segment or convert or evict; write one, or begin the name of the file with _"
)
SEVERAL = "holds several plugins (Mine.score, Mine.read); give each a file of its own"


@pytest.mark.parametrize(
    ("files", "name", "words"),
    [
        ({"random": SCORER}, "random", f"'random' is already the scorer of {ROOT}/reasoning_anatomy/importance/random.py; "),
        ({"notes": "TEXT = 'no plugin'"}, "notes", NO_PLUGIN),
        ({"mine": SCORER.replace("frozen=True, ", "")}, "mine", NO_PLUGIN),
        ({"mine": SCORER.replace("class Mine", "class _Mine")}, "mine", NO_PLUGIN),
        ({"mine": SCORER.replace("@dataclass(frozen=True, kw_only=True)\n", "")}, "mine", NO_PLUGIN),
        ({"mine": f"{SCORER}\n    def read(self, record): ..."}, "mine", SEVERAL),
        ({"Mine": SCORER}, "Mine", "the name of a plugin may have only a-z, 0-9 and _; give the file another name"),
        ({"my-own": SCORER}, "my-own", "the name of a plugin may have only a-z, 0-9 and _; give the file another name"),
        ({"mine": "class Mine\n"}, "mine", ", line 1: expected ':'; repair the file"),
        ({"mine": "x = 1\n\0"}, "mine", ", line 1: source code string cannot contain null bytes; repair the file"),
        (
            {"mine": SCORER.replace("    def score", "    needs = str(3)\n\n    def score")},
            "mine",
            ", line 9: needs is read without running the file; write its value as a literal",
        ),
    ],
)  # fmt: skip
def test_a_file_that_is_not_a_plugin_is_named_and_nothing_is_added(
    call: Callable[..., Any], tmp_path: Path, files: dict[str, str], name: str, words: str
) -> None:
    before = {kind: available(kind) for kind in plugins.KINDS}
    own = written(tmp_path / "own", good=SCORER, **files)
    done = call("list", "--plugins", own)
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith(f"error: {own / name}.py{words if words.startswith(',') else f': {words}'}")
    assert done.err.count("\n") == 1
    assert {kind: available(kind) for kind in plugins.KINDS} == before


def test_one_key_in_two_folders_is_refused(tmp_path: Path) -> None:
    add_folder(written(tmp_path / "a", mine=SCORER))
    with pytest.raises(PluginError) as refused:
        add_folder(written(tmp_path / "b", mine=SCORER))
    assert str(refused.value) == (
        f"{tmp_path}/b/mine.py: 'mine' is already the scorer of {tmp_path}/a/mine.py; give the file another name"
    )


def test_a_former_name_still_works_and_belongs_to_nobody_else(tmp_path: Path) -> None:
    renamed = SCORER.replace("    def score", "    also_called = ('older',)\n\n    def score")
    add_folder(written(tmp_path / "a", mine=renamed))
    assert (label(load("scorer", "older")), available("scorer")["mine"].also_called) == ("mine", ("older",))
    with pytest.raises(PluginError, match=r"b/older\.py: 'older' is already the scorer of .*a/mine\.py"):
        add_folder(written(tmp_path / "b", older=SCORER))
    with pytest.raises(PluginError, match=r"c/other\.py: 'random' is already the scorer of .*importance/random\.py"):
        add_folder(written(tmp_path / "c", other=renamed.replace("older", "random")))


def test_one_key_may_name_plugins_of_two_kinds(tmp_path: Path) -> None:
    add_folder(written(tmp_path, greedy=SCORER.replace("Mine", "Greedy")))
    assert available("scorer")["greedy"].summary == "Nothing of importance."
    assert available("strategy")["greedy"].summary != "Nothing of importance."


@pytest.mark.parametrize("command", ["run", "import", "export", "annotate", "analyse", "figure", "report", "list"])
def test_a_folder_that_is_not_there_is_named_by_every_command(call: Callable[..., Any], tmp_path: Path, command: str) -> None:
    arguments = {
        "run": ["chains.jsonl", "--out", "out"],
        "import": ["file.jsonl", "--out", "out"],
        "export": ["none", "--format", "greedy_prunings"],
        "annotate": ["none"],
        "analyse": ["none"],
        "figure": ["likelihood_curve", "none"],
        "report": ["none"],
        "list": [],
    }[command]
    done = call(command, *arguments, "--plugins", "nowhere")
    message = "error: nowhere: there is no such folder; name one that holds your plugins, one per file\n"
    assert (done.code, done.out, done.err) == (2, "", message)


@pytest.mark.parametrize(
    ("line", "reason"),
    [("import nothing_of_this_name", "ModuleNotFoundError: No module named 'nothing_of_this_name'"),
     ("raise RuntimeError('two\\nlines')", "RuntimeError: two lines")],
)  # fmt: skip
def test_a_file_that_cannot_be_imported_is_listed_and_named_when_it_is_used(
    call: Callable[..., Any], tmp_path: Path, line: str, reason: str
) -> None:
    own = written(tmp_path / "own", mine=f"{line}\n{SCORER}")
    assert call("list", "scorers", "--plugins", own).code == 0
    with pytest.raises(PluginError) as refused:
        load("scorer", "mine")
    assert str(refused.value) == (f"{own}/mine.py: cannot be imported ({reason}); repair the file, or install what it imports")
    assert load("scorer", "random").__class__.__name__ == "Random"


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Install a package with entry points, as pip does; importing the package itself is a mistake."""

    def make(package: str, entries: dict[str, str], **files: str) -> Path:
        folder = tmp_path / "site"
        folder.mkdir()
        written(folder / package, __init__="raise RuntimeError('imported')", **files)
        about = folder / f"{package}-1.dist-info"
        about.mkdir()
        (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1\n")
        lines = [f"{name} = {value}\n" for name, value in entries.items()]
        (about / "entry_points.txt").write_text("[reasoning_anatomy.scorers]\n" + "".join(lines))
        monkeypatch.syspath_prepend(folder)
        return folder / package

    return make


@pytest.mark.parametrize(("name", "class_name"), [("by_module", ""), ("by_class", ":Mine")])
def test_an_installed_plugin_is_listed_without_being_imported(
    install, call: Callable[..., Any], name: str, class_name: str
) -> None:
    package = install(name, {"mine": f"{name}.mine{class_name}"}, mine=SCORER)
    assert "\n  mine                         Nothing of importance.\n" in call("list", "scorers").out
    assert name not in sys.modules
    (package / "__init__.py").write_text("")
    plugin = load("scorer", "mine")
    assert (label(plugin), type(plugin).__module__) == ("mine", f"{name}.mine")


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("mine", "nowhere.mine", "there is no module 'nowhere.mine'; install its package again, or remove it"),
        ("mine", "installed_two.mine.mine", "there is no module 'installed_two.mine.mine'; install its package again"),
        ("mine", "not a module", "there is no module 'not a module'; install its package again, or remove it"),
        (
            "other",
            "installed_two.mine",
            "call the entry point 'mine', or the module 'other'",
        ),
        ("mine", "installed_two.mine:Other", "mine.py: holds no plugin, a public class under @dataclass(frozen=True, "),
        ("broken", "installed_two.broken", "broken.py, line 1: invalid syntax; repair the file"),
        ("random", "installed_two.random", "random.py: 'random' is already the scorer of "),
    ],
)
def test_an_installed_plugin_that_cannot_be_used_is_left_out_with_a_warning(
    install, name: str, value: str, reason: str
) -> None:
    shipped = available("scorer")
    entries = {name: value, "good": "installed_two.good"}
    install("installed_two", entries, mine=SCORER, random=SCORER, good=SCORER, broken="1 1")
    with pytest.warns(UserWarning, match=f"^scorer '{name}' is left out: .*{re.escape(reason)}"):
        assert set(available("scorer")) == {*shipped, "good"}
    assert available("scorer")["random"] == shipped["random"]


def test_a_file_of_a_folder_does_not_take_the_place_of_an_installed_plugin(install, tmp_path: Path) -> None:
    package = install("installed_three", {"mine": "installed_three.mine"}, mine=SCORER)
    with pytest.raises(PluginError, match=f"'mine' is already the scorer of {re.escape(str(package))}/mine.py"):
        add_folder(written(tmp_path / "own", mine=SCORER))


def test_listing_a_folder_warns_of_nothing(folder: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        add_folder(folder)
        assert [key for kind, key in EXAMPLES if key not in available(kind)] == []


def test_a_policy_of_ones_own_evicts(folder: Path) -> None:
    import torch

    from reasoning_anatomy.eviction import Moment, Writing

    add_folder(folder)
    policy = load("policy", "middle_first:n_sink=0,newest=0,budget=3")
    writing = Writing(n_prompt=2, n_written=8, n_slots=9, cut=lambda: np.zeros(8, dtype=np.int64))
    assert policy.evict(Moment(writing, torch.arange(9))).gone.nonzero().flatten().tolist() == [3, 4, 5, 6]
