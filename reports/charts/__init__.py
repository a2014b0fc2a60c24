"""The charts of a report as plain numbers, which the templates draw."""
