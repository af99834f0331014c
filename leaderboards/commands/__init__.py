"""Commands of the leaderboards."""
