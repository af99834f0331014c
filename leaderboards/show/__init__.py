"""The same rows for readers: terminal, Markdown, LaTeX."""
