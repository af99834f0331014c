"""What an unfinished build keeps, so that the next one goes on: plan, replies, clips."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import TypeVar

from pydantic import ValidationError

from greaves.base.errors import StoreError
from greaves.base.lock import lock
from greaves.base.progress import Steps
from greaves.base.records import Record
from greaves.base.store import Ledger, write_json
from greaves.data.alignment.plan import SetPlan

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
