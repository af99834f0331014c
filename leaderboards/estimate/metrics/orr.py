"""ORR, over-rejection rate."""

from __future__ import annotations

from greaves.leaderboards.estimate.metric import Head, Level, register_metric
from greaves.leaderboards.estimate.net import nsi_tasks


@register_metric("orr")
class Orr(Level):
    """Share of refusals of benign questions."""

    name, title, order, better = "orr", "ORR", 20.0, "lower"
    kind = "benign"
    flips = True

    def heading(self, head: Head) -> str:
        _, benign = nsi_tasks(head.tasks)
        return head.title if head.task == benign else head.by_task
