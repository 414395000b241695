"""Runs that were measured apart, put into one: what they hold is copied, nothing is measured, nothing is chosen silently."""

from reasoning_anatomy.run.merging.merge import merge_runs

__all__ = ["merge_runs"]
