"""Checkpoints as files: which models are known, where their weights are, and how they are read
safely."""
