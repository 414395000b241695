"""The command line: ``reasoning-anatomy COMMAND``, ``python -m analyses[.NAME] RUN`` and ``python -m reports.figures RUN``.

Everything heavy is imported by the command that needs it, so that ``--help`` is there at once.
"""

import sys  # noqa: I001 (below, each registers its commands, in this order)

from reasoning_anatomy.cli import (  # noqa: F401
    demo, sampling, conversion, measuring, sweeping, distilling, following, merging, labels, results, figures,
)  # fmt: skip
from reasoning_anatomy.cli._app import EXIT_BAD_INPUT, app, errors_as_one_line
from reasoning_anatomy.cli.figures import figure_main, figures_main, names_a_figure
from reasoning_anatomy.cli.results import analyses_main, analysis_main, comparison_main

__all__ = [
    "EXIT_BAD_INPUT",
    "analyses_main",
    "analysis_main",
    "comparison_main",
    "errors_as_one_line",
    "figures_main",
    "main",
]


def main() -> None:
    """Entry point of ``reasoning-anatomy``."""
    with errors_as_one_line():
        if names_a_figure(sys.argv[1:]):
            figure_main(sys.argv[1:])
            return
        app.cli(prog="reasoning-anatomy", description="Dissect the reasoning chains of language models.")
