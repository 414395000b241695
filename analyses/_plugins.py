"""What the configuration of a run says of the plugins that measured it."""

import ast


def parsed(provenance: str) -> tuple[str, dict[str, str]]:
    """Class and options of a plugin, as its ``repr`` writes them; no options if it does not look like one."""
    try:
        call = ast.parse(provenance, mode="eval").body
    except SyntaxError:
        return provenance, {}
    if not isinstance(call, ast.Call):
        return provenance, {}
    return ast.unparse(call.func), {str(option.arg): ast.unparse(option.value) for option in call.keywords}
