"""Names of runs that are set side by side."""

from collections.abc import Sequence

from reasoning_anatomy.run.folder import Run


def names_of(runs: Sequence[Run]) -> list[str]:
    """Name every run by its folder, with as much of the path as tells it from the others.

    The same folder twice, such as with another choice of what is shown, gets a number.
    """
    parts = [run.folder.resolve().parts for run in runs]
    depth = 1
    while len({each[-depth:] for each in parts}) < len(set(parts)):
        depth += 1
    names = ["/".join(each[-depth:]) for each in parts]
    return [
        name if names.count(name) == 1 else f"{name} ({names[: place + 1].count(name)})" for place, name in enumerate(names)
    ]
