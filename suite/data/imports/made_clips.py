"""Clips that are computed, not recorded: the same bytes on every machine, kept in the cache."""

from __future__ import annotations

import hashlib
import io
import wave
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from greaves.base.errors import DataError
from greaves.data.imports.cache import cache_folder, keep

FULL_SCALE = 32_767
"""Largest sample of 16-bit PCM."""


def made_clip(samples: NDArray[np.float64], rate: int) -> Path:
    """A WAV file of 16-bit PCM with these samples, in the cache under the hash of its bytes.

    Args:
        samples: [samples], full scale being 1; what lies beyond is cut off.
        rate: in Hz.

    Raises:
        DataError: the cache cannot be written.
    """
    data = _wav(samples, rate)
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


def _wav(samples: NDArray[np.float64], rate: int) -> bytes:
    whole = np.rint(np.clip(samples, -1.0, 1.0) * FULL_SCALE).astype("<i2")
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(rate)
        out.writeframes(whole.tobytes())
    return file.getvalue()
