"""The parts of the analysis annotator_agreement."""
