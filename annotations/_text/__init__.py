"""What a text says to every annotator: units, layout, formulas, structure, words, and how its tokens overlap its units."""
