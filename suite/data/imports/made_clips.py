"""Clips that are computed, not recorded, and the cache of what Greaves can make again."""

from __future__ import annotations

import hashlib
import io
import os
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from greaves.base.errors import DataError
from greaves.base.store import replacing

FULL_SCALE = 32_767
"""Largest sample of 16-bit PCM."""


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


def made_clip(samples: NDArray[np.float64], rate: int) -> Path:
    """A WAV file of 16-bit PCM with these samples, in the cache under the hash of its bytes.

    Args:
        samples: [samples], full scale being 1; what lies beyond is cut off.
        rate: in Hz.

    Raises:
        DataError: the cache cannot be written.
    """
    whole = np.rint(np.clip(samples, -1.0, 1.0) * FULL_SCALE).astype(np.int16)
    file = io.BytesIO()
    soundfile.write(file, whole, rate, format="WAV", subtype="PCM_16")
    data = file.getvalue()
    path = cache_folder() / "made-clips" / f"{hashlib.sha256(data).hexdigest()}.wav"
    try:
        if not path.is_file() or path.read_bytes() != data:
            keep(path, data)
    except OSError as error:
        raise DataError(
            f"a clip without speech cannot be kept ({error.strerror})",
            where=str(path.parent),
            do="set XDG_CACHE_HOME to a folder that can be written",
        ) from None
    return path
