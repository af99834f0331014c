"""What is known of clips, decoded once: whether they can be heard, how long and how loud they are.

A header can promise sound that the body does not hold, so a clip counts as heard only once it was
read as a model would read it. What was found is kept in the cache by the SHA-256 of the clip's
bytes: 20,000 clips are decoded on the first start and only hashed on later ones.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

import soundfile
from pydantic import ValidationError

from greaves.base.errors import DataError
from greaves.base.records import Record
from greaves.data.imports.made_clips import cache_folder, keep
from greaves.data.speech.clips import clip_hash, load_clip
from greaves.data.speech.voices import SAMPLE_RATE

_RULES = 1
"""Changes with what `load_clip` refuses, so that older findings are not reused."""

_EVERY = 500
"""Clips decoded between two writes to the cache."""


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

    A cache that cannot be written is no error: the clips are decoded again the next time.

    Args:
        clips: paths; one that does not exist has a fault.
    """
    cache = _Cache()
    found: dict[Path, ClipFacts] = {}
    try:
        for number, clip in enumerate(dict.fromkeys(clips), start=1):
            found[clip] = _of_one(clip, cache)
            if number % _EVERY == 0:
                cache.keep()
    finally:
        cache.keep()
    return found


def _of_one(clip: Path, cache: _Cache) -> ClipFacts:
    try:
        name = clip_hash(clip)
    except DataError as error:
        return ClipFacts(fault=error.what)
    except OSError as error:  # a folder, or no permission
        return ClipFacts(fault=f"the clip cannot be read ({error.strerror})")
    known = cache.get(name)
    if known is None:
        known = cache.put(name, _decode(clip))
    return known


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


class _Cache:
    """Files of facts, by the first digit of the clips' hashes."""

    def __init__(self) -> None:
        decoder = soundfile.__libsndfile_version__  # another one may read what this one cannot
        self._folder = cache_folder() / f"clip-facts-{_RULES}-libsndfile-{decoder}"
        self._files: dict[str, dict[str, ClipFacts]] = {}
        self._changed: set[str] = set()

    def get(self, name: str) -> ClipFacts | None:
        return self._file(name[0]).get(name)

    def put(self, name: str, facts: ClipFacts) -> ClipFacts:
        self._file(name[0])[name] = facts
        self._changed.add(name[0])
        return facts

    def keep(self) -> None:
        """Write what is new; another process may write too, and then some clips are read again."""
        for prefix in sorted(self._changed):
            facts = {name: one.model_dump() for name, one in self._files[prefix].items()}
            try:
                keep(self._folder / f"{prefix}.json", json.dumps(facts).encode())
            except OSError:
                break
        self._changed.clear()

    def _file(self, prefix: str) -> dict[str, ClipFacts]:
        if prefix not in self._files:
            self._files[prefix] = _read(self._folder / f"{prefix}.json")
        return self._files[prefix]


def _read(path: Path) -> dict[str, ClipFacts]:
    try:
        content = json.loads(path.read_bytes())
        return {name: ClipFacts.model_validate(facts) for name, facts in content.items()}
    except (OSError, ValueError, ValidationError, AttributeError):
        return {}  # not there, or spoilt: found out again
