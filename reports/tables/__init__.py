"""The tables of a report as plain data: one module for each kind of table."""
