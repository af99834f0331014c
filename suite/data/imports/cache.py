"""Where Greaves keeps what it can make again: clips without speech, and what it knows of clips."""

from __future__ import annotations

import os
from pathlib import Path

from greaves.base.store import replacing


def cache_folder() -> Path:
    """`$XDG_CACHE_HOME/greaves`, by default `~/.cache/greaves`; it may not exist yet."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    # The XDG specification: a relative path is to be ignored.
    return (Path(base) if Path(base).is_absolute() else Path.home() / ".cache") / "greaves"


def keep(path: Path, data: bytes) -> None:
    """Write a file of the cache, whole or not at all; not waiting for the disk.

    Raises:
        OSError: it cannot be written.
    """
    with replacing(path) as part:
        part.write_bytes(data)
