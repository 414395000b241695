"""The parts of the analysis distillation."""
