"""HS, helpfulness score."""

from __future__ import annotations

from collections.abc import Collection

from greaves.base.records import Mode
from greaves.leaderboards.estimate.metric import Level, register_metric
from greaves.leaderboards.read.slices import TaskKey, only

HS_TASK = "air-bench-chat"
"""The chat task that is HS where several are there: AIR-Bench's speech part (RRS, section 5)."""


@register_metric("hs")
class Hs(Level):
    """Mean score of the responses to chat questions, from 1 to 10."""

    name, title, order = "hs", "HS", 50.0
    unit, digits, bounds = 1.0, 2, (1.0, 10.0)
    kind = "chat"

    def heading(
        self, said: str, mode: Mode | None, task: str | None, tasks: Collection[TaskKey]
    ) -> str:
        chats = {key.task for key in tasks if self.asks(key)}
        return said if task == (only(chats) or only(chats & {HS_TASK})) else f"{said} {task}"
