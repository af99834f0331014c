"""Publishing: a run as a static site, on disk or on the Hugging Face hub."""
