"""A run folder behind a URL (s3://, gs://, ...): worked on in a local copy, pushed as it grows.

Objects are replaced whole, so a cell has one writer, which holds a lease beside it. What is not
pushed yet when a machine is lost is asked again; nothing is doubled.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from greaves.base.errors import StoreError
from greaves.base.lock import cell_lock, lease
from greaves.base.run_folder import RunFolder
from greaves.base.store import write_json
from greaves.recipe.plan import Cell

EVERY = 30.0
"""Seconds between two pushes of a cell at work, at least."""

TOP = ("run.json", "judges.json")

_URL = re.compile(r"^([a-z][a-z0-9+.-]+):/+(?=[^/])")


def is_url(folder: str | Path) -> bool:
    """Whether a run folder is named by URL; pathlib's `s3:/bucket` is one too."""
    return _URL.match(str(folder)) is not None


def local_folder(folder: str | Path, only: tuple[str, ...] = ()) -> Path:
    """A folder to read from: itself, or a fresh local copy of what lies behind a URL.

    Args:
        folder: path or URL of a run.
        only: names of files to copy; by default all but features and unfinished training.

    Raises:
        StoreError: the URL cannot be read.
    """
    if not is_url(folder):
        return Path(folder)
    remote = Remote(str(folder), "read")
    wanted = (lambda name: Path(name).name in only) if only else _is_result
    remote.pull("", remote.scratch, wanted)
    return remote.scratch


@contextmanager
def held(folder: str | Path, fresh: bool) -> Iterator[tuple[Path, Callable[[], None]]]:
    """Hold a run folder for one driver.

    Yields:
        The folder to work in, and what brings its own files (not the cells') to where they belong.

    Raises:
        StoreError: another driver holds it, or it cannot be written.
    """
    if not is_url(folder):
        with cell_lock(Path(folder), patience=0):
            yield Path(folder), lambda: None
        return
    remote = Remote(str(folder), "driver")
    with lease(remote.fs, remote.at(".lease"), patience=0):
        if fresh:
            remote.put_aside()
        shutil.rmtree(remote.scratch, ignore_errors=True)
        remote.pull("", remote.scratch, lambda name: name in TOP)
        yield remote.scratch, lambda: remote.push_files(remote.scratch, TOP)


@contextmanager
def at_work(folder: str, cell: Cell) -> Iterator[tuple[Path, Callable[[], None]]]:
    """The run folder for a worker on one cell, and what is to be called as the cell grows."""
    if not is_url(folder):
        yield Path(folder), lambda: None
        return
    remote = Remote(folder, "work")
    inside = _inside(remote, cell)
    place = remote.scratch / inside
    with lease(remote.fs, remote.at(f"{inside}.lease")) as check:
        remote.pull(inside, place)
        if cell.base is not None:
            base = _inside(remote, cell.base)
            remote.pull(base, remote.scratch / base)
        pushed = time.monotonic()

        def saved() -> None:
            nonlocal pushed
            check()
            if time.monotonic() - pushed >= EVERY:
                remote.push(inside, place)
                pushed = time.monotonic()

        try:
            yield remote.scratch, saved
        finally:
            check()
            remote.push(inside, place)


def push_state(folder: str | Path, cell: Cell, name: str) -> None:
    """Bring one file of a cell, written in the driver's copy, to where it belongs."""
    if is_url(folder):
        remote = Remote(str(folder), "driver")
        remote.push_files(remote.scratch, (f"{_inside(remote, cell)}/{name}",))


def _inside(remote: Remote, cell: Cell) -> str:
    place = RunFolder(remote.scratch).cell(*cell.names).path
    return place.relative_to(remote.scratch).as_posix()


