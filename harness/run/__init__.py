"""A run from its settings to its record: ask, extract, score, compare."""
