"""Where the numbers of an analysis come from."""

from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

from reasoning_anatomy.run.folder import Run


def provenance(run: Run, *, packages: Sequence[str], **facts: Any) -> dict[str, Any]:
    """Describe the run, its model and what else took part.

    Parameters
    ----------
    run
        The run.
    packages
        Distributions that computed the numbers, beside this one.
    **facts
        What was read, such as the scorers with their configuration.
    """
    configuration = run.manifest.configuration
    model = configuration.model
    about_model = {fact: getattr(model, fact) for fact in ("revision", "dtype", "quantization")} if model else {}
    return {
        "run": run.folder.resolve().name,
        "model": model.id if model else f"none; {configuration.encoding}",
        **about_model,
        **facts,
        "versions": {package: version(package) for package in ("reasoning-anatomy", *packages)},
    }


def only_one(names: Sequence[str]) -> str | None:
    """Return the one that was read, as an option says it; None, as in the options, if it was all of several."""
    return names[0] if len(names) == 1 else None