class Remote:
    """A folder behind a URL, through fsspec.

    Args:
        url: of the run folder.
        use: what the local copy is for; copies of different uses on one machine are kept apart.

    Attributes:
        scratch: the local copy: in $GREAVES_SCRATCH, or in the user's cache.

    Raises:
        StoreError: there is no driver for such URLs, or it refuses.
    """

    def __init__(self, url: str, use: str) -> None:
        self.url = _URL.sub(lambda found: f"{found[1]}://", url).rstrip("/")
        if url.startswith("file:"):
            self.url = f"file:///{_URL.sub('', url).strip('/')}"
        home = os.environ.get("GREAVES_SCRATCH") or "~/.cache/greaves/runs"
        digest = hashlib.sha256(self.url.encode()).hexdigest()[:16]
        self.scratch = Path(home).expanduser() / f"{digest}-{use}"
        self._pushed: dict[str, tuple[int, int]] = {}
        try:
            from fsspec.core import url_to_fs

            options = {"auto_mkdir": True} if self.url.startswith("file:") else {}
            # Others write there too: no listing is remembered.
            self.fs, self.root = url_to_fs(self.url, use_listings_cache=False, **options)
        except (ImportError, ValueError, OSError) as error:
            raise StoreError(f"cannot be opened ({_line(error)})", where=self.url) from None

    def at(self, name: str) -> str:
        """Full name of a file inside."""
        return f"{self.root}/{name}" if name else self.root

    def pull(
        self, inside: str, folder: Path, wanted: Callable[[str], bool] = lambda name: True
    ) -> None:
        """Make `folder` what lies at `inside`: only files that changed travel.

        Raises:
            StoreError: it cannot be read, or the copy cannot be written.
        """
        with self._told("cannot be read"):
            found = self._listed(inside)
            names = {name for name in found if wanted(name) and not _hidden(name)}
            known = _read_marks(folder)
            for name in names:
                file, mark = folder / name, found[name]
                if not file.is_file() or known.get(name) != f"{mark}|{_stamp(file)}":
                    file.parent.mkdir(parents=True, exist_ok=True)
                    self.fs.get_file(f"{self.at(inside)}/{name}", str(file))
                known[name] = f"{mark}|{_stamp(file)}"
                self._pushed[f"{inside}/{name}"] = _stamp(file)
            for name in _files(folder) - names:
                if wanted(name) and not name.startswith("features/"):
                    (folder / name).unlink()
            marks = {name: mark for name, mark in known.items() if name in found}
            write_json(folder / _MARKS, marks)

    def push(self, inside: str, folder: Path) -> None:
        """Bring what changed in `folder` to `inside`; what has gone here goes there.

        Raises:
            StoreError: it cannot be written.
        """
        # A checkpoint's mark that it is whole goes after all that it speaks for.
        names = sorted(name for name in _files(folder) if not _hidden(name))
        names.sort(key=lambda name: name.endswith(("/whole", "state.json")))
        known = {name for name in self._pushed if name.startswith(f"{inside}/")}
        with self._told("cannot be written"):
            for name in names:
                # A file may go while its folder is read: a checkpoint that a newer one replaces.
                with suppress(FileNotFoundError):
                    stamp = _stamp(folder / name)
                    if self._pushed.get(f"{inside}/{name}") != stamp:
                        self.fs.put_file(str(folder / name), self.at(f"{inside}/{name}"))
                        self._pushed[f"{inside}/{name}"] = stamp
            for gone in known - {f"{inside}/{name}" for name in names}:
                with suppress(FileNotFoundError):
                    self.fs.rm_file(self.at(gone))
                del self._pushed[gone]

    def push_files(self, folder: Path, names: tuple[str, ...]) -> None:
        """Bring single files, as far as they are there, to where they belong.

        Raises:
            StoreError: they cannot be written.
        """
        with self._told("cannot be written"):
            for name in names:
                if (folder / name).is_file():
                    self.fs.put_file(str(folder / name), self.at(name))

    def put_aside(self) -> None:
        """Rename an earlier run."""
        with self._told("cannot be put aside"):
            names = self._listed("")
            aside = f"{self.root}.before-{datetime.now(UTC):%Y%m%dT%H%M%S%f}"
            for name in sorted(names, key=lambda name: name == "run.json"):
                if name != ".lease":
                    self.fs.mv(self.at(name), f"{aside}/{name}")

    @contextmanager
    def _told(self, what: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise StoreError(f"{what} ({_line(error)})", where=self.url) from None

    def _listed(self, inside: str) -> dict[str, str]:
        top = self.at(inside)
        try:
            found: dict[str, dict[str, Any]] = self.fs.find(top, detail=True)
        except FileNotFoundError:
            return {}
        return {
            path[len(top) :].lstrip("/"): "|".join(
                str(facts.get(key)) for key in ("size", "ETag", "etag", "mtime", "LastModified")
            )
            for path, facts in found.items()
            if path.startswith(top)
        }


def fetch(url: str, folder: Path) -> None:
    """Copy a run from behind a URL into a folder, or bring that folder up to date.

    Raises:
        StoreError: the URL cannot be read, or the folder holds something else.
    """
    if folder.is_dir() and any(folder.iterdir()) and not (folder / _MARKS).is_file():
        what = "the folder is not empty, and not an earlier copy of a run"
        raise StoreError(what, where=str(folder), do="choose another with --to")
    remote = Remote(url, "read")
    remote.pull("", folder, _is_result)
    RunFolder.open(folder)


def _is_result(name: str) -> bool:
    return not name.startswith("features/") and ".work/" not in name


_MARKS = ".pulled.json"


def _read_marks(folder: Path) -> dict[str, str]:
    try:
        content = json.loads((folder / _MARKS).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _files(folder: Path) -> set[str]:
    return {item.relative_to(folder).as_posix() for item in folder.rglob("*") if item.is_file()}


def _hidden(name: str) -> bool:
    return Path(name).name.startswith(".") or name.endswith((".part", ".lease"))


def _stamp(file: Path) -> tuple[int, int]:
    found = file.stat()
    return found.st_mtime_ns, found.st_size


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
