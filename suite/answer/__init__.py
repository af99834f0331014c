"""From questions to responses, and from text tasks to scores."""
