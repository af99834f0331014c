"""Columns of text tasks, which `greaves.leaderboards.board.text_rows` measures."""

from __future__ import annotations

from collections.abc import Collection

from greaves.base.records import Mode
from greaves.leaderboards.estimate.metric import Answered, Measured, Metric, register_metric
from greaves.leaderboards.read.slices import TaskKey


@register_metric("text")
class Text(Metric):
    """A metric of a text task that is a share, over documents."""

    name, title, order = "text", "TEXT", 1000.0
    of_text = True

    def measure(
        self, own: Answered, seed: int, *, vanilla: Answered | None, before: Answered | None
    ) -> list[Measured]:
        return []

    def heading(
        self, said: str, mode: Mode | None, task: str | None, tasks: Collection[TaskKey]
    ) -> str:
        return str(task)


@register_metric("text_change")
class TextChange(Text):
    """Its change against vanilla, paired by document."""

    name, title = "text_change", "TEXT change"

    def heading(
        self, said: str, mode: Mode | None, task: str | None, tasks: Collection[TaskKey]
    ) -> str:
        return f"{task} change"


@register_metric("text_raw")
class TextRaw(Text):
    """A metric of a text task that is not a share."""

    name, unit, digits = "text_raw", 1.0, 3


@register_metric("text_raw_change")
class TextRawChange(TextChange):
    """Its change against vanilla, paired by document."""

    name, unit, digits = "text_raw_change", 1.0, 3
