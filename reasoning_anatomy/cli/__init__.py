"""The command line: ``reasoning-anatomy COMMAND`` and ``python -m analyses[.NAME] RUN``.

Everything heavy is imported by the command that needs it, so that ``--help`` is there at once.
"""

from reasoning_anatomy.cli import demo, sampling, conversion, measuring, sweeping, distilling, labels, results  # noqa: F401, I001 (each registers its commands, in this order)
from reasoning_anatomy.cli._app import EXIT_BAD_INPUT, app, errors_as_one_line
from reasoning_anatomy.cli.results import analyses_main, analysis_main

__all__ = ["EXIT_BAD_INPUT", "analyses_main", "analysis_main", "errors_as_one_line", "main"]


def main() -> None:
    """Entry point of ``reasoning-anatomy``."""
    with errors_as_one_line():
        app.cli(prog="reasoning-anatomy", description="Dissect the reasoning chains of language models.")
