"""What is run: a YAML file, checked, as cells."""
