"""The parts of the analysis strategy_comparison."""
