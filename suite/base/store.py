"""Append-only JSON lines that survive a kill at any moment, and the lock on a run folder."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Generic, TypeVar

from pydantic import ValidationError

from greaves.base.errors import StoreError
from greaves.base.records import Record
from greaves.base.text import whole

R = TypeVar("R", bound=Record)


def open_plain(path: Path, flags: int) -> int:
    """Open a file of a run folder, which may come from a stranger; returns its descriptor.

    A link would let the folder read, cut or grow a file elsewhere; a pipe would never end.

    Raises:
        FileNotFoundError: there is none, and `flags` do not create it.
        OSError: it is a link, no plain file, or cannot be opened.
    """
    descriptor = os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o644)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "no plain file")
    return descriptor


def read_plain(path: Path) -> bytes:
    """Content of a file of a run folder; raises as `open_plain`."""
    with os.fdopen(open_plain(path, os.O_RDONLY), "rb") as file:
        return file.read()


def reason(error: OSError) -> str:
    """Why a file could not be opened, in a few words."""
    return "it is a link" if error.errno == errno.ELOOP else str(error.strerror)


def read_whole_lines(path: Path) -> bytes:
    """What a file holds up to its last newline; nothing if there is no such file.

    Raises:
        StoreError: the file cannot be read, or is a link.
    """
    try:
        data = read_plain(path)
    except FileNotFoundError:
        return b""
    except OSError as error:
        raise StoreError(f"cannot be read ({reason(error)})", where=str(path)) from None
    return data[: data.rfind(b"\n") + 1]


def read_lines(path: Path, record: type[R]) -> list[R]:
    """All whole records of a file, in order; a half-written last line is not a record.

    Nor is a line with a zero byte, which our writer never leaves: a power cut fills what had not
    reached the disk with zeros, and the append that was under way had not returned.

    Raises:
        StoreError: the file cannot be read, or a whole line is not such a record.
    """
    records: list[R] = []
    for number, line in enumerate(read_whole_lines(path).splitlines(), start=1):
        if b"\0" in line:
            continue
        try:
            records.append(record.from_line(line.decode()))
        except (ValidationError, UnicodeDecodeError):
            raise StoreError(
                f"not a {record.__name__.lower()} record",
                where=f"{path}:{number}",
                do="remove that line, and it will be asked again",
            ) from None
    return records


class Ledger(Generic[R]):
    """One append-only file of records.

    Opening it cuts off a last line that a killed process left half-written. `append` returns once
    the lines are on disk.

    Args:
        path: the file; it and its folder are created when first appended to.
        record: type of the records.
    """

    def __init__(self, path: Path, record: type[R]) -> None:
        self.path, self.record = path, record
        self._cut_half_line()
        self.records: list[R] = read_lines(path, record)

    def append(self, records: Iterable[R]) -> None:
        """Write records and wait for the disk.

        Raises:
            StoreError: the file cannot be written; what was there stays whole.
        """
        fresh = list(records)
        if not fresh:
            return
        data = "".join(f"{item.to_line()}\n" for item in fresh).encode()
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT
            with os.fdopen(open_plain(self.path, flags), "ab", buffering=0) as file:
                start = os.lseek(file.fileno(), 0, os.SEEK_END)
                try:
                    _write_all(file.fileno(), data)
                    os.fsync(file.fileno())
                    if not start:
                        _sync_folder(self.path.parent)
                except OSError:
                    os.ftruncate(file.fileno(), start)
                    raise
        except OSError as error:
            raise _unwritten(error, self.path) from None
        self.records.extend(fresh)

    def _cut_half_line(self) -> None:
        try:
            descriptor = open_plain(self.path, os.O_RDWR)
        except FileNotFoundError:
            return
        except OSError as error:
            raise StoreError(f"cannot be read ({reason(error)})", where=str(self.path)) from None
        with os.fdopen(descriptor, "r+b") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - 1))
            if file.read() not in (b"", b"\n"):
                file.truncate(len(read_whole_lines(self.path)))


def _sync_folder(folder: Path) -> None:
    """Wait until a new file's name is on disk, not only its content."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def write_json(path: Path, payload: Any) -> None:
    """Write pretty JSON so that a reader sees the old file or the new one, never half of it.

    Raises:
        StoreError: the file cannot be written.
    """
    write_text(path, json.dumps(payload, indent=2, sort_keys=False, ensure_ascii=False) + "\n")


def write_text(path: Path, text: str) -> None:
    """Write text atomically (see `write_json`)."""
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
        with os.fdopen(open_plain(part, flags), "w", encoding="utf-8") as file:
            file.write(whole(text))
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    except OSError as error:
        with suppress(OSError):
            part.unlink()
        raise _unwritten(error, path) from None


def _unwritten(error: OSError, where: Path) -> StoreError:
    return StoreError(
        f"cannot be written ({reason(error)})",
        where=str(where),
        do="make room or permission, and run again; nothing is lost",
    )


@contextmanager
def lock(folder: Path) -> Iterator[None]:
    """Hold a folder for one writer; the lock goes with the process, however it ends.

    Raises:
        StoreError: another process holds it, or the folder cannot be written.
    """
    path = folder / ".lock"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = open_plain(path, os.O_RDWR | os.O_CREAT)
    except OSError as error:
        raise StoreError(
            f"the run folder cannot be written ({reason(error)})",
            where=str(folder),
            do="choose another with --run-dir",
        ) from None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if not isinstance(error, BlockingIOError):
            os.close(descriptor)
            raise StoreError(
                f"the file system of the run folder has no locks ({reason(error)})",
                where=str(folder),
                do="choose a local folder with --run-dir, or use --cluster, which needs none",
            ) from None
        holder = os.pread(descriptor, 32, 0).decode(errors="replace").strip() or "unknown"
        os.close(descriptor)
        raise StoreError(
            f"another run (process {holder}) is writing to this folder",
            where=str(folder),
            do="wait for it, or choose another with --run-dir",
        ) from None
    try:
        with suppress(OSError):  # who holds it is told as far as the disk has room
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(descriptor)
