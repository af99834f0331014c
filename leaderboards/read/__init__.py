"""Verdicts of a run, read into columns."""
