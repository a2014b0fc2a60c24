"""Trackers: where a run can be watched while it goes on, in addition to its folder.

A tracker is one file here and its line in `registry`; its package is imported when a run is tracked
with it, and never otherwise. A tracker that fails ends no run.
"""
