"""Which checkpoints of a fine-tuning can be continued from: whole ones, as they were written.

A process may be killed while it writes one, and a power cut may empty files that were written. So a
checkpoint that is done gets a list of its files with their checksums, and is not read without.
"""

from __future__ import annotations

import json
import zlib
from pathlib import Path

from greaves.base.store import sync_files, write_json

CHECKPOINTS, WHOLE = "checkpoints", "whole"


def mark_whole(checkpoint: Path) -> None:
    """Mark a checkpoint as complete; call it when every process has written its part."""
    sums = {str(path.relative_to(checkpoint)): _sum(path) for path in sync_files(checkpoint)}
    write_json(checkpoint / WHOLE, sums)


def last_whole(folder: Path) -> Path | None:
    """The newest checkpoint in a folder that is as it was written; None if there is none."""
    marked = [place.parent for place in (folder / CHECKPOINTS).glob(f"checkpoint-*/{WHOLE}")]
    newest_first = sorted(marked, key=lambda path: -int(path.name.rpartition("-")[2]))
    return next((path for path in newest_first if _intact(path)), None)


def _intact(checkpoint: Path) -> bool:
    try:
        listed = json.loads((checkpoint / WHOLE).read_text(encoding="utf-8"))
        return bool(listed) and all(_sum(checkpoint / name) == listed[name] for name in listed)
    except (OSError, ValueError, AttributeError):
        return False


def _sum(path: Path) -> str:
    found = 0
    with path.open("rb") as file:
        while block := file.read(1 << 22):
            found = zlib.crc32(block, found)
    return f"{found:08x}"
