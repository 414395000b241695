"""The command ``figure`` and ``python -m reports.figures RUN``."""

import dataclasses
import sys
from collections.abc import Sequence
from dataclasses import field, make_dataclass
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import tyro
from tyro.conf import OmitArgPrefixes, Positional, arg

from reasoning_anatomy.cli._app import (
    OnlyOption,
    PluginsOption,
    RunArgument,
    app,
    errors_as_one_line,
    open_folder,
    say,
    unchecked,
    use_plugins,
)
from reasoning_anatomy.errors import AnalysisError, RunError
from reasoning_anatomy.plugins import load

_Format = Literal["pdf", "svg", "png"]
_ALL: Final[tuple[_Format, ...]] = ("pdf", "svg", "png")
_FormatOption = Annotated[tuple[_Format, ...], arg(name="format", help="One file each.")]
_OutOption = Annotated[
    Path | None,
    arg(
        name="out",
        help="FILE.pdf, .svg or .png, in place of --format; the data goes beside it as CSV. RUN/figures/KEY.pdf if left out.",
        metavar="FILE",
    ),
]


@app.command
def figure(
    spec: Annotated[
        Positional[str],
        arg(help="KEY or KEY:option=value; see `list figures`. `figure KEY --help` shows its options.", metavar="KEY"),
    ],
    run: RunArgument,
    out: _OutOption = None,
    format: _FormatOption = (),
    only: OnlyOption = (),
    plugins: PluginsOption = None,
) -> None:
    """Draw one figure of a run; behind KEY, its options are options of the command: figure head_map RUN --width column."""
    use_plugins(plugins)
    _draw(spec, {}, run, out=out, formats=format, only=only)


def names_a_figure(arguments: Sequence[str]) -> bool:
    """Whether a command line begins with ``figure KEY``, so that the options of that figure are known."""
    return arguments[:1] == ["figure"] and len(arguments) > 1 and not arguments[1].startswith("-")


def figure_main(arguments: Sequence[str]) -> None:
    """Run ``figure KEY RUN``, with the fields of the figure as options."""
    spec = arguments[1]
    use_plugins(_folder_of_plugins(arguments))
    default = load("figure", spec)
    options = unchecked(type(default))
    fields: list[Any] = [
        ("run", RunArgument),
        ("out", _OutOption, None),
        ("format", _FormatOption, ()),
        ("only", OnlyOption, ()),
        ("plugins", PluginsOption, None),
        ("options", options, field(default_factory=lambda: options(**dataclasses.asdict(default)))),
    ]
    chosen: Any = tyro.cli(
        make_dataclass("Arguments", fields),
        args=arguments[2:],
        prog=f"reasoning-anatomy figure {spec}",
        description=type(default).__doc__,
        config=(OmitArgPrefixes,),
    )
    _draw(
        spec.partition(":")[0],
        dataclasses.asdict(chosen.options),
        chosen.run,
        out=chosen.out,
        formats=chosen.format,
        only=chosen.only,
    )


def _folder_of_plugins(arguments: Sequence[str]) -> Path | None:
    """Folder of own plugins, which must be known before the options of a figure are."""
    for argument, following in zip(arguments, [*arguments[1:], ""], strict=True):
        name, equals, value = argument.partition("=")
        if name == "--plugins":
            return Path(value if equals else following)
    return None


def _draw(
    key: str, options: dict[str, Any], run: Path, *, out: Path | None, formats: Sequence[str], only: tuple[str, ...]
) -> None:
    from reports import save_figure

    if out is not None and formats:
        raise RunError(f"--out {out} is one file and its ending says the format; leave out --format, or --out")
    for written in save_figure(open_folder(run, only), key, out, formats=formats or ("pdf",), **options):
        say(f"Wrote {written}")


def figures_main() -> None:
    """Entry point of ``python -m reports.figures RUN``."""
    with errors_as_one_line():
        tyro.cli(all_figures, prog="python -m reports.figures")


def all_figures(
    run: RunArgument,
    out: Annotated[Path | None, arg(help="Folder for the files. RUN/figures if left out.", metavar="FOLDER")] = None,
    format: _FormatOption = _ALL,
    width: Annotated[
        Literal["column", "double"] | None, arg(help="3.35 or 7 inches; double, unless a figure of yours says otherwise.")
    ] = None,
    only: OnlyOption = (),
    plugins: PluginsOption = None,
) -> None:
    """Write every figure that a run allows, each with its data as CSV; say which are skipped, and why."""
    from reports._export import export_figures

    use_plugins(plugins)
    opened = open_folder(run, only)
    folder = opened.folder / "figures" if out is None else out
    written, skipped = export_figures(opened, folder, formats=format, width=width)
    reasons = [f"{key}: {reason}" for key, reason in skipped.items()]
    if not written:
        raise AnalysisError(f"{opened.folder}: no figure can be drawn; {'; '.join(reasons)}")
    for path in written:
        say(f"Wrote {path}")
    sys.stdout.write("".join(f"skipped {reason}\n" for reason in reasons))
