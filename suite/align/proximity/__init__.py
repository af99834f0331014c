"""How close benign questions are to harmful ones, under the encoders of the paper."""
