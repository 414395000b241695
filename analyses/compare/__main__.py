"""Whether runs differ on the chains that they share: ``python -m analyses.compare RUN RUN``."""

from reasoning_anatomy.cli import comparison_main

if __name__ == "__main__":
    comparison_main()
