"""Greaves: evaluation and alignment of large audio language models (LALMs).

    import greaves

    model = greaves.load_model("pocket")
    defence = greaves.align(model, "rrs", greaves.load_data("mirror"), seed=0)
    result = greaves.evaluate(model, defence, ["aiah-audio-text", "aiah-over-rejection"])
    print(result)

docs/python-api.md tells what each takes. What stands here is imported when it is first used, so
that `import greaves` costs nothing. The folders of the repository map to one import name:

    suite/ -> greaves    tasks/ -> greaves.tasks    methods/ -> greaves.methods
    leaderboards/ -> greaves.leaderboards           recipes/ -> greaves.recipes
"""

import importlib
import sys
from typing import TYPE_CHECKING, Any

from greaves.base import old_paths

if TYPE_CHECKING:
    from greaves.align.defence import Defence
    from greaves.align.method import AlignmentMethod, MethodConfig, Requirements, register_method
    from greaves.align.part import Part, register_part
    from greaves.api.aligning import align
    from greaves.api.evaluating import evaluate
    from greaves.api.loading import load_data, load_model
    from greaves.api.recipes import Recipe
    from greaves.api.result import Result
    from greaves.base.conversation import Conversation, Sampling
    from greaves.base.errors import GreavesError
    from greaves.data.task import Task, register_task
    from greaves.judge.contract import Judge, register_judge
    from greaves.leaderboards.estimate.metric import Metric, register_metric
    from greaves.models.contract import LALM, register_model

__version__ = "0.1.0"

_WHERE = {
    "align": "api.aligning",
    "evaluate": "api.evaluating",
    "load_data": "api.loading",
    "load_model": "api.loading",
    "Recipe": "api.recipes",
    "Result": "api.result",
    "AlignmentMethod": "align.method",
    "Conversation": "base.conversation",
    "Defence": "align.defence",
    "GreavesError": "base.errors",
    "Judge": "judge.contract",
    "LALM": "models.contract",
    "MethodConfig": "align.method",
    "Metric": "leaderboards.estimate.metric",
    "Part": "align.part",
    "Requirements": "align.method",
    "Sampling": "base.conversation",
    "Task": "data.task",
    "register_judge": "judge.contract",
    "register_method": "align.method",
    "register_metric": "leaderboards.estimate.metric",
    "register_model": "models.contract",
    "register_part": "align.part",
    "register_task": "data.task",
}
"""Name -> module that has it."""

__all__ = [
    "LALM",
    "AlignmentMethod",
    "Conversation",
    "Defence",
    "GreavesError",
    "Judge",
    "MethodConfig",
    "Metric",
    "Part",
    "Recipe",
    "Requirements",
    "Result",
    "Sampling",
    "Task",
    "__version__",
    "align",
    "evaluate",
    "load_data",
    "load_model",
    "register_judge",
    "register_method",
    "register_metric",
    "register_model",
    "register_part",
    "register_task",
]

sys.meta_path.append(old_paths.Finder())


def front(name: str) -> Any:
    """What the front door calls `name`, wherever it stands."""
    return getattr(importlib.import_module(f"{__name__}.{_WHERE[name]}"), name)


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return front(name)


def __dir__() -> list[str]:
    return sorted(__all__)
