"""One run on many machines: cells as Ray tasks, in a run folder that all machines see."""
