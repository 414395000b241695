"""Pruning strategies, one per file; each returns the order in which it deletes."""
