"""The parts of the analysis rank_correlation."""
