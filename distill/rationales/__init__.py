"""The first stage: a teacher writes rationales, or a file has them; some are kept."""
