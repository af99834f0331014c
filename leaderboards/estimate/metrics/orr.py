"""ORR, over-rejection rate."""

from __future__ import annotations

from collections.abc import Collection

from greaves.base.records import Mode
from greaves.leaderboards.estimate.metric import Level, register_metric
from greaves.leaderboards.estimate.net import nsi_tasks
from greaves.leaderboards.read.slices import TaskKey


@register_metric("orr")
class Orr(Level):
    """Share of refusals of benign questions."""

    name, title, order, better = "orr", "ORR", 20.0, "lower"
    kind = "benign"
    flips = True

    def heading(
        self, said: str, mode: Mode | None, task: str | None, tasks: Collection[TaskKey]
    ) -> str:
        _, benign = nsi_tasks(tasks)
        return said if task == benign else f"{said} {task}"
