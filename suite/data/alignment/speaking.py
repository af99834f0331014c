"""The clips of a set: spoken or copied, checked, and kept as they come."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

from greaves.base.errors import DataError
from greaves.base.progress import Steps
from greaves.base.records import content_hash
from greaves.base.store import write_bytes
from greaves.data.alignment.plan import PlannedItem
from greaves.data.alignment.workshop import MadeClip, Workshop, each
from greaves.data.speech.clip_faults import clip_fault
from greaves.data.speech.clips import clip_hash
from greaves.data.speech.speakers import Speaker, UnspeakableError

SUFFIXES = (".wav", ".flac", ".ogg", ".mp3")
"""Clips that are copied as they are."""


def make_clips(
    items: Sequence[PlannedItem],
    speaker: Speaker | None,
    seed: int,
    work: Workshop,
    steps: Steps,
) -> dict[str, MadeClip]:
    """Speak or copy every clip that is still to be made.

    Args:
        items: the questions; those with `clip_from` are copied.
        speaker: who speaks the others; None if there are none.
        seed: of the voices: one is picked by seed and text.
        work: where clips are kept, each as it comes.
        steps: progress.

    Returns:
        id -> clip, of all items; a clip with a fault is there too.

    Raises:
        SpeechError: the speaker fails, whatever the text.
        StoreError: a clip cannot be written.
    """
    keys = {item.id: _key(item, speaker, seed) for item in items}
    made = {clip.item: clip for clip in work.clips.records if keys.get(clip.item) == clip.key}
    made = {name: clip for name, clip in made.items() if _is_there(work.folder, clip)}

    def make(item: PlannedItem) -> None:
        clip = _make(item, keys[item.id], speaker, seed, work.folder)
        work.keep_clip(clip)
        made[item.id] = clip

    left = [item for item in items if item.id not in made]
    each("speaking", left, make, speaker.parallel if speaker else 1, steps)
    return made


def _key(item: PlannedItem, speaker: Speaker | None, seed: int) -> str:
    if item.clip_from:
        try:
            return content_hash({"copied": clip_hash(item.clip_from)})
        except DataError:
            return "missing"
    about = speaker.describe() if speaker else {}
    return content_hash({"text": item.text, "speaker": about, "seed": seed})


def _is_there(folder: Path, clip: MadeClip) -> bool:
    if not clip.sha256:
        return bool(clip.fault) and clip.key != "missing"
    path = folder / clip.path
    return path.is_file() and clip_hash(path) == clip.sha256


def _make(
    item: PlannedItem, key: str, speaker: Speaker | None, seed: int, folder: Path
) -> MadeClip:
    def failed(fault: str) -> MadeClip:
        return MadeClip(item=item.id, key=key, path="", sha256="", voice="", fault=fault)

    voice, suffix = "", ".wav"
    if item.clip_from:
        source = Path(item.clip_from)
        suffix = source.suffix.lower()
        if suffix not in SUFFIXES:
            return failed(f"the clip is none of {', '.join(SUFFIXES)}")
        try:
            data = source.read_bytes()
        except OSError as error:
            return failed(f"the clip cannot be read ({error.strerror})")
    else:
        assert speaker is not None, "a spoken item needs a speaker"
        try:
            spoken = speaker.speak(item.text, f"{seed}/{item.text}")
        except UnspeakableError as error:
            return failed(error.what)
        data, voice = spoken.wav, spoken.voice
    path = f"clips/{item.id}{suffix}"
    write_bytes(folder / path, data)
    return MadeClip(
        item=item.id,
        key=key,
        path=path,
        sha256=hashlib.sha256(data).hexdigest(),
        voice=voice,
        fault=clip_fault(folder / path),
    )
