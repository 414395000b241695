"""The parts of the analysis predict_likelihood."""
