"""HS, helpfulness score."""

from __future__ import annotations

from greaves.leaderboards.estimate.metric import Head, Level, register_metric
from greaves.leaderboards.read.slices import only

HS_TASK = "air-bench-chat"
"""The chat task that is HS where several are there: AIR-Bench's speech part (RRS, section 5)."""


@register_metric("hs")
class Hs(Level):
    """Mean score of the responses to chat questions, from 1 to 10."""

    name, title, order = "hs", "HS", 50.0
    unit, digits, bounds = 1.0, 2, (1.0, 10.0)
    kind = "chat"

    def heading(self, head: Head) -> str:
        chats = {key.task for key in head.tasks if self.asks(key)}
        alone = only(chats) or only(chats & {HS_TASK})
        return head.title if head.task == alone else head.by_task
