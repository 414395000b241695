"""What the text says, whoever labels it: units, layout, formulas, structure, words, and how tokens lie on it."""
