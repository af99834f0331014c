"""Alignment data: Basic, Mirror and Parallel sets (RRS paper, section 4)."""
