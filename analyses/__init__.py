"""Tables to statistics: one analysis per file, run as ``python -m analyses.<name> RUN``."""
