"""One writer per folder: two processes, on one machine or on two, never write the same lines.

A file lock where the file system has them: it goes with the process that held it, however that
ended. Elsewhere (some network file systems, object stores) a lease: a small file that its holder
renews, and that another may take once it has not been renewed for a while.
"""

from __future__ import annotations

import fcntl
import json
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Protocol

from greaves.base.errors import StoreError
from greaves.base.store import open_plain, reason, replacing

PATIENCE = 120.0
"""Seconds to wait for a cell: tasks of a driver that was killed end within a few."""

RENEWED_EVERY = 10.0
"""Seconds between two renewals of a lease."""

STALE = 60.0
"""Seconds after which a lease that is not renewed may be taken."""

SETTLES = 1.0
"""Seconds between writing a lease and believing that it was the last one written."""

Check = Callable[[], None]
"""Raises StoreError once the cell is no longer this process's own."""


class Files(Protocol):
    """What a lease needs of a file system; fsspec's have it."""

    def cat_file(self, path: str) -> bytes: ...
    def pipe_file(self, path: str, value: bytes) -> None: ...
    def rm_file(self, path: str) -> None: ...


class LocalFiles:
    """A folder that every machine sees."""

    def cat_file(self, path: str) -> bytes:
        return Path(path).read_bytes()

    def pipe_file(self, path: str, value: bytes) -> None:
        with replacing(Path(path)) as part:
            part.write_bytes(value)

    def rm_file(self, path: str) -> None:
        os.unlink(path)


@contextmanager
def lock(folder: Path, *, writer: str = "run", option: str = "--run-dir") -> Iterator[None]:
    """Hold a folder for one writer; the lock goes with the process, however it ends.

    Args:
        folder: made if it is not there.
        writer: what messages call another holder.
        option: of the command line that names another folder.

    Raises:
        StoreError: another process holds it, it cannot be written, or its file system has no locks.
    """
    with _flock(folder, 0.0, writer, f"choose another with {option}") as held:
        if not held:
            what = "the file system of this folder has no locks"
            do = f"choose a local one with {option}, or run with --cluster, which needs none"
            raise StoreError(what, where=str(folder), do=do)
        yield


@contextmanager
def cell_lock(cell: Path, patience: float = PATIENCE) -> Iterator[Check]:
    """Hold a cell's folder, or a whole run's, for one writer, by a lease where there are no locks.

    Args:
        cell: the folder; made if it is not there.
        patience: seconds to wait for another writer.

    Yields:
        A check to be called before something is written.

    Raises:
        StoreError: another process holds it, or it cannot be written.
    """
    with _flock(cell, patience, "run", "run again") as held:
        if held:
            yield lambda: None
        else:
            with lease(LocalFiles(), str(cell / ".lease"), patience) as check:
                yield check


@contextmanager
def _flock(folder: Path, patience: float, writer: str, do: str) -> Iterator[bool]:
    """Hold a folder's lock; yields False where the file system has none."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = open_plain(folder / ".lock", os.O_RDWR | os.O_CREAT)
    except OSError as error:
        raise StoreError(f"cannot be written ({reason(error)})", where=str(folder), do=do) from None
    end = time.monotonic() + patience
    try:
        held = None
        while held is None:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                held = True
            except BlockingIOError:
                if time.monotonic() >= end:
                    holder = os.pread(descriptor, 200, 0).decode(errors="replace").strip()
                    raise _taken(writer, holder or "unknown", str(folder), do) from None
                time.sleep(0.2)
            except OSError:
                held = False
        if held:
            with suppress(OSError):  # the disk may have no room for the holder's name
                os.ftruncate(descriptor, 0)
                os.pwrite(descriptor, f"{_me()}\n".encode(), 0)
        yield held
    finally:
        os.close(descriptor)


@contextmanager
def lease(files: Files, path: str, patience: float = PATIENCE) -> Iterator[Check]:
    """Hold a lease until the context is left; see `cell_lock`.

    Two that ask in the same instant are told apart by who reads its own name back.
    """
    mine = _Lease(files, path)
    try:
        mine.take(patience)
    except OSError as error:
        raise StoreError(f"cannot be written ({error})", where=path) from None
    ended = threading.Event()

    def renew() -> None:
        while not ended.wait(RENEWED_EVERY):
            mine.renew()

    thread = threading.Thread(target=renew, daemon=True)
    thread.start()
    try:
        yield mine.check
    finally:
        ended.set()
        thread.join()
        mine.give_up()


class _Lease:
    def __init__(self, files: Files, path: str) -> None:
        self.files, self.path = files, path
        self.token = uuid.uuid4().hex
        self.beat, self.lost, self.renewed = 0, False, 0.0

    def take(self, patience: float) -> None:
        end = time.monotonic() + max(patience, STALE + 2 * RENEWED_EVERY)
        seen, since = self._read(), time.monotonic()
        while True:
            now = time.monotonic()
            if not seen or now - since > STALE:  # by our own clock: nobody else's is asked
                self._write()
                time.sleep(SETTLES)
                if self._read().get("token") == self.token:
                    return
            if now >= end:
                raise _taken("run", str(seen.get("holder", "unknown")), self.path, "run again")
            time.sleep(0.5)
            found = self._read()
            if found != seen:
                seen, since = found, time.monotonic()

    def renew(self) -> None:
        with suppress(OSError):  # the next renewal may come through
            if self._read().get("token") != self.token:
                self.lost = True
            elif not self.lost:
                self._write()

    def check(self) -> None:
        if self.lost or time.monotonic() - self.renewed > STALE:
            what = "another process has taken this cell over"
            raise StoreError(what, where=self.path, do="leave it to it")

    def give_up(self) -> None:
        if not self.lost:
            with suppress(OSError):
                self.files.rm_file(self.path)

    def _read(self) -> dict[str, Any]:
        try:
            content = json.loads(self.files.cat_file(self.path))
        except FileNotFoundError:
            return {}
        except ValueError:
            return {"holder": "unknown"}
        return content if isinstance(content, dict) else {"holder": "unknown"}

    def _write(self) -> None:
        self.beat += 1
        content = {"token": self.token, "holder": _me(), "beat": self.beat}
        self.files.pipe_file(self.path, json.dumps(content).encode())
        self.renewed = time.monotonic()


def _me() -> str:
    return f"process {os.getpid()} on {socket.gethostname()}"


def _taken(writer: str, holder: str, where: str, do: str) -> StoreError:
    what = f"another {writer} ({holder}) is writing to this folder"
    return StoreError(what, where=where, do=f"wait for it, or {do}")
