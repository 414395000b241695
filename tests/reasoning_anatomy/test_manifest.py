"""The record of a run: how it grows, and what is refused."""

import json
from pathlib import Path
from typing import Any

import pytest

from reasoning_anatomy.errors import RunError
from reasoning_anatomy.plugins import load
from reasoning_anatomy.run.manifest import Configuration, Manifest, ModelIdentity, read_manifest, write_manifest

MODEL = ModelIdentity(
    id="m", revision=None, architecture="A", n_layers=2, n_heads=3, weights="w", template="t", dtype="float32",
    device="cpu", quantization=None,
)  # fmt: skip
CONFIGURATION = Configuration(model=MODEL, encoding="E()", scorers={"a": "A(x=1, y='z')"}, strategies={"g": "G()"})


def changed(**changes: Any) -> Configuration:
    return CONFIGURATION.model_copy(update=changes)


def of_model(**changes: Any) -> Configuration:
    return changed(model=MODEL.model_copy(update=changes))


REFUSED: list[tuple[str, Configuration]] = [
    ("encoding: 'E()' in the run, 'F()' now", changed(encoding="F()")),
    ("scorer 'a', x: '1' in the run, '2' now", changed(scorers={"a": "A(x=2, y='z')"})),
    ("scorer 'a', y: \"'z'\" in the run, None now", changed(scorers={"a": "A(x=1)"})),
    ("scorer 'a', new: None in the run, 'True' now", changed(scorers={"a": "A(x=1, y='z', new=True)"})),
    ("scorer 'a', class: 'A' in the run, 'B' now", changed(scorers={"a": "B(x=1, y='z')"})),
    ("strategy 'g', repr: 'G()' in the run, 'G(3)' now", changed(strategies={"g": "G(3)"})),
    (
        "strategy 'g', class: 'G' in the run, None now; strategy 'g', repr: None in the run, '<G>' now",
        changed(strategies={"g": "<G>"}),
    ),
    ("model.architecture: 'A' in the run, 'B' now", of_model(architecture="B")),
    ("model.device: 'cpu' in the run, 'cuda' now", of_model(device="cuda")),
    ("model.dtype: 'float32' in the run, 'bfloat16' now", of_model(dtype="bfloat16")),
    ("model.n_heads: 3 in the run, 4 now", of_model(n_heads=4)),
    ("model.n_layers: 2 in the run, 4 now", of_model(n_layers=4)),
    ("model.quantization: None in the run, '4bit' now", of_model(quantization="4bit")),
    ("model.template: 't' in the run, 'u' now", of_model(template="u")),
    ("model.weights: 'w' in the run, 'x' now", of_model(weights="x")),
]


@pytest.mark.parametrize(("difference", "other"), REFUSED, ids=[words.partition(":")[0] for words, _ in REFUSED])
def test_what_has_another_meaning_is_refused_and_named(difference: str, other: Configuration) -> None:
    with pytest.raises(ValueError, match="now") as refused:
        CONFIGURATION.grown(other)
    assert str(refused.value) == difference


def test_receiver_heads_of_the_former_rule_for_steps_are_not_mixed_with_those_of_today() -> None:
    before = "ReceiverHeads(exclude_sink=0, token_budget=None, proximity=4, n_heads=20, heads='')"
    today = repr(load("scorer", "receiver_heads"))
    with pytest.raises(ValueError, match=r"^scorer 'r', steps: None in the run, \"'sentences'\" now$"):
        changed(scorers={"r": before}).grown(changed(scorers={"r": today}))


def test_every_fact_of_a_model_pins_it_but_its_name_and_place() -> None:
    named = {words.removeprefix("model.").partition(":")[0] for words, _ in REFUSED if words.startswith("model.")}
    assert named | {"id", "revision"} == set(ModelIdentity.model_fields)
    elsewhere = of_model(id="/models/m", revision="abc")
    assert elsewhere.model is not None
    assert elsewhere.model.digest() == MODEL.digest()
    assert CONFIGURATION.grown(elsewhere) == CONFIGURATION  # what it was called first stays
    digests = {other.model.digest() for words, other in REFUSED if words.startswith("model.") and other.model is not None}
    assert len(digests | {MODEL.digest()}) == 9
    assert {len(digest) for digest in digests} == {64}  # SHA-256 in hexadecimal


def test_a_run_without_a_model_is_not_one_with_a_model() -> None:
    imported = changed(model=None)
    assert imported.grown(imported) == imported
    for one, other in ((imported, CONFIGURATION), (CONFIGURATION, imported)):
        with pytest.raises(ValueError, match=r"model: (none \(imported without one\)|'m') in the run, "):
            one.grown(other)


