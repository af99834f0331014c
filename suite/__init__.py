"""Greaves: evaluation and alignment of large audio language models (LALMs).

The folders of the repository map to one import name:

    suite/ -> greaves    tasks/ -> greaves.tasks    methods/ -> greaves.methods
    leaderboards/ -> greaves.leaderboards           recipes/ -> greaves.recipes

Register your own with `register_method`, `register_task`, `register_model`, `register_judge`.
What stands here is imported when it is first used, so that `import greaves` costs nothing.
"""

import importlib
import sys
from typing import TYPE_CHECKING, Any

from greaves.base import old_paths

if TYPE_CHECKING:
    from greaves.align.method import register_method
    from greaves.base.errors import GreavesError
    from greaves.data.task import register_task
    from greaves.judge.contract import register_judge
    from greaves.models.contract import register_model

__version__ = "0.1.0"

_WHERE = {
    "GreavesError": "greaves.base.errors",
    "register_judge": "greaves.judge.contract",
    "register_method": "greaves.align.method",
    "register_model": "greaves.models.contract",
    "register_task": "greaves.data.task",
}
"""Name -> module that has it."""

__all__ = [
    "GreavesError",
    "__version__",
    "register_judge",
    "register_method",
    "register_model",
    "register_task",
]

sys.meta_path.append(old_paths.Finder())


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_WHERE[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
