"""The parts of the analysis restatement_audit."""
