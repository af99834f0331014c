"""Progress that a person can read: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from typing import Self

from rich import progress
from rich.console import Console

from greaves.base.text import printable

PLAIN_EVERY = 10.0
"""Seconds between two plain lines."""


class Steps:
    """Progress of one stage after another, on stderr.

    Args:
        plain: lines instead of a bar; by default, when stderr is not a terminal.
    """

    def __init__(self, plain: bool | None = None) -> None:
        self.plain = not sys.stderr.isatty() if plain is None else plain
        self._bar = progress.Progress(
            progress.TextColumn("{task.description}", markup=False),
            *(progress.BarColumn(), progress.MofNCompleteColumn(), progress.TimeRemainingColumn()),
            console=Console(stderr=True),
            transient=True,
        )
        self._task: progress.TaskID | None = None
        self._stage = ""
        self._start = self._last = self._first = 0.0

    def __enter__(self) -> Self:
        if not self.plain:
            self._bar.start()
        return self

    def __exit__(self, *_error: object) -> None:
        if not self.plain:
            self._bar.stop()

    def say(self, line: str) -> None:
        """One line that stays."""
        line = printable(line)
        if self.plain:
            print(line, file=sys.stderr, flush=True)
        else:
            self._bar.console.print(line, highlight=False, markup=False)

    def update(self, stage: str, done: int, total: int) -> None:
        """`done` of `total` steps of `stage`; a new stage starts a new clock."""
        now, stage = time.monotonic(), printable(stage)
        if stage != self._stage:
            self._stage, self._start, self._last, self._first = stage, now, now, done
            if not self.plain:
                if self._task is not None:
                    self._bar.remove_task(self._task)
                self._task = self._bar.add_task(stage, total=total, completed=done)
        if not self.plain and self._task is not None:
            self._bar.update(self._task, completed=done, total=total)
        elif self.plain and (now - self._last >= PLAIN_EVERY):
            self._last, left = now, "time left unknown"
            if (fresh := done - self._first) > 0:
                left = f"about {round((now - self._start) / fresh * (total - done))} s left"
            print(f"{stage}: {done}/{total}, {left}", file=sys.stderr, flush=True)