def test_all_differences_are_named_in_order() -> None:
    ours = changed(scorers={label: "A()" for label in "dbac"})
    other = changed(model=MODEL.model_copy(update={"weights": "x"}), encoding="F()", scorers={label: "B()" for label in "cabd"})
    with pytest.raises(ValueError, match="now") as refused:
        ours.grown(other)
    assert [words.partition(":")[0] for words in str(refused.value).split("; ")] == [
        "model.weights", "encoding", "scorer 'a', class", "scorer 'b', class", "scorer 'c', class", "scorer 'd', class",
    ]  # fmt: skip


def test_other_labels_are_added_after_those_that_are_there() -> None:
    grown = CONFIGURATION.grown(changed(scorers={"b": "B()", "a": CONFIGURATION.scorers["a"]}, strategies={"a": "G()"}))
    assert list(grown.scorers.items()) == [("a", "A(x=1, y='z')"), ("b", "B()")]
    assert list(grown.strategies.items()) == [("g", "G()"), ("a", "G()")]
    assert (grown.model, grown.encoding) == (MODEL, "E()")


def test_a_configuration_never_shrinks() -> None:
    assert CONFIGURATION.grown(changed(scorers={}, strategies={})) == CONFIGURATION
    assert CONFIGURATION.grown(CONFIGURATION) == CONFIGURATION


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    manifest = Manifest(
        package="0.2.0", configuration=CONFIGURATION, versions={"torch": "2"}, checks={"x": 1e-7}, seconds={"load": 0.1}
    )
    write_manifest(tmp_path, manifest)
    assert read_manifest(tmp_path) == manifest
    assert list(tmp_path.iterdir()) == [tmp_path / "run.json"]


def test_a_folder_without_manifest_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(RunError) as refused:
        read_manifest(tmp_path)
    assert str(refused.value) == (
        f"{tmp_path}: is not a run folder (no run.json); make one with: reasoning-anatomy run CHAINS.jsonl --out {tmp_path}"
    )


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "Invalid JSON"),
        (b'{"format": 2', "Invalid JSON"),
        (b"\xff\xfe", "Invalid JSON"),
        (b"[]", "object"),
        (b"{}", "package: Field required"),
        (b'{"package": "0.2.0"}', "configuration: Field required"),
    ],
)
def test_a_damaged_manifest_is_refused_in_one_line(tmp_path: Path, content: bytes, words: str) -> None:
    (tmp_path / "run.json").write_bytes(content)
    with pytest.raises(RunError) as refused:
        read_manifest(tmp_path)
    message = str(refused.value)
    assert message.startswith(f"{tmp_path / 'run.json'}: cannot be read (")
    assert words in message
    assert message.endswith("); restore it or start a new run folder")
    assert "\n" not in message


def test_an_entry_of_another_version_is_named(tmp_path: Path) -> None:
    write_manifest(tmp_path, Manifest(package="0.2.0", configuration=CONFIGURATION, versions={}))
    facts = json.loads((tmp_path / "run.json").read_text())
    (tmp_path / "run.json").write_text(json.dumps(facts | {"colour": "red"}))
    with pytest.raises(RunError, match=r"run\.json: cannot be read \(colour: Extra inputs are not permitted\)"):
        read_manifest(tmp_path)


def test_a_run_of_version_0_1_is_refused_in_a_sentence_that_says_how_to_go_on(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text(json.dumps({"format": 1, "configuration": {"package": "0.1.0"}, "n_chains": 5}))
    with pytest.raises(RunError) as refused:
        read_manifest(tmp_path)
    assert str(refused.value) == (
        f"{tmp_path}: was written by version 0.1 of this package, whose layout this version does not read; measure its chains "
        f"again (reasoning-anatomy run {tmp_path / 'chains.jsonl'} --out ANOTHER_FOLDER), or read it with version 0.1"
    )


@pytest.mark.parametrize("found", [3, "2.1", None])
def test_a_run_of_another_layout_says_what_this_version_reads(tmp_path: Path, found: object) -> None:
    (tmp_path / "run.json").write_text(json.dumps({"format": found, "colour": "red"}))
    with pytest.raises(RunError) as refused:
        read_manifest(tmp_path)
    assert str(refused.value) == f"{tmp_path}: has layout {found!r}, this version reads 2; update reasoning-anatomy"


@pytest.mark.parametrize("place", ["a folder", "below a file"])
def test_a_manifest_that_is_no_file_is_refused(tmp_path: Path, place: str) -> None:
    if place == "a folder":
        (tmp_path / "run.json").mkdir()
        folder = tmp_path
    else:
        folder = tmp_path / "file"
        folder.write_text("")
    with pytest.raises(RunError, match=r"run\.json: cannot be read \((Is|Not) a directory\); restore it or start"):
        read_manifest(folder)


def test_a_manifest_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="frozen"):
        CONFIGURATION.encoding = "F()"  # type: ignore[misc]
