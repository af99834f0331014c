"""Leaderboards: verdicts in, tables with confidence intervals out."""
