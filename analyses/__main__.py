"""Every analysis that a run allows: ``python -m analyses RUN``."""

from reasoning_anatomy.cli import analyses_main

if __name__ == "__main__":
    analyses_main()
