"""Submissions: a run packed so that a stranger can compute every number of it again."""
