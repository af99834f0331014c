"""Columns of text tasks, which `greaves.leaderboards.board.text_rows` measures."""

from __future__ import annotations

from greaves.leaderboards.estimate.metric import Case, Head, Measured, Metric, register_metric


@register_metric("text")
class Text(Metric):
    """A metric of a text task that is a share, over documents."""

    name, title, order = "text", "TEXT", 1000.0
    of_text = True

    def measure(self, case: Case) -> list[Measured]:
        return []

    def heading(self, head: Head) -> str:
        return str(head.task)


@register_metric("text_change")
class TextChange(Text):
    """Its change against vanilla, paired by document."""

    name, title = "text_change", "TEXT change"

    def heading(self, head: Head) -> str:
        return f"{head.task} change"


@register_metric("text_raw")
class TextRaw(Text):
    """A metric of a text task that is not a share."""

    name, unit, digits = "text_raw", 1.0, 3


@register_metric("text_raw_change")
class TextRawChange(TextChange):
    """Its change against vanilla, paired by document."""

    name, unit, digits = "text_raw_change", 1.0, 3
