"""Names of a package that are imported when they are first used, so that importing the package costs nothing."""

import importlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any


def lazy_names(package: str, names: Mapping[str, Sequence[str]]) -> Callable[[str], Any]:
    """Make the ``__getattr__`` of a package.

    Parameters
    ----------
    package
        Its ``__name__``.
    names
        Module of the package -> names that the package takes from it.
    """
    module_of = {name: module for module, offered in names.items() for name in offered}

    def load(name: str) -> Any:
        if name not in module_of:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(importlib.import_module(f"{package}.{module_of[name]}"), name)

    return load
