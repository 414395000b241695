"""The command that samples chains: ``generate``."""

import shlex
from collections import Counter
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

from tyro.conf import OmitArgPrefixes, Positional, arg

from reasoning_anatomy.cli._app import (
    EXECUTOR,
    ExecutorOption,
    ModelOption,
    PluginsOption,
    SamplingOption,
    app,
    flags,
    say,
    use_plugins,
)
from reasoning_anatomy.cli._places import LocalFile
from reasoning_anatomy.errors import RunError
from reasoning_anatomy.generation.completion import INSTRUCTION, LOOP_TOKENS
from reasoning_anatomy.plugins import load
from reasoning_anatomy.specs import BUNDLED, EncodingOptions, ModelSpec
from reasoning_anatomy.template_variables import template_variable

if TYPE_CHECKING:
    from reasoning_anatomy.generation.generate import Sampled
    from reasoning_anatomy.generation.request import Completer
    from reasoning_anatomy.generation.server import ServedModel


@dataclass(frozen=True)
class ServerOption:
    """Sample through an OpenAI-compatible server instead.

    Attributes
    ----------
    url
        Address, such as http://localhost:8000/v1; no model is loaded then. ``--model`` is its name there.
    key_variable
        Environment variable that holds the server's key; empty for no key.
    concurrency
        Requests at the same time.
    opens_thinking
        The model's prompt opens ``<think>``, as that of DeepSeek-R1 does, and the server leaves the thinking in the text: a
        text that does not close it then has no answer.
    """

    url: str | None = None
    key_variable: str = "OPENAI_API_KEY"
    concurrency: int = 16
    opens_thinking: bool = False


@dataclass(frozen=True)
class _Model(ModelOption):
    """Which model to load, and how to hold it; with ``--url``, its name at the server."""


_SAMPLING: Final = SamplingOption()


@app.command(name="generate")
def sample_chains(
    problems: Annotated[
        Positional[Path], arg(help="Problems: JSONL, JSON, CSV or Parquet; - is standard input.", metavar="PROBLEMS")
    ],
    out: Annotated[LocalFile, arg(help="JSONL file of the chains; one that was begun is finished, or added to.")],
    samples: Annotated[int, arg(help="Chains for each problem.")] = 1,
    first: Annotated[int | None, arg(help="Only so many of the problems, from the first on.")] = None,
    instruction: Annotated[str, arg(help="Goes behind every question; '' for none.")] = INSTRUCTION,
    until_correct: Annotated[bool, arg(help="Stop at the first correct sample of a problem.")] = False,
    loop_tokens: Annotated[
        int, arg(help="A sample ends that only repeats a piece of at most 128 tokens over so many; 0 lets it go on.")
    ] = LOOP_TOKENS,
    ends_with_thinking: Annotated[bool, arg(help="Stop where the model closes its thinking: chains without answers.")] = False,
    evict: Annotated[
        str | None, arg(help="KEY or KEY:option=value: what leaves the cache meanwhile; see `list policies`.", metavar="POLICY")
    ] = None,
    template_variables: Annotated[
        tuple[str, ...], arg(help="NAME=VALUE for the chat template: enable_thinking=false, reasoning_effort=high.")
    ] = (),
    plugins: PluginsOption = None,
    model: Annotated[_Model, OmitArgPrefixes] = _Model(),
    sampling: Annotated[SamplingOption, OmitArgPrefixes] = _SAMPLING,
    server: Annotated[ServerOption, OmitArgPrefixes] = ServerOption(),
    executor: Annotated[ExecutorOption, OmitArgPrefixes] = EXECUTOR,
) -> None:
    """Sample chains on problems, with a model here or behind a server."""
    from reasoning_anatomy.generation.chain_file import encoding_of_samples
    from reasoning_anatomy.generation.generate import generate
    from reasoning_anatomy.problems import read_problem_file
    from reasoning_anatomy.progress import Stages

    use_plugins(plugins)
    checked = sampling.checked()
    if first is not None and first < 1:
        raise RunError(f"first is {first}; give 1 or more")
    if loop_tokens < 0:
        raise RunError(f"loop_tokens is {loop_tokens}; give 1 or more, or 0 to let a sample go on that repeats itself")
    if server.url is not None and evict is not None:
        raise RunError("--evict needs a model that is loaded here; leave out --url")
    if server.url is None and server != ServerOption():
        raise RunError("--key-variable, --concurrency and --opens-thinking are for a server; name it with --url")
    if server.url is not None and executor != EXECUTOR:
        raise RunError("--executor and its options are for a model that is loaded by workers; leave out --url")
    file = read_problem_file(problems)
    for note in file.notes:
        say(f"note: {note}")
    wanted = file.problems[:first]
    workers = None if server.url is not None else executor.workers(out, model.device)
    if executor.dry_run:
        say(workers.script())  # type: ignore[union-attr]
        return
    spec = ModelSpec(**asdict(model))
    with Stages(show=True) as stages:
        if workers is not None:
            from reasoning_anatomy.pipeline.sampling import Asked, generate_together

            asked = Asked(
                model=spec,
                samples=samples,
                sampling=checked,
                instruction=instruction,
                until_correct=until_correct,
                template_variables=template_variables,
                ends_with_thinking=ends_with_thinking,
                loop_tokens=loop_tokens,
                policy=evict,
            )
            sampled = generate_together(wanted, asked, out=out, executor=workers, plugins=plugins, stages=stages)
        else:
            completer: Completer
            if server.url is None:
                from reasoning_anatomy.generation.local import open_local

                completer, about, opened = open_local(
                    spec,
                    EncodingOptions(template_variables=template_variables, date=encoding_of_samples(out).date),
                    loop_tokens=loop_tokens,
                    ends_with_thinking=ends_with_thinking,
                    policy=None if evict is None else load("policy", evict),
                    stages=stages,
                )
            else:
                completer = served = _served(server, model, template_variables, loop_tokens, ends_with_thinking)
                about = {"name": served.find_model(), "server": True, "template_variables": sorted(template_variables)}
                opened = "<think>" if server.opens_thinking else ""
            sampled = generate(
                wanted,
                out=out,
                completer=completer,
                model=about,
                samples=samples,
                sampling=checked,
                instruction=instruction,
                opened=opened,
                until_correct=until_correct,
                stages=stages,
            )
    answering = model if server.url is None else replace(model, id=about["name"])
    _say_sampled(sampled, n_asked=len(wanted) * samples, model=answering)


