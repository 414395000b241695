"""What a file says of the plugin in it, read from its source without importing it."""

import ast
import inspect
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Final

from reasoning_anatomy.errors import PluginError

KINDS_OF_SCORE: Final = ("independent signal", "trivial competitor", "own first step")
"""What a score is when it is compared with the order in which a strategy deletes tokens.

``trivial competitor``: what position, length, frequency, surprisal or chance say; a signal that says no more has found nothing.
``own first step``: what the strategy itself looked at before its first deletion. All others are signals of their own.
"""

SUBJECTS: Final = (
    "answers", "strategies", "scores", "categories", "robustness", "heads", "correctness", "prediction", "labels",
)  # fmt: skip
"""What an analysis is about, in the order in which a hurried reader wants to know: whether answers survive, under which
strategy, whether attention foretells it, which kinds of token go, whether restatements explain it, and the rest."""

FOLDERS: Final = ("run", "students")
"""What an analysis reads: the folder of a run, or that of students that were taught its chains."""

_ONE_OF: Final[Mapping[str, tuple[str, ...]]] = {"kind_of_score": KINDS_OF_SCORE, "subject": SUBJECTS, "opens": FOLDERS}
_SHOWN_VARIABLES: Final = ("needs", "needs_no_model", "also_called", "title", "terms", *_ONE_OF)


@dataclass(frozen=True)
class PluginInfo:
    """What a listing shows of a plugin.

    Attributes
    ----------
    key, class_name
        Name of its file, name of its class.
    summary
        First line of its docstring.
    source
        Its published source, from the section References.
    needs
        What it needs beyond the measured model, from its class variable ``needs``; empty if nothing.
    needs_no_model
        Whether it works without the measured model too, from its class variable of this name.
    also_called
        Former keys, which are accepted for it, from its class variable of this name.
    kind_of_score
        One of the `KINDS_OF_SCORE`, of a scorer, from its class variable of this name.
    title, terms
        Heading of an analysis, and its terms in words, from its class variables of these names.
    subject
        One of the `SUBJECTS`, what an analysis is about, from its class variable of this name; empty if it does not say.
    opens
        One of the `FOLDERS`, what an analysis reads, from its class variable of this name.
    methods
        Names of its public methods; one of them is the verb of its kind.
    """

    key: str
    class_name: str
    summary: str
    source: str
    needs: str = ""
    needs_no_model: bool = False
    also_called: tuple[str, ...] = ()
    kind_of_score: str = KINDS_OF_SCORE[0]
    title: str = ""
    terms: Mapping[str, str] = field(default_factory=dict)
    subject: str = ""
    opens: str = FOLDERS[0]
    methods: frozenset[str] = frozenset()

    @property
    def names(self) -> frozenset[str]:
        """Its key and its former keys."""
        return frozenset((self.key, *self.also_called))


def read_plugins(file: Path) -> tuple[PluginInfo, ...]:
    """Read every public frozen dataclass of a file, in order.

    Raises
    ------
    PluginError
        The file cannot be read, or a class variable that a listing shows is not written out as a literal, or not known.
    """
    try:
        return _read(file, file.stat().st_mtime_ns)
    except SyntaxError as error:
        raise PluginError(f"{file}, line {error.lineno or 1}: {error.msg}; repair the file") from error
    except (OSError, ValueError) as error:
        raise PluginError(f"{file}: cannot be read ({error}); repair the file") from error


@cache
def _read(file: Path, modified: int) -> tuple[PluginInfo, ...]:
    """Read a file once for each time at which it was ``modified``."""
    body = ast.parse(file.read_text(encoding="utf-8")).body
    return tuple(_info(file, node) for node in body if isinstance(node, ast.ClassDef) and _is_public_and_frozen(node))


def _is_public_and_frozen(node: ast.ClassDef) -> bool:
    decorators = [ast.unparse(decorator) for decorator in node.decorator_list]
    return not node.name.startswith("_") and any("dataclass" in text and "frozen=True" in text for text in decorators)


def _info(file: Path, node: ast.ClassDef) -> PluginInfo:
    text = inspect.cleandoc(ast.get_docstring(node) or "")
    references = re.search(r"References\n-+\n(.*?)(?:\n\n|\Z)", text, re.DOTALL)
    source = " ".join(references[1].split()) if references else ""
    methods = frozenset(item.name for item in node.body if isinstance(item, ast.FunctionDef) and not item.name.startswith("_"))
    return PluginInfo(file.stem, node.name, text.partition("\n")[0], source, methods=methods, **_class_variables(file, node))


def _class_variables(file: Path, node: ast.ClassDef) -> dict[str, Any]:
    """Values of the class variables that a listing shows."""
    values = {}
    for item in node.body:
        if isinstance(item, ast.AnnAssign | ast.Assign) and item.value is not None:
            name = ast.unparse(item.target if isinstance(item, ast.AnnAssign) else item.targets[0])
            is_option = isinstance(item, ast.AnnAssign) and "ClassVar" not in ast.unparse(item.annotation)
            if name in _SHOWN_VARIABLES and not is_option:
                values[name] = _literal(file, name, item.value)
                if name in _ONE_OF and values[name] not in _ONE_OF[name]:
                    known = ", ".join(_ONE_OF[name])
                    raise PluginError(f"{file}, line {item.lineno}: {name} is {values[name]!r}; write one of {known}")
    return values


def _literal(file: Path, name: str, value: ast.expr) -> Any:
    try:
        return ast.literal_eval(value)
    except ValueError:
        raise PluginError(
            f"{file}, line {value.lineno}: {name} is read without running the file; write its value as a literal"
        ) from None
