"""The figures, one per file: the result of an analysis, or a run, goes in and a matplotlib figure comes out.

``python -m reports.figures RUN`` writes all that a run allows; ``reasoning-anatomy list figures`` names them.
"""
