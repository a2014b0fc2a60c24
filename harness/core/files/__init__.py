"""Files of every package: written at once or appended, read within limits, locked, named."""
