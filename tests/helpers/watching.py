"""What other processes do, seen from a test: waited for, and who started whom (Linux)."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path


def until(holds: Callable[[], object], seconds: float = 300) -> None:
    """Wait for something; on a busy machine it takes its time."""
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.02)


def children(process: int) -> list[int]:
    """All processes that one has started, and those that they have started."""
    try:
        listed = Path(f"/proc/{process}/task/{process}/children").read_text().split()
    except OSError:
        return []
    return [*map(int, listed), *(one for child in listed for one in children(int(child)))]


def alive(process: int) -> bool:
    """Whether it runs; one that ended and was not asked for its end does not."""
    try:
        return "\nState:\tZ" not in Path(f"/proc/{process}/status").read_text()
    except OSError:
        return False
