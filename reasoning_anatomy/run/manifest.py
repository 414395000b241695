"""``run.json``: what was run on what. It grows, and what is there never changes its meaning."""

import ast
import hashlib
import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from reasoning_anatomy.errors import RunError
from reasoning_anatomy.files import write_atomic
from reasoning_anatomy.run.layout import STUDENTS_NAME
from reasoning_anatomy.run.selection import Selection
from reasoning_anatomy.specs import EncodingOptions, Reading, Restatements

MANIFEST_NAME: Final = "run.json"
FORMAT: Final = 2
_SEGMENTERS: Final[Mapping[str, str]] = {"sentences": "Sentences(version=1)"}
"""Of a run whose record names none."""


class ModelIdentity(BaseModel):
    """Which weights and which text format the numbers come from.

    Attributes
    ----------
    id
        As the user named it.
    revision
        Commit of the hub, if there is one.
    architecture
        Class of the model.
    n_layers, n_heads
        Shape of its attention.
    weights
        Digest of a sample of every parameter.
    template
        Digest of the chat template as rendered around a chain.
    dtype, device, quantization
        How the weights were held.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    revision: str | None
    architecture: str
    n_layers: int
    n_heads: int
    weights: str
    template: str
    dtype: str
    device: str
    quantization: str | None

    def pinned(self) -> dict[str, Any]:
        """Return everything that numbers depend on. Where the weights are and what they are called differs by machine."""
        return self.model_dump(exclude={"id", "revision"})

    def digest(self) -> str:
        """Digest of everything that numbers depend on."""
        return hashlib.sha256(json.dumps(self.pinned(), sort_keys=True).encode()).hexdigest()


class Condition(BaseModel):
    """One condition of a sweep: what is kept of every chain, how the model reads it, and how often it answers.

    Attributes
    ----------
    strategy, threshold, reference, restatements
        As in `reasoning_anatomy.run.selection.Selection`; the strategy is an eviction policy if the reading is live.
    reading
        ``"closed_up"``: a new forward pass over the ids that are left. ``"evicted"``: keys and values are removed from the
        cache of the whole chain, and positions stay as they were. ``"live"``: whole texts are written anew from the question,
        and tokens leave the cache meanwhile.
    samples
        Answers for each chain, or texts for each question.
    plugins
        ``repr`` of the strategy, and of the reference if there is one; of policies, as they are at the threshold.
    steps
        Spec of the segmenter by which the strategy, or the reference, cuts steps; empty if it does not.
    by_pass_rate
        Whether what is kept depends on the share of the samples of the chain's question that are correct.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    strategy: str
    threshold: float
    reference: str = ""
    restatements: Restatements = "kept"
    reading: Reading = "closed_up"
    samples: int = Field(ge=1)
    plugins: tuple[str, ...]
    steps: str = ""
    by_pass_rate: bool = False

    @property
    def selection(self) -> Selection:
        """What is kept."""
        return Selection(self.strategy, self.threshold, self.reference, self.restatements)

    @property
    def is_live(self) -> bool:
        """Whether texts are written anew."""
        return self.reading == "live"

    @property
    def label(self) -> str:
        """By which the record of the run knows it."""
        return f"{self.selection.label}, {self.reading}"


class Configuration(BaseModel):
    """What a run measures, and with what. Model and encoding never change; plugins and conditions can be added.

    Attributes
    ----------
    model
        The measured model; None if the run was imported and no model was loaded.
    encoding
        ``repr`` of the encoding options, or where the numbers were imported from.
    scorers, strategies, segmenters
        ``repr`` by label.
    answering
        ``repr`` of how the model answers in a sweep; None if there was none.
    writing
        ``repr`` of how the model writes whole texts under eviction policies; None if it wrote none.
    conditions
        Of sweeps, by label.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: ModelIdentity | None
    encoding: str
    scorers: Mapping[str, str] = Field(default_factory=dict)
    strategies: Mapping[str, str] = Field(default_factory=dict)
    segmenters: Mapping[str, str] = _SEGMENTERS
    answering: str | None = None
    writing: str | None = None
    conditions: Mapping[str, Condition] = Field(default_factory=dict)

    @property
    def counts_steps_by(self) -> str:
        """Spec of the segmenter by which a sweep counts steps."""
        return str(_literals(self.answering or "").get("segmenter", "sentences"))

    @property
    def encoding_options(self) -> EncodingOptions | None:
        """How chains become sequences, with the joints and the date that were found out; None if a run was imported as ids."""
        _, call, options = self.encoding.partition(f"{EncodingOptions.__name__}(")
        return EncodingOptions(**_literals(call + options)) if call else None

    def grown(self, other: "Configuration", *, whose: tuple[str, str] = ("in the run", "now")) -> "Configuration":
        """Add the plugins and conditions of another configuration; a condition keeps its larger number of samples.

        Parameters
        ----------
        other
            What is added.
        whose
            What a message says behind a value of this configuration and of the other.

        Raises
        ------
        ValueError
            It has another model or encoding, answers otherwise, or gives a label another meaning; the message says what
            differs.
        """
        differences = [
            *_differences_of_models(self.model, other.model, whose),
            *_differences("", {"encoding": self.encoding}, {"encoding": other.encoding}, whose),
        ]
        kinds = (
            ("scorer", self.scorers, other.scorers),
            ("strategy", self.strategies, other.strategies),
            ("segmenter", self.segmenters, other.segmenters),
        )
        for kind, own, added in kinds:
            for label in sorted(own.keys() & added.keys()):
                differences += _differences_of_plugins(f"{kind} {label!r}, ", own[label], added[label], whose)
        for name in ("answering", "writing"):
            before, now = getattr(self, name), getattr(other, name)
            if before is not None and now is not None:
                differences += _differences_of_plugins(f"{name}, ", before, now, whose)
        conditions = {**self.conditions, **other.conditions}
        for label in self.conditions.keys() & other.conditions.keys():
            both = self.conditions[label], other.conditions[label]
            for before, now in zip(both[0].plugins, both[1].plugins, strict=True):
                differences += _differences_of_plugins(f"condition {label!r}, ", before, now, whose)
            conditions[label] = max(both, key=lambda condition: condition.samples)
        if differences:
            raise ValueError("; ".join(differences))
        return self.model_copy(
            update={
                "scorers": {**self.scorers, **other.scorers},
                "strategies": {**self.strategies, **other.strategies},
                "segmenters": {**self.segmenters, **other.segmenters},
                "answering": other.answering or self.answering,
                "writing": other.writing or self.writing,
                "conditions": conditions,
            }
        )


class Manifest(BaseModel):
    """The record of a run. How much has been measured is not recorded: `Run.status` counts the files.

    Attributes
    ----------
    format
        Version of the folder's layout.
    package
        Version of this library with which the run was begun.
    configuration
        What is measured, and with what.
    versions
        Of Python and the libraries, when the run was begun.
    checks
        What was verified on this model before measuring, by name; see ``docs/run-folder.md``.
    seconds
        Wall time by stage of the last process that measured something.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: int = FORMAT
    package: str
    configuration: Configuration
    versions: Mapping[str, str]
    checks: Mapping[str, float] = Field(default_factory=dict)
    seconds: Mapping[str, float] = Field(default_factory=dict)


