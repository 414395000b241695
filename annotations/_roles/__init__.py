"""How each role of a token is found in the text."""
