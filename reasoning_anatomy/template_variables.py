"""Variables of a chat template, as a user writes them."""

import json
from typing import Any, Final

from reasoning_anatomy.errors import EncodingError

_NOT_JSON: Final = frozenset(["True", "False", "None", "yes", "no", "on", "off"])


def template_variable(typed: str) -> tuple[str, Any]:
    """Read ``NAME=VALUE``, the value as JSON or else as text.

    >>> template_variable("enable_thinking=false"), template_variable("reasoning_effort=high")
    (('enable_thinking', False), ('reasoning_effort', 'high'))
    """
    name, equals, value = typed.partition("=")
    if not equals or not name.isidentifier():
        raise EncodingError(f"template variable {typed!r}: expected NAME=VALUE, such as enable_thinking=false")
    if value in _NOT_JSON:
        raise EncodingError(f"template variable {typed!r}: write true, false or null for {value!r}")
    try:
        return name, json.loads(value)
    except json.JSONDecodeError:
        return name, value
