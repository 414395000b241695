"""What a model writes: so far, which of a few given replies it would give."""
