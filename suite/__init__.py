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
    from greaves.align.defence import Defence as Defence
    from greaves.align.method import AlignmentMethod as AlignmentMethod
    from greaves.align.method import MethodConfig as MethodConfig
    from greaves.align.method import Requirements as Requirements
    from greaves.align.method import register_method as register_method
    from greaves.align.part import Part as Part
    from greaves.api.aligning import align as align
    from greaves.api.evaluating import evaluate as evaluate
    from greaves.api.loading import load_data as load_data
    from greaves.api.loading import load_model as load_model
    from greaves.api.recipes import Recipe as Recipe
    from greaves.api.result import Result as Result
    from greaves.base.conversation import Conversation as Conversation
    from greaves.base.conversation import Sampling as Sampling
    from greaves.base.errors import GreavesError as GreavesError
    from greaves.data.task import Task as Task
    from greaves.data.task import register_task as register_task
    from greaves.judge.contract import Judge as Judge
    from greaves.judge.contract import register_judge as register_judge
    from greaves.leaderboards.estimate.metric import Metric as Metric
    from greaves.leaderboards.estimate.metric import register_metric as register_metric
    from greaves.models.contract import LALM as LALM
    from greaves.models.contract import register_model as register_model


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
    "register_task": "data.task",
}
"""Name -> module that has it."""

__all__ = ["__version__", *_WHERE]  # noqa: PLE0604 - all of them are strings

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
