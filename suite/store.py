"""Append-only JSON lines that survive a kill at any moment, and the lock on a run folder."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Generic, TypeVar

from pydantic import ValidationError

from greaves.errors import StoreError
from greaves.records import Record

R = TypeVar("R", bound=Record)


def read_lines(path: Path, record: type[R]) -> list[R]:
    """All whole records of a file, in order; a half-written last line is not a record.

    Raises:
        StoreError: the file cannot be read, or a whole line is not such a record.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return []
    except OSError as error:
        raise StoreError(f"cannot be read ({error.strerror})", where=str(path)) from None
    records: list[R] = []
    for number, line in enumerate(data[: data.rfind(b"\n") + 1].splitlines(), start=1):
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
            with self.path.open("ab", buffering=0) as file:
                start = file.tell()
                try:
                    _write_all(file.fileno(), data)
                    os.fsync(file.fileno())
                except OSError:
                    os.ftruncate(file.fileno(), start)
                    raise
        except OSError as error:
            raise StoreError(
                f"cannot be written ({error.strerror})",
                where=str(self.path),
                do="make room or permission, and run again; nothing is lost",
            ) from None
        self.records.extend(fresh)

    def _cut_half_line(self) -> None:
        if not self.path.is_file():
            return
        data = self.path.read_bytes()
        whole = data.rfind(b"\n") + 1
        if whole < len(data):
            os.truncate(self.path, whole)


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
        with part.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise StoreError(f"cannot be written ({error.strerror})", where=str(path)) from None


@contextmanager
def lock(folder: Path) -> Iterator[None]:
    """Hold a folder for one writer; the lock goes with the process, however it ends.

    Raises:
        StoreError: another process holds it, or the folder cannot be written.
    """
    path = folder / ".lock"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise StoreError(
            f"the run folder cannot be written ({error.strerror})",
            where=str(folder),
            do="choose another with --run-dir",
        ) from None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        holder = os.pread(descriptor, 32, 0).decode(errors="replace").strip() or "unknown"
        os.close(descriptor)
        raise StoreError(
            f"another run (process {holder}) is writing to this folder",
            where=str(folder),
            do="wait for it, or choose another with --run-dir",
        ) from None
    try:
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(descriptor)
