"""From a published file to a run."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from reasoning_anatomy import plugins
from reasoning_anatomy.chains import read_bytes
from reasoning_anatomy.errors import ChainFileError, EncodingError, PluginError
from reasoning_anatomy.importance import NeedsNoModel, Scorer
from reasoning_anatomy.interchange._pruned import Format, Place, PrunedChain
from reasoning_anatomy.interchange._records import Records, format_of, read_records
from reasoning_anatomy.progress import Stages
from reasoning_anatomy.run.folder import Run
from reasoning_anatomy.run.manifest import Configuration, ModelIdentity
from reasoning_anatomy.run.writer import RunWriter, begin_run, expect_run_folder
from reasoning_anatomy.types import Annotation
from reasoning_anatomy.unusable import Unusable, listed

if TYPE_CHECKING:
    from reasoning_anatomy.models.encoding import ChainEncoder, EncodingOptions
    from reasoning_anatomy.models.loading import LoadedModel, ModelSpec

ANNOTATOR: Final = "published"
"""Name of the annotator whose labels come with a file."""

_WITHOUT_MODEL: Final = ("recency", "random")
_WITH_MODEL: Final = ("answer_attention",)


@dataclass(frozen=True)
class ImportedPath:
    """Stands in a run for the strategy that made the paths of a file; its ``repr`` is their provenance.

    Attributes
    ----------
    file, sha256, format
        Name of the file, digest of its content, key of its format.
    strategy
        What the file says about the strategy.
    """

    file: str
    sha256: str
    format: str
    strategy: str


def import_run(
    file: str | Path,
    *,
    out: str | Path,
    format: str | None = None,
    model: "str | ModelSpec | LoadedModel | None" = None,
    scorers: Sequence[str] = (),
    encoding: "EncodingOptions | None" = None,
    stages: Stages | None = None,
) -> Run:
    """Make a run of a published file, on which every analysis works.

    Parameters
    ----------
    file
        One JSON object a line, or a list of them.
    out
        The run folder. The same import again finishes it, or leaves it as it is.
    format
        Key of a format; None recognises it by the keys of the first item.
    model
        The model that pruned: it scores the tokens, and gives tokens their text if the file has only ids.
        Its weights are loaded only for a scorer that needs them.
    scorers
        Specs of plugins. If empty, ``answer_attention`` with a model; without one ``recency`` and ``random``, which
        need no model.
    encoding
        How prompt and answer join the reasoning, if the file does not have their ids.
    stages
        Shows progress and collects the time of each stage; silent if None.

    Returns
    -------
    The run. Categories of the file are the labels of the annotator ``published``.

    Raises
    ------
    ReasoningAnatomyError
        The file is wrong (the message names the line), a plugin is unknown, another model pruned, or the folder
        holds something else; then nothing is written.
    """
    file, folder, stages = Path(file), Path(out), stages or Stages()
    expect_run_folder(folder)
    plan = _scorers(scorers, has_model=model is not None)
    content = read_bytes(file)
    records = read_records(file, content)
    plugin: Format = plugins.load("format", format or format_of(records))
    encoder = None if model is None else _encoder(model, encoding, folder)
    pruned = _read(plugin, records, encoder, stages)
    label = next(iter(pruned.values())).label
    _expect_paths(plan, label)
    needs_weights = not all(isinstance(scorer, NeedsNoModel) for scorer in plan.values())
    loaded = _load(model, pruned, stages) if model is not None and needs_weights else None
    configuration = Configuration(
        model=_identity(loaded, encoder),
        encoding=_origin(file, model, encoder),
        scorers={label: repr(scorer) for label, scorer in plan.items()},
        strategies={label: repr(_strategy(file, content, plugins.key_of(plugin), pruned))},
    )
    with begin_run(folder, configuration, [item.encoded.chain for item in pruned.values()], stages=stages) as writer:
        _add_paths(writer, pruned)
        if loaded is None:
            _add_scores(writer, pruned, plan)
        else:
            _measure_scores(writer, pruned, plan, loaded)
    run = Run(folder)
    _write_labels(run, file, pruned)
    return run


def _scorers(specs: Sequence[str], *, has_model: bool) -> dict[str, Scorer]:
    """Make scorers by label; without a model, only those that need none."""
    infos = plugins.available("scorer")
    for spec in specs:
        info = infos.get(spec.partition(":")[0])
        if not has_model and info is not None and not info.needs_no_model:
            raise PluginError(f"scorer {spec!r} needs a model; name the one that pruned: --model MODEL")
    scorers = [plugins.load("scorer", spec) for spec in specs or (_WITH_MODEL if has_model else _WITHOUT_MODEL)]
    return {plugins.label(scorer): scorer for scorer in scorers}


def _expect_paths(scorers: Mapping[str, Scorer], label: str) -> None:
    from reasoning_anatomy.pipeline.plan import Plan

    Plan(scorers, {}).expect_paths([label])


def _encoder(model: "str | ModelSpec | LoadedModel", encoding: "EncodingOptions | None", folder: Path) -> "ChainEncoder":
    from reasoning_anatomy.models.encoding import ChainEncoder
    from reasoning_anatomy.models.loading import LoadedModel, load_tokenizer
    from reasoning_anatomy.pipeline.identity import as_begun

    tokenizer = model.tokenizer if isinstance(model, LoadedModel) else load_tokenizer(model)
    return ChainEncoder(tokenizer, as_begun(encoding, folder, tokenizer))


def _read(plugin: Format, records: Records, encoder: "ChainEncoder | None", stages: Stages) -> dict[str, PrunedChain]:
    """Read all records; refuse chains with the same id, or with paths of different strategies."""
    pruned: dict[str, PrunedChain] = {}
    places: dict[str, Place] = {}
    items = []
    faults: list[ChainFileError | EncodingError] = []
    for place, record in stages.add("read", len(records)).each(records):
        try:
            items.append((place, plugin.read(record, place=place, encoder=encoder)))
        except (ChainFileError, EncodingError) as error:
            faults.append(error)
    _expect_none(faults, records)
    for place, item in items:
        chain_id = item.encoded.chain_id
        if chain_id in places:
            first = places[chain_id]
            raise place.error(f"chain_id {chain_id!r} is also on {first.unit} {first.number}; give each chain its own")
        pruned[chain_id], places[chain_id] = item, place
        first_label = next(iter(pruned.values())).label
        if item.label != first_label:
            raise place.error(f"'strategy' is {item.label!r} after {first_label!r}; put each strategy into its own file")
    return pruned


def _expect_none(faults: Sequence[ChainFileError | EncodingError], records: Records) -> None:
    if len(faults) == 1:
        raise faults[0]
    if faults:
        place = records[0][0]
        named = [Unusable(place.file.name, None, None, "", str(fault).removeprefix(f"{place.file}, ")) for fault in faults]
        raise ChainFileError(f"{place.file}: {len(faults)} of {len(records)} {place.unit}s cannot be imported:{listed(named)}")


def _strategy(file: Path, content: bytes, key: str, pruned: Mapping[str, PrunedChain]) -> ImportedPath:
    strategies = "; ".join(dict.fromkeys(item.path.strategy for item in pruned.values()))
    digest = hashlib.sha256(content).hexdigest()[:16]
    return ImportedPath(_name(file), digest, key, strategies)


def _load(model: "str | ModelSpec | LoadedModel", pruned: Mapping[str, PrunedChain], stages: Stages) -> "LoadedModel":
    """Load the weights, after it is known that every chain fits into the model's context."""
    from reasoning_anatomy.models.loading import LoadedModel, context_length, load_config, load_model

    if isinstance(model, LoadedModel):
        _expect_to_fit(pruned, model.context_length)
        return model
    with stages.add("load", 1) as stage:
        config = load_config(model)
        _expect_to_fit(pruned, context_length(config))
        loaded = load_model(model, config=config)
        stage.advance()
    return loaded


