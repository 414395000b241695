"""Tokens to functional categories: one annotator per file."""
