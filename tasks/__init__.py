"""Tasks, one file a benchmark: what a model is asked."""
