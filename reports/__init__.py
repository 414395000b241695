"""Results to figures and one HTML file: one figure per file."""
