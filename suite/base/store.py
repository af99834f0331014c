"""Files that survive a kill at any moment: append-only JSON lines, and files replaced whole."""

from __future__ import annotations

import errno
import io
import json
import os
import shutil
import stat
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Generic, TypeVar, cast

import jsonlines
from safetensors import SafetensorError

from greaves.base.errors import StoreError
from greaves.base.records import Record
from greaves.base.text import whole

R = TypeVar("R", bound=Record)


def open_plain(path: Path, flags: int) -> int:
    """Open a file of a run folder, which may come from a stranger; returns its descriptor.

    A link would let the folder read, cut or grow a file elsewhere; a pipe would never end.

    Raises:
        FileNotFoundError: there is none, and `flags` do not create it.
        OSError: it is a link, is not a plain file, or cannot be opened.
    """
    descriptor = os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o644)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "not a plain file")
    return descriptor


def read_plain(path: Path) -> bytes:
    """Content of a file of a run folder; raises as `open_plain`."""
    with os.fdopen(open_plain(path, os.O_RDONLY), "rb") as file:
        return file.read()


def reason(error: OSError) -> str:
    """Why a file could not be opened, in a few words."""
    return "it is a link" if error.errno == errno.ELOOP else str(error.strerror)


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """Turns an OSError in the block into a StoreError; that there is no file stays as it is."""
    try:
        yield
    except FileNotFoundError:
        raise
    except OSError as error:
        raise StoreError(f"cannot be read ({reason(error)})", where=str(path)) from None


@contextmanager
def _writable(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        do = "make room or permission, and run again; nothing is lost"
        raise StoreError(f"cannot be written ({reason(error)})", where=str(path), do=do) from None


def read_whole_lines(path: Path) -> bytes:
    """What a file holds up to its last newline; nothing if there is no such file.

    Raises:
        StoreError: the file cannot be read, or is a link.
    """
    data = b""
    with suppress(FileNotFoundError), readable(path):
        data = read_plain(path)
    return data[: data.rfind(b"\n") + 1]


def read_lines(path: Path, record: type[R]) -> list[R]:
    """All whole records of a file, in order; a half-written last line is not a record.

    A blank line is skipped, and so is a line with a zero byte, which our writer never leaves: a
    power cut fills what had not reached the disk with zeros, before the append had returned.

    Raises:
        StoreError: the file cannot be read, or a whole line is not such a record.
    """
    whole_lines = read_whole_lines(path).splitlines()
    written = (b"" if b"\0" in line else line for line in whole_lines)
    reader = jsonlines.Reader(written, loads=record.from_line)
    try:
        return cast(list[R], list(reader.iter(skip_empty=True)))
    except jsonlines.InvalidLineError as error:
        what = f"not a {record.__name__.lower()} record"
        do = "remove that line, and it will be asked again"
        raise StoreError(what, where=f"{path}:{error.lineno}", do=do) from None


def as_lines(rows: Iterable[Any]) -> str:
    """Records, or values that JSON knows, as JSON lines in ASCII."""
    text = io.StringIO()
    with jsonlines.Writer(text, dumps=_dumps) as writer:
        writer.write_all(rows)
    return text.getvalue()


def _dumps(row: Any) -> str:
    return row.to_line() if isinstance(row, Record) else json.dumps(row)


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
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT
        with _writable(self.path):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with os.fdopen(open_plain(self.path, flags), "ab", buffering=0) as file:
                start = os.lseek(file.fileno(), 0, os.SEEK_END)
                try:
                    left = memoryview(as_lines(fresh).encode())
                    while left:
                        left = left[os.write(file.fileno(), left) :]
                    os.fsync(file.fileno())
                    if not start:
                        _sync_folder(self.path.parent)
                except OSError:
                    os.ftruncate(file.fileno(), start)
                    raise
        self.records.extend(fresh)

    def _cut_half_line(self) -> None:
        with (
            suppress(FileNotFoundError),
            readable(self.path),
            os.fdopen(open_plain(self.path, os.O_RDWR), "r+b") as file,
        ):
            file.seek(max(0, file.seek(0, os.SEEK_END) - 1))
            if file.read() not in (b"", b"\n"):
                file.truncate(len(read_whole_lines(self.path)))


def _sync_folder(folder: Path) -> None:
    """Wait until a new file's name is on disk, not only its content."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yields a place for a file beside `path`, which it replaces in one step at the end.

    A reader sees the old file or the new one, never half of it. After an error, the old one stays.

    Raises:
        OSError: the folder cannot be written.
    """
    part = path.with_name(f".{path.name}.{uuid.uuid4().hex}.part")
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        yield part
        os.replace(part, path)
    finally:
        with suppress(OSError):
            part.unlink()


@contextmanager
def new_folder(folder: Path) -> Iterator[Path]:
    """Yields an empty folder, which replaces `folder` at the end, or goes with an error.

    What a killed process left is removed: the caller is the only one that writes `folder`.

    Raises:
        OSError: it cannot be written.
    """
    part = folder.with_name(f".{folder.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    try:
        yield part
        sync_files(part)
        shutil.rmtree(folder, ignore_errors=True)
        os.replace(part, folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def sync_files(folder: Path) -> list[Path]:
    """Wait until all files of a folder are on disk; returns them."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    for path in files:
        with path.open("rb") as file:
            os.fsync(file.fileno())
    return files


def write_bytes(path: Path, data: bytes) -> None:
    """Write a file so that it is there whole or not at all, and wait for the disk.

    Raises:
        StoreError: the file cannot be written.
    """
    with _writable(path), replacing(path) as part, part.open("xb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def write_text(path: Path, text: str) -> None:
    """Write text as `write_bytes` writes bytes."""
    write_bytes(path, whole(text).encode())


def write_json(path: Path, payload: Any) -> None:
    """Write pretty JSON as `write_bytes` writes bytes."""
    write_text(path, json.dumps(payload, indent=2, ensure_ascii=False) + "\n")


_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}

_TOLD_BY = ("No space left on device", "Disk quota exceeded", "File too large", "inline_container")
"""safetensors names the system's error; torch.save (`inline_container.cc`) only that it failed."""


@contextmanager
def room_for(folder: Path) -> Iterator[None]:
    """Turns a disk-full error in the block into a StoreError.

    Raises:
        StoreError: the disk is full.
    """
    try:
        yield
    except (OSError, RuntimeError, SafetensorError) as error:
        of_disk = isinstance(error, OSError) and error.errno in _NO_ROOM
        if not of_disk and not any(words in str(error) for words in _TOLD_BY):
            raise
        what = "cannot be written (no space left on the disk)"
        do = "make room, and run again; it goes on from the last checkpoint"
        raise StoreError(what, where=str(folder), do=do) from None
