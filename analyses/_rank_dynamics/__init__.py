"""The parts of the analysis rank_dynamics."""
