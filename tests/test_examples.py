"""The examples in docstrings give what they say."""

import doctest
import importlib
import re
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

PACKAGES = ("reasoning_anatomy", "annotations", "analyses", "reports")
PROMPT = re.compile(r"^ *>>> ", re.MULTILINE)


def modules_with_examples() -> Iterator[tuple[str, int]]:
    """Name of every module that has examples, and their number."""
    for package in PACKAGES:
        spec = find_spec(package)
        assert spec is not None
        for folder in map(Path, spec.submodule_search_locations or ()):
            for path in sorted(folder.rglob("*.py")):
                if n_examples := len(PROMPT.findall(path.read_text(encoding="utf-8"))):
                    parts = path.relative_to(folder).with_suffix("").parts
                    yield ".".join([package, *parts]).removesuffix(".__init__"), n_examples


@pytest.mark.parametrize(("module", "n_examples"), list(modules_with_examples()))
def test_the_examples_of_a_module_give_what_they_say(module: str, n_examples: int) -> None:
    assert doctest.testmod(importlib.import_module(module)) == doctest.TestResults(failed=0, attempted=n_examples)
