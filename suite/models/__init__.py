"""Large audio language models: one interface, one small file a family."""
