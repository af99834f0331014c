"""A full disk, as the libraries that write checkpoints and adapters tell of it."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError

from greaves.base.errors import StoreError

_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}

_TOLD_BY = ("No space left on device", "Disk quota exceeded", "File too large", "inline_container")
"""safetensors names the system's error; torch.save (`inline_container.cc`) only that it failed."""


@contextmanager
def room_for(folder: Path) -> Iterator[None]:
    """Writing inside that finds no room becomes one line.

    Raises:
        StoreError: the disk is full.
    """
    try:
        yield
    except (OSError, RuntimeError, SafetensorError) as error:
        of_disk = isinstance(error, OSError) and error.errno in _NO_ROOM
        if not of_disk and not any(words in str(error) for words in _TOLD_BY):
            raise
        raise StoreError(
            "cannot be written (no space left on the disk)",
            where=str(folder),
            do="make room, and run again; it goes on from the last checkpoint",
        ) from None
