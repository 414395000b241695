"""Every figure that a run allows: ``python -m reports.figures RUN``."""

from reasoning_anatomy.cli import figures_main

if __name__ == "__main__":
    figures_main()