def _served(
    server: ServerOption, model: ModelOption, variables: tuple[str, ...], loop_tokens: int, ends_with_thinking: bool
) -> "ServedModel":
    from reasoning_anatomy.generation.server import ServedModel

    if model != _Model(id=model.id):
        raise RunError("--dtype, --device, --quantize and --revision are for a model that is loaded here; leave out --url")
    if loop_tokens != LOOP_TOKENS:
        raise RunError("--loop-tokens is for a model that is loaded here; leave out --url")
    if ends_with_thinking:
        raise RunError("--ends-with-thinking needs a model that is loaded here; leave out --url, or name the tag with --stop")
    return ServedModel(
        url=server.url or "",
        model=None if model.id == ModelOption().id else model.id,
        key_variable=server.key_variable,
        concurrency=server.concurrency,
        template_variables=dict(map(template_variable, variables)),
    )


def _say_sampled(sampled: "Sampled", *, n_asked: int, model: ModelSpec) -> None:
    """Say what came of the samples, and what to do with them: their model answers again, with the same prompts."""
    counts = sampled.counts()
    for reason, count in Counter(sampled.failed.values()).items():
        say(f"Failed: {count} of {n_asked} samples: {reason}")
    for name in ("finish_reason", "verdict"):
        if counts[name]:
            listing = ", ".join(f"{value} {count}" for value, count in counts[name].most_common())
            say(f"{name.replace('_', ' ').capitalize()}: {listing}")
    if n_narrowed := counts["draws_from_all_tokens"]["False"]:
        say(
            f"note: the server refused to be told that nothing else narrows a draw, so defaults of its own held, too, in "
            f"{n_narrowed} samples, marked in the file"
        )
    if sampled.n_judged_again:
        say(f"Judged again: {sampled.n_judged_again} chains, whose problem has another gold answer now")
    for reason, count in counts["unusable"].items():
        say(f"Cannot be measured: {count}, marked in the file: {reason}")
    say(f"Wrote {sampled.path}: {len(sampled.rows)} chains")
    if counts["unusable"].total() == len(sampled.rows):
        return
    held = flags(replace(model, id=BUNDLED), ModelSpec())
    named = ["--model", model.id] if model.id != BUNDLED or held else []
    sweeping = ["sweep", f"runs/{sampled.path.stem}", "--chains", str(sampled.path), "--strategies", "step_percentile"]
    skipping = ["--skip-unusable"] if counts["unusable"] else []
    say(f"Next: reasoning-anatomy {shlex.join([*sweeping, *named, *held, *skipping])}")
