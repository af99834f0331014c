"""The clips of a set: spoken or copied, checked, and kept as they come."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from greaves.base.errors import DataError
from greaves.base.progress import Steps
from greaves.base.records import content_hash
from greaves.base.store import write_bytes
from greaves.data.alignment.plan import PlannedItem
from greaves.data.alignment.spec import VoiceSpec
from greaves.data.alignment.workshop import MadeClip, Workshop, each
from greaves.data.speech.clips import clip_fault, clip_hash
from greaves.data.speech.engines import EspeakEngine, SpeechEngine, UnspeakableError

SUFFIXES = (".wav", ".flac", ".ogg", ".mp3")
"""Clips that are copied as they are."""


def make_clips(
    items: Sequence[PlannedItem], spec: VoiceSpec, seed: int, work: Workshop, steps: Steps
) -> tuple[dict[str, MadeClip], dict[str, Any] | None]:
    """Speak or copy every clip that is still to be made.

    Args:
        items: the questions; those with `clip_from` are copied.
        spec: who speaks the others, in a voice picked by `seed` and text.
        work: where clips are kept, each as it comes.

    Returns:
        id -> clip, of all items; a clip with a fault is there too. And what a manifest says of the
        speech engine; None where all clips are copied.

    Raises:
        SpeechError: the engine fails, whatever the text.
        StoreError: a clip cannot be written.
    """
    engine = None if all(item.clip_from for item in items) else _engine(spec)
    about = engine.describe() if engine else None
    keys = {item.id: _key(item, about, seed) for item in items}
    made = {clip.item: clip for clip in work.clips.records if keys.get(clip.item) == clip.key}
    made = {name: clip for name, clip in made.items() if _is_there(work.folder, clip)}

    def make(item: PlannedItem) -> None:
        clip = _make(item, keys[item.id], engine, seed, work.folder)
        work.keep(clip)
        made[item.id] = clip

    left = [item for item in items if item.id not in made]
    each("speaking", left, make, engine.parallel if engine else 1, steps)
    return made, about


def _engine(spec: VoiceSpec) -> SpeechEngine:
    if spec.engine == "espeak":
        return EspeakEngine()
    from greaves.data.speech.google_voice import GoogleEngine

    return GoogleEngine(spec.endpoint, spec.parallel, spec.patience)


def _key(item: PlannedItem, about: dict[str, Any] | None, seed: int) -> str:
    if item.clip_from:
        try:
            return content_hash({"copied": clip_hash(item.clip_from)})
        except DataError:
            return "missing"
    return content_hash({"text": item.text, "speaker": about or {}, "seed": seed})


def _is_there(folder: Path, clip: MadeClip) -> bool:
    if not clip.sha256:
        return bool(clip.fault) and clip.key != "missing"
    path = folder / clip.path
    return path.is_file() and clip_hash(path) == clip.sha256


def _make(
    item: PlannedItem, key: str, engine: SpeechEngine | None, seed: int, folder: Path
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
        assert engine is not None, "opened for items without a clip"
        try:
            spoken = engine.speak(item.text, f"{seed}/{item.text}")
        except UnspeakableError as error:
            return failed(error.what)
        data, voice = spoken.wav, spoken.voice
    path = f"clips/{item.id}{suffix}"
    write_bytes(folder / path, data)
    found, fault = hashlib.sha256(data).hexdigest(), clip_fault(folder / path)
    return MadeClip(item=item.id, key=key, path=path, sha256=found, voice=voice, fault=fault)
