"""Greaves: evaluation and alignment of large audio language models (LALMs).

The folders of the repository map to one import name:

    suite/ -> greaves    tasks/ -> greaves.tasks    methods/ -> greaves.methods
    leaderboards/ -> greaves.leaderboards           recipes/ -> greaves.recipes

Register your own with `register_method`, `register_task`, `register_model`, `register_judge`.
"""

from greaves.errors import GreavesError
from greaves.registry import register_judge, register_method, register_model, register_task

__version__ = "0.1.0"

__all__ = [
    "GreavesError",
    "__version__",
    "register_judge",
    "register_method",
    "register_model",
    "register_task",
]
