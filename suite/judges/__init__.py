"""Judges: a response in, a verdict out; one file a judge."""
