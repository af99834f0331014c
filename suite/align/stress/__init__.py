"""What may befall a defence."""