def read_manifest(folder: Path) -> Manifest:
    """Read ``run.json``; `RunError` if it is missing, damaged or of another layout."""
    path = folder / MANIFEST_NAME
    try:
        content = path.read_bytes()
        _expect_format(folder, content)
        return Manifest.model_validate_json(content)
    except FileNotFoundError:
        if (folder / STUDENTS_NAME).exists():
            shows = f"reasoning-anatomy report {folder}"
            raise RunError(f"{folder}: holds students, and this reads a run; they are shown by: {shows}") from None
        raise RunError(
            f"{folder}: is not a run folder (no {MANIFEST_NAME}); "
            f"make one with: reasoning-anatomy run CHAINS.jsonl --out {folder}"
        ) from None
    except ValidationError as error:
        first = error.errors()[0]
        reason = f"{'.'.join(map(str, first['loc']))}: {first['msg']}".removeprefix(": ")
        raise RunError(f"{path}: cannot be read ({reason}); restore it or start a new run folder") from error
    except OSError as error:
        raise RunError(f"{path}: cannot be read ({error.strerror}); restore it or start a new run folder") from error


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write ``run.json`` atomically."""
    write_atomic(folder / MANIFEST_NAME, manifest.model_dump_json(indent=2) + "\n")


def _expect_format(folder: Path, content: bytes) -> None:
    """Refuse runs of another layout; content that is not JSON is left to the caller."""
    try:
        layout = json.loads(content).get("format", FORMAT)
    except (ValueError, AttributeError):
        return
    if layout == 1:
        raise RunError(
            f"{folder}: was written by version 0.1 of this package, whose layout this version does not read; measure its "
            f"chains again (reasoning-anatomy run {folder / 'chains.jsonl'} --out ANOTHER_FOLDER), or read it with version 0.1"
        )
    if layout != FORMAT:
        raise RunError(f"{folder}: has layout {layout!r}, this version reads {FORMAT}; update reasoning-anatomy")


def _differences_of_models(before: ModelIdentity | None, now: ModelIdentity | None, whose: tuple[str, str]) -> list[str]:
    if before is not None and now is not None:
        return _differences("model.", before.pinned(), now.pinned(), whose)
    names = ["none (imported without one)" if model is None else repr(model.id) for model in (before, now)]
    return [] if before == now else [f"model: {names[0]} {whose[0]}, {names[1]} {whose[1]}"]


def _differences(prefix: str, before: Mapping[str, Any], now: Mapping[str, Any], whose: tuple[str, str]) -> list[str]:
    """``name: VALUE in the run, OTHER now`` for every entry that differs."""
    return [
        f"{prefix}{name}: {before.get(name)!r} {whose[0]}, {now.get(name)!r} {whose[1]}"
        for name in sorted(before.keys() | now.keys())
        if before.get(name) != now.get(name)
    ]


def _differences_of_plugins(prefix: str, before: str, now: str, whose: tuple[str, str]) -> list[str]:
    """Name the options that differ, or show both if they differ in something else: files are pinned by every character."""
    if before == now:
        return []
    return _differences(prefix, _options(before), _options(now), whose) or _differences(
        prefix, {"repr": before}, {"repr": now}, whose
    )


def _literals(plugin: str) -> dict[str, Any]:
    """Options in the ``repr`` of a dataclass, by name, as far as they are literals."""
    values = {}
    for name, text in _options(plugin).items():
        with suppress(ValueError, SyntaxError):
            values[name] = ast.literal_eval(text)
    return values


def _options(plugin: str) -> dict[str, str]:
    """Options in the ``repr`` of a plugin, by name; the whole if it is not written as a call."""
    try:
        call = ast.parse(plugin, mode="eval").body
    except SyntaxError:
        return {"repr": plugin}
    if not isinstance(call, ast.Call):
        return {"repr": plugin}
    return {"class": ast.unparse(call.func), **{str(word.arg): ast.unparse(word.value) for word in call.keywords}}
