"""The closed grammar that the pocket LALM speaks."""
