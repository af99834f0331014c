"""What a driver hands to a worker, and what comes back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from greaves.run.cell_state import Failure


@dataclass(frozen=True)
class Job:
    """One task of the cluster.

    Attributes:
        what: "cell" aligns, answers and judges by rule; "judge" judges by models; "align" only
            aligns.
        recipe: path of the recipe's file, or the name of a packaged one.
        recipe_hash: of the recipe as validated; another on the worker is refused.
        cell: index in the plan.
        request: hash of what the cell is asked to do.
        folder: run folder, a path or a URL.
        only: names of models, methods or tasks.
        same: package versions and source hash; others on the worker are refused.
        started_in: working folder of the driver; models' paths may be relative to it.
    """

    what: Literal["cell", "judge", "align"]
    recipe: str
    recipe_hash: str
    cell: int
    request: str
    folder: str
    only: tuple[str, ...]
    same: Mapping[str, str]
    started_in: str


@dataclass(frozen=True)
class Outcome:
    """How a task ended.

    Attributes:
        asked, found: responses asked for now, and found from before.
        failure: None if all went well.
        stops: the error would hit every other task too.
        judges: identity of each judge used -> its name, version and settings.
        host: the machine.
    """

    asked: int = 0
    found: int = 0
    failure: Failure | None = None
    stops: bool = False
    judges: Mapping[str, Any] = field(default_factory=dict)
    host: str = ""
