"""`greaves serve`: a model, with or without a defence, behind OpenAI's chat protocol."""
