"""What an unfinished build keeps, so that the next one goes on: plan, replies, clips."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import Any, TypeVar

from pydantic import ValidationError

from greaves.base.errors import DataError, StoreError
from greaves.base.lock import lock
from greaves.base.progress import Steps
from greaves.base.records import Record, content_hash
from greaves.base.store import Ledger, write_bytes, write_json
from greaves.data.alignment.plan import PlannedItem, SetPlan
from greaves.data.alignment.spec import VoiceSpec
from greaves.data.speech.clips import clip_fault, clip_hash
from greaves.data.speech.engines import EspeakEngine, SpeechEngine, UnspeakableError

FOLDER = "build"
"""Sub-folder of a set; the finished set does not need it."""

T = TypeVar("T")


class Attempt(Record):
    """One reply of a rewriter.

    Attributes:
        harmful: the question that was to be rewritten.
        rewriter: name of the model; another model's replies are not reused.
        number: of this attempt, from 0.
        reply: cleaned, cut to 2,000 characters.
        fault: why it is not a rewrite; "" if it is one.
    """

    harmful: str
    rewriter: str
    number: int
    reply: str
    fault: str


class MadeClip(Record):
    """One clip that was spoken or copied.

    Attributes:
        item: id of the question.
        key: hash of text, speaker and seed, or of the copied clip.
        path: relative to the set's folder.
        sha256: of the clip; "" where there is none.
        voice: who speaks; "" for a copied clip.
        fault: why it cannot go into the set; "" if it can.
    """

    item: str
    key: str
    path: str
    sha256: str
    voice: str
    fault: str


class Workshop:
    """The files of a build under way, in `FOLDER` of the set's folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._plan = folder / FOLDER / "plan.json"
        self.attempts: Ledger[Attempt] = Ledger(folder / FOLDER / "attempts.jsonl", Attempt)
        self.clips: Ledger[MadeClip] = Ledger(folder / FOLDER / "clips.jsonl", MadeClip)
        self._lock = Lock()

    def plan(
        self, draw: Callable[[], SetPlan], identity: dict[str, object], *, redraw: bool
    ) -> SetPlan:
        """The plan that was kept, or a new one, which is kept.

        Args:
            draw: draws a new one.
            identity: of the recipe; a kept plan must be of the same.
            redraw: draw again, for what it is drawn from may have changed.

        Raises:
            StoreError: the folder holds the build of another recipe, or a file that is not a plan.
        """
        kept = self._kept(identity)
        if kept is not None and not redraw:
            return kept
        plan = draw()
        write_json(self._plan, plan.model_dump(mode="json"))
        return plan

    def _kept(self, identity: dict[str, object]) -> SetPlan | None:
        if not self._plan.exists():
            return None
        try:
            kept = SetPlan.model_validate_json(self._plan.read_bytes())
        except (OSError, ValidationError):
            what = "not a plan of a build"
            raise StoreError(what, where=str(self._plan), do="delete it to start over") from None
        names = sorted({*identity, *kept.identity})
        other = [name for name in names if identity.get(name) != kept.identity.get(name)]
        if other:
            what = f"this folder holds another build (`{other[0]}` differs)"
            raise StoreError(what, where=str(self.folder), do="choose another with --out")
        return kept

    def keep(self, record: Attempt | MadeClip) -> None:
        """Append a reply or a clip; safe from any thread."""
        with self._lock:
            if isinstance(record, Attempt):
                self.attempts.append([record])
            else:
                self.clips.append([record])


@contextmanager
def workshop(folder: Path) -> Iterator[Workshop]:
    """Open a set's folder for building; one process at a time.

    Raises:
        StoreError: another build writes to it, or it cannot be written.
    """
    with lock(folder, writer="build", option="--out"):
        yield Workshop(folder)


def each(
    stage: str, items: Sequence[T], work: Callable[[T], None], parallel: int, steps: Steps
) -> None:
    """Do some work for every item, several at a time; the first error stops the rest."""
    steps.update(stage, 0, len(items))
    if parallel == 1:  # a pool of one would begin the next item before it hears of an error
        for done, item in enumerate(items, start=1):
            work(item)
            steps.update(stage, done, len(items))
        return
    pool = ThreadPoolExecutor(parallel)
    try:
        futures = [pool.submit(work, item) for item in items]
        for done, future in enumerate(as_completed(futures), start=1):
            future.result()
            steps.update(stage, done, len(items))
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


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
