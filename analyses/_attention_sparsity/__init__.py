"""The parts of the analysis attention_sparsity."""
