"""Clips in: read, check, mix down, resample; what is wrong with them."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from pathlib import Path

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from greaves.base.errors import DataError
from greaves.data.speech.voices import SAMPLE_RATE

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
    again = "record or build it again"

    def fault(what: str, do: str = "") -> DataError:
        return DataError(what, where=str(path), do=do)

    try:
        size = path.stat().st_size if path.is_file() else None
    except (OSError, ValueError) as error:  # a name that is too long, no permission, NUL
        what = f"the clip cannot be opened ({type(error).__name__})"
        raise DataError(what, where=str(path)[:200]) from None
    if size is None:
        raise fault("there is no such clip", "check the path in the data file")
    if size == 0:
        raise fault("the clip is an empty file", again)
    mono, found = _decoded(path)
    seconds = len(mono) / found
    if found < MIN_RATE:
        what = f"the clip is sampled at {found} Hz, below {MIN_RATE} Hz"
        raise fault(what, f"record it at {rate} Hz")
    if len(mono) == 0:
        raise fault("the clip has no samples", again)
    if len(mono) < MIN_SECONDS * found:
        raise fault(f"the clip lasts {seconds:.4f} s, less than {MIN_SECONDS} s", again)
    if not np.isfinite(mono).all():
        raise fault("the clip holds samples that are not numbers")
    if np.abs(mono).max() > MAX_PEAK:
        raise fault("the clip holds samples far beyond full scale")
    return mono if found == rate else soxr.resample(mono, found, rate).astype(np.float32)


def _decoded(path: Path) -> tuple[NDArray[np.float32], int]:
    """Samples mixed down to one channel, and their rate.

    Raises:
        DataError: it is not audio, too long, or of more channels or a higher rate than there are.
    """

    def fault(what: str, do: str) -> DataError:
        return DataError(what, where=str(path), do=do)

    try:
        with soundfile.SoundFile(path) as file:
            rate, longest = file.samplerate, int(MAX_SECONDS * file.samplerate)
            if rate > MAX_RATE or file.channels > MAX_CHANNELS:
                most = f"at most {MAX_CHANNELS} channels and {MAX_RATE} Hz are read"
                raise fault(f"the clip claims {file.channels} channels at {rate} Hz", most)
            if file.frames == UNKNOWN:
                do = "write it again, to a file and not through a pipe"
                raise fault("the clip does not say how long it is", do)
            parts: list[NDArray[np.float32]] = []
            read, said = 0, f"{file.frames / rate:.1f} s, " if file.frames > longest else ""
            while read <= longest and not said:  # whatever the header says
                block = file.read(BLOCK, dtype="float32", always_2d=True)
                if not len(block):
                    break
                parts.append(block.mean(axis=1, dtype=np.float32))
                read += len(block)
    except (soundfile.LibsndfileError, TypeError, ValueError) as error:  # TypeError: a raw file
        raise fault(f"the clip cannot be read as audio ({error})", "build it again") from None
    if said or read > longest:
        what = f"the clip lasts {said}more than {MAX_SECONDS:.0f} s"
        raise fault(what, "cut it; the model would not hear the rest")
    return np.concatenate(parts or [np.zeros(0, np.float32)]), rate


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
        what = "there is no such clip"
        raise DataError(what, where=str(path), do="check the path in the data file") from None
    return _hash_file(str(path), stat.st_size, stat.st_mtime_ns)


SILENT_PEAK = 0.003
"""Of full scale (-50 dBFS). The quietest synthetic voice peaks above 0.1."""

FULL_SCALE = 0.999
"""A sample at or above this share of full scale may have been cut off."""

CLIPPED_RUN = 3
"""So many samples in a row at full scale are cut-off peaks; one or two are merely loud."""

CLIPPED_SHARE = 0.001
"""A clip with more than this share of its samples in such runs is called clipped."""


def clip_fault(path: Path) -> str:
    """Why a clip cannot go into a set: `load_clip` refuses it, silence, clipping; "" if it can."""
    if fault := unheard(path):
        return fault
    levels = _levels(path)
    share = max(_share_clipped(channel) for channel in levels.T)
    if share > CLIPPED_SHARE:
        return f"the clip is clipped ({share:.1%} of its samples are cut off at full scale)"
    return ""


def unheard(path: Path) -> str:
    """Why nothing can be heard of a clip: what `load_clip` refuses, and silence; "" if it can."""
    try:
        load_clip(path, SAMPLE_RATE)
    except DataError as error:
        return error.what
    peak = float(_levels(path).max())
    return f"the clip is silent (peak {peak:.4f} of full scale)" if peak < SILENT_PEAK else ""


def _levels(path: Path) -> NDArray[np.float32]:
    """Absolute values of the samples, [samples, channels]."""
    samples, _ = soundfile.read(path, dtype="float32", always_2d=True)
    levels: NDArray[np.float32] = np.abs(samples)
    return levels


def _share_clipped(levels: NDArray[np.float32]) -> float:
    """Share of samples that stand in runs at full scale of `CLIPPED_RUN` or more."""
    full = np.concatenate(([False], levels >= FULL_SCALE, [False]))
    edges = np.flatnonzero(full[1:] != full[:-1])
    lengths = edges[1::2] - edges[::2]
    return float(lengths[lengths >= CLIPPED_RUN].sum() / len(levels))
