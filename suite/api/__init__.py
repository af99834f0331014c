"""The front door: what `import greaves` offers to scripts and notebooks (docs/python-api.md)."""
