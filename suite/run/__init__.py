"""The cells of a run: align, answer, judge; here or on a cluster."""
