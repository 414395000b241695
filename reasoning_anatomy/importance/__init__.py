"""Token scorers, one per file; all say higher = more important."""
