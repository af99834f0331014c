"""Data of tasks: folders brought into our layout, clips checked and made, and their origin."""