def _expect_to_fit(pruned: Mapping[str, PrunedChain], context: int | None) -> None:
    too_long = [
        Unusable(None, None, chain_id, "is too long", f"{chain_id}: has {len(item.encoded.ids)} tokens")
        for chain_id, item in pruned.items()
        if context is not None and len(item.encoded.ids) > context
    ]
    if len(too_long) == 1:
        raise EncodingError(
            f"{too_long[0].message}, but the model's context holds {context}; leave the chain out or use a model with a longer "
            "context"
        )
    if too_long:
        raise EncodingError(
            f"{len(too_long)} of {len(pruned)} chains are longer than the model's context, which holds {context}; leave them "
            f"out or use a model with a longer context:{listed(too_long)}"
        )


def _identity(loaded: "LoadedModel | None", encoder: "ChainEncoder | None") -> ModelIdentity | None:
    if loaded is None or encoder is None:
        return None
    from reasoning_anatomy.pipeline.identity import identity

    return identity(loaded, encoder)


def _origin(file: Path, model: "str | ModelSpec | LoadedModel | None", encoder: "ChainEncoder | None") -> str:
    """Say where the ids come from."""
    if encoder is None or model is None:
        return f"imported from {_name(file)}"
    return f"imported from {_name(file)}, tokenizer of {model if isinstance(model, str) else model.id}, {encoder.options!r}"


def _name(file: Path) -> str:
    """Name of a file as text that can be written."""
    return file.name.encode(errors="backslashreplace").decode()


def _add_paths(writer: RunWriter, pruned: Mapping[str, PrunedChain]) -> None:
    for chain_id, missing in writer.missing(list(pruned)).items():
        item = pruned[chain_id]
        writer.add_encoded(item.encoded)
        if missing.strategies:
            with writer.claim_path(chain_id, item.label, wait=True):
                writer.add_path(chain_id, item.label, item.path)


def _add_scores(writer: RunWriter, pruned: Mapping[str, PrunedChain], scorers: Mapping[str, Scorer]) -> None:
    """Score the chains without a model."""
    for chain_id, missing in writer.missing(list(pruned)).items():
        with writer.claim_scores(chain_id, missing.scorers, wait=True):
            for label in missing.scorers:
                scorer = scorers[label]
                if isinstance(scorer, NeedsNoModel):
                    try:
                        scores = scorer.score(pruned[chain_id].encoded, loaded=None)
                    except Exception as error:
                        writer.add_error(chain_id, "score", label, error)
                    else:
                        writer.add_scores(chain_id, label, scores)


def _measure_scores(
    writer: RunWriter, pruned: Mapping[str, PrunedChain], scorers: Mapping[str, Scorer], loaded: "LoadedModel"
) -> None:
    from reasoning_anatomy.pipeline.measuring import measure_missing
    from reasoning_anatomy.pipeline.plan import Plan

    measure_missing(writer, {chain_id: item.encoded for chain_id, item in pruned.items()}, Plan(scorers, {}), loaded=loaded)


def _write_labels(run: Run, file: Path, pruned: Mapping[str, PrunedChain]) -> None:
    labels = {
        chain_id: Annotation(f"published labels of {_name(file)}", pruned[chain_id].categories or ())
        for chain_id in run.measured
        if pruned[chain_id].categories is not None
    }
    if labels:
        run.write_annotations(ANNOTATOR, labels)
