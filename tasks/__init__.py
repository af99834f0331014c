"""Tasks, one file per benchmark: what a model is asked."""
