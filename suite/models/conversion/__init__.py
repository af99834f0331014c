"""Checkpoints in their makers' own formats to folders that native classes of transformers load."""
