"""The parts of the analysis deletion_by_category."""
