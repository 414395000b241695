"""The parts of the analysis threshold_comparison."""
