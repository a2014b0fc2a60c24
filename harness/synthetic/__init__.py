"""Synthetic questions: pictures that are drawn and texts that are made, in the schemas of the real
data sets."""
