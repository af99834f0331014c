"""Clips in: read, check, mix down, resample."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from pathlib import Path

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from greaves.base.errors import DataError

MIN_RATE = 8_000
"""Hz. Below it consonants are gone, and a model's answer says little about the model."""

MIN_SECONDS = 0.1
"""Shorter than any word; a clip cut to a few samples would be answered as if it had been heard."""

MAX_RATE = 384_000
"""Hz, the highest that recorders know; a header that claims more lies."""

MAX_CHANNELS = 8
"""Of a 7.1 recording."""

MAX_PEAK = 2.0**31
"""Times full scale, where somebody stored whole numbers as they were; squares of more overflow."""

BLOCK = 1 << 16
"""Frames that are read at a time: a few KB of FLAC may hold hours of silence."""

UNKNOWN = 2**63 - 1
"""Frames that libsndfile tells of a FLAC whose writer could not go back to its header."""

MAX_SECONDS = 30.0
"""The window of a Whisper-style audio tower; what lies beyond it would be cut silently."""


def load_clip(path: str | Path, rate: int) -> NDArray[np.float32]:
    """Read a clip as mono samples.

    Args:
        path: a file that libsndfile reads (WAV, FLAC, Ogg, MP3).
        rate: the rate the model expects, in Hz; other rates from 8 kHz up are resampled.

    Returns:
        [samples] finite float32 at `rate`, full scale being 1; float files may go beyond.

    Raises:
        DataError: the file is missing, empty, not audio, sampled below 8 kHz or above 384 kHz, of
            more than 8 channels, shorter than 0.1 s, longer than 30 s, or holds samples that are
            not numbers. No more than 30 s of it is ever decoded.
    """
    path = Path(path)
    where = str(path)
    try:
        size = path.stat().st_size if path.is_file() else None
    except (OSError, ValueError) as error:  # a name that is too long, no permission, NUL
        kind = type(error).__name__
        raise DataError(f"the clip cannot be opened ({kind})", where=where[:200]) from None
    if size is None:
        raise DataError("there is no such clip", where=where, do="check the path in the data file")
    if size == 0:
        raise DataError("the clip is an empty file", where=where, do="record or build it again")
    mono, found = _decoded(path)
    if found < MIN_RATE:
        raise DataError(
            f"the clip is sampled at {found} Hz, below {MIN_RATE} Hz",
            where=where,
            do=f"record it at {rate} Hz",
        )
    if len(mono) == 0:
        raise DataError("the clip has no samples", where=where, do="record or build it again")
    if len(mono) < MIN_SECONDS * found:
        raise DataError(
            f"the clip lasts {len(mono) / found:.4f} s, less than {MIN_SECONDS} s",
            where=where,
            do="record or build it again",
        )
    if not np.isfinite(mono).all():
        raise DataError("the clip holds samples that are not numbers", where=where)
    if np.abs(mono).max() > MAX_PEAK:
        raise DataError("the clip holds samples far beyond full scale", where=where)
    if found != rate:
        mono = soxr.resample(mono, found, rate).astype(np.float32)
    return mono


def _decoded(path: Path) -> tuple[NDArray[np.float32], int]:
    """Samples mixed down to one channel, and their rate.

    Raises:
        DataError: it is not audio, too long, or of more channels or a higher rate than there are.
    """
    try:
        with soundfile.SoundFile(path) as file:
            rate, longest = file.samplerate, int(MAX_SECONDS * file.samplerate)
            if rate > MAX_RATE or file.channels > MAX_CHANNELS:
                raise DataError(
                    f"the clip claims {file.channels} channels at {rate} Hz",
                    where=str(path),
                    do=f"at most {MAX_CHANNELS} channels and {MAX_RATE} Hz are read",
                )
            if file.frames == UNKNOWN:
                raise DataError(
                    "the clip does not say how long it is",
                    where=str(path),
                    do="write it again, to a file and not through a pipe",
                )
            if file.frames > longest:
                raise _too_long(path, f"{file.frames / rate:.1f} s, ")
            parts: list[NDArray[np.float32]] = []
            read = 0
            while read <= longest:  # whatever the header says
                block = file.read(BLOCK, dtype="float32", always_2d=True)
                if not len(block):
                    break
                parts.append(block.mean(axis=1, dtype=np.float32))
                read += len(block)
    except (soundfile.LibsndfileError, TypeError, ValueError) as error:  # TypeError: a raw file
        raise DataError(
            f"the clip cannot be read as audio ({error})", where=str(path), do="build it again"
        ) from None
    if read > longest:
        raise _too_long(path)
    return np.concatenate(parts or [np.zeros(0, np.float32)]), rate


def _too_long(path: Path, seconds: str = "") -> DataError:
    return DataError(
        f"the clip lasts {seconds}more than {MAX_SECONDS:.0f} s",
        where=str(path),
        do="cut it; the model would not hear the rest",
    )


@lru_cache(maxsize=100_000)
def _hash_file(path: str, size: int, modified_ns: int) -> str:
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def clip_hash(path: str | Path) -> str:
    """SHA-256 (hex) of the clip's bytes; read again only when size or time of change differ.

    Raises:
        DataError: there is no such clip.
    """
    try:
        stat = Path(path).stat()
    except OSError:
        raise DataError(
            "there is no such clip", where=str(path), do="check the path in the data file"
        ) from None
    return _hash_file(str(path), stat.st_size, stat.st_mtime_ns)
