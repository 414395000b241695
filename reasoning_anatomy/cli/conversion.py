"""The command that makes chains of what people have: ``chains``."""

from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from reasoning_anatomy.cli._app import PluginsOption, app, say, use_plugins
from reasoning_anatomy.cli._places import LocalFile
from reasoning_anatomy.errors import ChainFileError


@app.command
def chains(
    files: Annotated[
        Positional[tuple[Path, ...]],
        arg(help="JSON, JSON lines, CSV or Parquet, also gzipped; a folder of them; - is standard input.", metavar="FILE"),
    ],
    out: Annotated[LocalFile, arg(help="File of chains to write; rows that are not chains go into a file beside it.")],
    format: Annotated[str | None, arg(help="KEY, see `list converters`; told by the keys of the rows if left out.")] = None,
    map: Annotated[
        tuple[str, ...],
        arg(help="For any other format: which key holds which field: question=problem reasoning=solution answer=result."),
    ] = (),
    verbose: Annotated[bool, arg(help="Say of each row what was done with it.")] = False,
    plugins: PluginsOption = None,
) -> None:
    """Make chains of the files of data sets, of other programs and of inference servers."""
    from reasoning_anatomy.answers.consistency import correctness_notes
    from reasoning_anatomy.conversion import convert_files, write_conversion
    from reasoning_anatomy.questions import question_notes
    from reasoning_anatomy.unusable import counted

    use_plugins(plugins)
    if not files:
        raise ChainFileError("no file is named; give one or more, or - for standard input")
    if any(file.exists() and out.exists() and file.samefile(out) for file in files):
        raise ChainFileError(f"{out}: is also to be read; write the chains into another file")
    conversion = convert_files(files, format=format, mapping=_mapping(map))
    for line in conversion.did if verbose else ():
        say(line)
    for file, key in conversion.formats.items():
        say(f"{file}: {key}")
    beside = write_conversion(conversion, out)
    n_questions = len({chain.question_id for chain in conversion.chains})
    say(f"Wrote {out}: chains: {len(conversion.chains)}, questions: {n_questions}")
    if conversion.unusable:
        say(f"Left out: {len(conversion.unusable)}, named in {beside}")
        for reason, count in counted(conversion.unusable).items():
            say(f"  {count}  {reason}")
    for note in (*question_notes(conversion.chains), *correctness_notes(conversion.chains)):
        say(f"note: {note}")
    say(f"Next: reasoning-anatomy run {out} --out runs/{out.stem}")


def _mapping(pairs: tuple[str, ...]) -> dict[str, str]:
    mapping = dict(pair.split("=", 1) for pair in pairs if "=" in pair)
    if len(mapping) < len(pairs):
        raise ChainFileError(f"--map {' '.join(pairs)}: expected one FIELD=KEY for each field, such as question=problem")
    return mapping
