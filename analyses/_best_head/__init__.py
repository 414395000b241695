"""The parts of the analysis best_head."""
