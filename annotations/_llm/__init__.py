"""What the annotator llm sends, reads and caches."""
