"""The second stage: a student learns from the kept rationales."""
