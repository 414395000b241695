"""The engine of the default annotator: which rule gives a unit its category."""
