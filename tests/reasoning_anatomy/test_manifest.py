"""The record of a run: digest, differences, and what is refused."""

import json
from pathlib import Path
from typing import Any

import pytest

from reasoning_anatomy.errors import RunError
from reasoning_anatomy.run.manifest import Configuration, Manifest, ModelIdentity, read_manifest, write_manifest

MODEL = ModelIdentity(
    id="m", revision=None, architecture="A", n_layers=2, n_heads=3, weights="w", template="t", dtype="float32",
    device="cpu", quantization=None,
)  # fmt: skip
CONFIGURATION = Configuration(
    package="0.1.0", model=MODEL, encoding="E()", scorers={"a": "A()"}, strategies={"g": "G()"}, chains="c"
)
CHANGES: list[tuple[str, dict[str, Any]]] = [
    ("package: '0.1.0' there, '9' now", {"package": "9"}),
    ("encoding: 'E()' there, 'F()' now", {"encoding": "F()"}),
    ("chains: 'c' there, 'd' now", {"chains": "d"}),
    ("scorers.a: 'A()' there, 'B()' now", {"scorers": {"a": "B()"}}),
    ("scorers.b: None there, 'B()' now", {"scorers": {"a": "A()", "b": "B()"}}),
    ("strategies.g: 'G()' there, None now", {"strategies": {}}),
    ("model.dtype: 'float32' there, 'bfloat16' now", {"model": MODEL.model_copy(update={"dtype": "bfloat16"})}),
    ("model.revision: None there, 'abc' now", {"model": MODEL.model_copy(update={"revision": "abc"})}),
    ("model.weights: 'w' there, 'x' now", {"model": MODEL.model_copy(update={"weights": "x"})}),
    ("model.template: 't' there, 'u' now", {"model": MODEL.model_copy(update={"template": "u"})}),
]


@pytest.mark.parametrize(("difference", "changes"), CHANGES, ids=[words.partition(":")[0] for words, _ in CHANGES])
def test_every_entry_changes_fingerprint_and_is_named(difference: str, changes: dict[str, Any]) -> None:
    other = CONFIGURATION.model_copy(update=changes)
    assert CONFIGURATION.differences(other) == [difference]
    assert CONFIGURATION.fingerprint() != other.fingerprint()


def test_the_same_configuration_has_no_difference_and_one_fingerprint() -> None:
    again = Configuration.model_validate_json(CONFIGURATION.model_dump_json())
    assert CONFIGURATION.differences(again) == []
    assert CONFIGURATION.fingerprint() == again.fingerprint()
    assert len(CONFIGURATION.fingerprint()) == 64  # SHA-256 in hexadecimal


def test_the_order_of_scorers_is_no_difference() -> None:
    one = CONFIGURATION.model_copy(update={"scorers": {"a": "A()", "b": "B()"}})
    two = CONFIGURATION.model_copy(update={"scorers": {"b": "B()", "a": "A()"}})
    assert one.fingerprint() == two.fingerprint()
    assert one.differences(two) == []


def test_all_differences_are_named_in_alphabetical_order() -> None:
    other = CONFIGURATION.model_copy(update={"package": "9", "chains": "d"})
    assert [words.partition(":")[0] for words in CONFIGURATION.differences(other)] == ["chains", "package"]


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    manifest = Manifest(
        configuration=CONFIGURATION, versions={"torch": "2"}, n_chains=5, n_done=2, failed={"é": "not finite"},
        checks={"x": 1e-7}, seconds={"load": 0.1},
    )  # fmt: skip
    write_manifest(tmp_path, manifest)
    assert read_manifest(tmp_path) == manifest
    assert manifest.n_left == 2  # of 5, 2 are done and 1 failed
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
        (b'{"format": 1', "Invalid JSON"),
        (b"\xff\xfe", "Invalid JSON"),
        (b"[]", "object"),
        (b"{}", "configuration: Field required"),
        (b'{"unknown": 1}', "configuration: Field required"),
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
    write_manifest(tmp_path, Manifest(configuration=CONFIGURATION, versions={}, n_chains=1))
    facts = json.loads((tmp_path / "run.json").read_text())
    (tmp_path / "run.json").write_text(json.dumps(facts | {"colour": "red"}))
    with pytest.raises(RunError, match=r"run\.json: cannot be read \(colour: Extra inputs are not permitted\)"):
        read_manifest(tmp_path)


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
        CONFIGURATION.package = "2"  # type: ignore[misc]
