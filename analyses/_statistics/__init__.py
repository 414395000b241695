"""Statistics: arrays in, arrays out; the unit is the question."""
