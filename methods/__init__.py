"""Alignment methods, one file each: what is done to a model."""
