"""Rows of a leaderboard, ranks and notes."""
