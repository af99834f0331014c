"""What a cell is doing: one small file in its folder, for `greaves status` and for the next run.

The file is a report, never a record: responses, verdicts and defences are what counts.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Literal, Self

from greaves.base.errors import GreavesError, StoreError
from greaves.base.progress import Steps
from greaves.base.records import Record
from greaves.base.store import write_json

FILE = "state.json"

EVERY = 2.0
"""Seconds between two reports of progress, at least."""

HEARTBEAT = 10.0
"""Seconds between two signs of life where nothing else is to be told."""

Stage = Literal["aligning", "answering", "judging", "answered", "done", "failed"]


class Failure(Record):
    """Why a cell could not be finished: the three parts of a GreavesError."""

    what: str
    where: str = ""
    do: str = ""

    @classmethod
    def of(cls, error: BaseException) -> Failure:
        """What an exception says, in one line."""
        if isinstance(error, GreavesError):
            return cls(what=error.what, where=error.where, do=error.do)
        if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
            return cls(what="out of memory", do="lower batch_size or training.micro_batch")
        line = " ".join(str(error).split())[:300]
        return cls(what=f"internal error: {type(error).__name__}: {line}")

    @property
    def error(self) -> GreavesError:
        """The failure as an error; its text is one line."""
        return GreavesError(self.what, where=self.where, do=self.do)


class State(Record):
    """One report.

    Attributes:
        stage: what the cell is doing, or how its last run ended.
        words: of what, such as "fine-tuning".
        done, total: steps of that, or responses.
        first: `done` when the stage began, so that a rate counts what was done now.
        answered, wanted: responses that are there, of those that the cell was last asked for.
        since: when the stage began, in seconds since 1970 by the writer's clock.
        updated: when this was written, by the same clock.
        host, process: who wrote it.
        failure: why it failed.
    """

    stage: Stage
    words: str = ""
    done: int = 0
    total: int = 0
    first: int = 0
    answered: int = 0
    wanted: int = 0
    since: float = 0.0
    updated: float = 0.0
    host: str = ""
    process: int = 0
    failure: Failure | None = None


def read_state(cell: Path) -> State | None:
    """The last report of a cell; None if there is none, or none that can be read."""
    try:
        return State.from_line((cell / FILE).read_bytes())
    except (OSError, ValueError):
        return None


def write_failure(cell: Path, failure: Failure) -> None:
    """Report for a cell whose own process cannot do so any more."""
    now = time.time()
    state = State(stage="failed", failure=failure, since=now, updated=now)
    write_json(cell / FILE, state.model_dump(mode="json"))


class Reporter:
    """Writes a cell's reports, and gives signs of life in between.

    Args:
        cell: the cell's folder.
        wrote: called after each write; a run that lies behind a URL is pushed there.
    """

    def __init__(self, cell: Path, wrote: Callable[[], None] = lambda: None) -> None:
        self.cell, self.wrote = cell, wrote
        self._state = State(stage="aligning", host=socket.gethostname(), process=os.getpid())
        self._written = 0.0  # by a clock that nobody can set
        self._lock, self._ended = threading.Lock(), threading.Event()
        self._thread = threading.Thread(target=self._beat, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._ended.set()
        self._thread.join()

    def stage(self, stage: Stage, failure: Failure | None = None) -> None:
        """The cell goes over to something else."""
        now = time.time()
        changed: dict[str, Any] = {"stage": stage, "since": now, "failure": failure}
        changed |= {"words": "", "done": 0, "total": 0, "first": 0}
        with self._lock:
            self._state = self._state.model_copy(update=changed)
            self._write(now)

    def progress(self, words: str, done: int, total: int) -> None:
        """`done` of `total` of what the cell is doing."""
        now = time.time()
        changed: dict[str, Any] = {"words": words, "done": done, "total": total}
        with self._lock:
            if words != self._state.words:
                changed |= {"since": now, "first": done}
            if self._state.stage == "answering":
                changed |= {"answered": done, "wanted": total}
            self._state = self._state.model_copy(update=changed)
            if time.monotonic() - self._written >= EVERY or done == total:
                self._write(now)

    def _write(self, now: float) -> None:
        self._written = time.monotonic()
        self._state = self._state.model_copy(update={"updated": now})
        write_json(self.cell / FILE, self._state.model_dump(mode="json"))
        self.wrote()

    def _beat(self) -> None:
        while not self._ended.wait(HEARTBEAT):
            with self._lock, suppress(StoreError):  # the work itself will meet the full disk
                self._write(time.time())


class CellSteps(Steps):
    """Progress that is shown as before, and reported in the folder of the cell at work."""

    def __init__(self, shown: Steps) -> None:
        super().__init__(plain=True)
        self.shown = shown
        self.reporter: Reporter | None = None

    @contextmanager
    def of(self, cell: Path, wrote: Callable[[], None] = lambda: None) -> Iterator[Reporter]:
        """Inside, progress is that of the cell in this folder."""
        with Reporter(cell, wrote) as reporter:
            self.reporter = reporter
            try:
                yield reporter
            finally:
                self.reporter = None

    def say(self, line: str) -> None:
        self.shown.say(line)

    def update(self, stage: str, done: int, total: int) -> None:
        self.shown.update(stage, done, total)
        if self.reporter is not None:
            self.reporter.progress(stage.rpartition(": ")[2], done, total)
