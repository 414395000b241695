"""The command that puts runs into one: ``merge``."""

from typing import Annotated

from tyro.conf import Positional, arg

from reasoning_anatomy.cli._app import PluginsOption, app, use_plugins
from reasoning_anatomy.cli._places import Folder
from reasoning_anatomy.cli.measuring import say_measured, say_next
from reasoning_anatomy.cli.sweeping import say_next_of_sweep, say_swept


@app.command
def merge(
    runs: Annotated[Positional[tuple[Folder, ...]], arg(help="Folders of the runs.", metavar="RUN_A RUN_B [RUN ...]")],
    out: Annotated[Folder, arg(help="Folder of the merged run; an existing run is added to.")],
    without: Annotated[
        tuple[str, ...], arg(help="Labels of scorers to leave out, such as those that looked at all chains of their run.")
    ] = (),
    plugins: PluginsOption = None,
) -> None:
    """Put runs with the same model and options into one; the runs stay as they are."""
    use_plugins(plugins)
    from reasoning_anatomy.progress import Stages
    from reasoning_anatomy.run.merging import merge_runs

    with Stages(show=True) as stages:
        merged = merge_runs(runs, out=out, without=without, stages=stages)
    say_measured(merged)
    if merged.manifest.configuration.conditions:
        say_swept(merged)
        say_next_of_sweep(merged)
    else:
        say_next(merged)
