"""The figures of a run and the statistics of their intervals."""
