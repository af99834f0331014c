"""Two runs, two judges, people, and what papers print."""
