"""What is done to a model: methods, parts, defences, training, stresses."""
