"""What may happen to a defence."""
