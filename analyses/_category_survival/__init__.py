"""The parts of the analysis category_survival."""
