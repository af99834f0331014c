"""Large audio language models: one contract, one file a family."""
