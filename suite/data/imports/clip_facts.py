"""What is known of clips, clips that are computed, and the cache of what Greaves can make again.

A header can promise sound that the body does not hold, so a clip counts as heard only once it was
read as a model would read it. What was found is kept in the cache by the SHA-256 of the clip's
bytes: 20,000 clips are decoded on the first start and only hashed on later ones.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray
from pydantic import ValidationError

from greaves.base.errors import DataError
from greaves.base.records import Record
from greaves.base.store import replacing
from greaves.data.speech.clips import clip_hash, load_clip
from greaves.data.speech.voices import SAMPLE_RATE

_RULES = 1
"""Changes with what `load_clip` refuses, so that older findings are not reused."""


class ClipFacts(Record):
    """What is known of one clip.

    Attributes:
        fault: why a model could not hear it; "" if it could.
        seconds: how long it is; 0 where it cannot be read.
        mean: of its samples, mixed down to one channel, full scale being 1.
        power: mean of the squares of those samples.
    """

    fault: str = ""
    seconds: float = 0.0
    mean: float = 0.0
    power: float = 0.0


def clip_facts(clips: Iterable[Path]) -> dict[Path, ClipFacts]:
    """Facts of some clips, read from the cache or decoded now.

    A clip that does not exist has a fault. A cache that cannot be written is no error: the clips
    are decoded again the next time.
    """
    decoder = soundfile.__libsndfile_version__  # another one may read what this one cannot
    folder = cache_folder() / f"clip-facts-{_RULES}-libsndfile-{decoder}"
    found: dict[Path, ClipFacts] = {}
    hashes: dict[str, dict[Path, str]] = {}  # by the first digit, which names a file of the cache
    for clip in dict.fromkeys(clips):
        try:
            name = clip_hash(clip)
            hashes.setdefault(name[0], {})[clip] = name
        except DataError as error:
            found[clip] = ClipFacts(fault=error.what)
        except OSError as error:  # a folder, or no permission
            found[clip] = ClipFacts(fault=f"the clip cannot be read ({error.strerror})")
    for digit, names in hashes.items():
        file = folder / f"{digit}.json"
        known = _read(file)
        before = len(known)
        try:
            for clip, name in names.items():
                if name not in known:
                    known[name] = _decode(clip)
                found[clip] = known[name]
        finally:
            # Another process may write too, and then some clips are decoded again.
            if len(known) > before:
                facts = {name: one.model_dump() for name, one in known.items()}
                with suppress(OSError):
                    keep(file, json.dumps(facts).encode())
    return found


def _decode(clip: Path) -> ClipFacts:
    try:
        load_clip(clip, SAMPLE_RATE)
    except DataError as error:
        return ClipFacts(fault=error.what)
    samples, rate = soundfile.read(clip, dtype="float64", always_2d=True)
    mono = samples.mean(axis=1)
    return ClipFacts(
        seconds=len(mono) / rate, mean=float(mono.mean()), power=float((mono * mono).mean())
    )


def _read(path: Path) -> dict[str, ClipFacts]:
    try:
        content = json.loads(path.read_bytes())
        return {name: ClipFacts.model_validate(facts) for name, facts in content.items()}
    except (OSError, ValueError, ValidationError, AttributeError):
        return {}  # not there, or spoilt: found out again


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
    whole = np.rint(np.clip(samples, -1.0, 1.0) * np.iinfo(np.int16).max).astype(np.int16)
    file = io.BytesIO()
    soundfile.write(file, whole, rate, format="WAV", subtype="PCM_16")
    data = file.getvalue()
    path = cache_folder() / "made-clips" / f"{hashlib.sha256(data).hexdigest()}.wav"
    try:
        if not path.is_file() or path.read_bytes() != data:
            keep(path, data)
    except OSError as error:
        what = f"a clip without speech cannot be kept ({error.strerror})"
        do = "set XDG_CACHE_HOME to a folder that can be written"
        raise DataError(what, where=str(path.parent), do=do) from None
    return path
