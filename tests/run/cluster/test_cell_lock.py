"""One writer a cell: on file systems with locks, without them, and when a writer goes silent."""

from __future__ import annotations

import errno
import fcntl
import multiprocessing
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from greaves.base import lock as module
from greaves.base.errors import StoreError
from greaves.base.lock import LocalFiles, cell_lock, lease

CONTEXT = multiprocessing.get_context("fork")


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """A second of a lease lasts a fiftieth."""
    monkeypatch.setattr(module, "STALE", 0.6)
    monkeypatch.setattr(module, "RENEWED_EVERY", 0.1)
    monkeypatch.setattr(module, "SETTLES", 0.02)


@pytest.fixture
def no_locks(monkeypatch: pytest.MonkeyPatch, quick: None) -> None:
    """A file system without locks, such as some network ones."""

    def refuse(descriptor: int, operation: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", refuse)


def hold_and_die(folder: Path) -> None:
    with cell_lock(folder):
        os._exit(1)


def test_a_second_writer_is_refused_and_the_first_is_named(tmp_path: Path) -> None:
    with (
        cell_lock(tmp_path / "cell"),
        pytest.raises(StoreError, match=f"process {os.getpid()} "),
        cell_lock(tmp_path / "cell", patience=0.1),
    ):
        pass


def test_a_writer_that_was_killed_leaves_the_cell_free(tmp_path: Path) -> None:
    process = CONTEXT.Process(target=hold_and_die, args=(tmp_path / "cell",))
    process.start()
    process.join()
    with cell_lock(tmp_path / "cell", patience=0.5):
        pass


def test_a_writer_waits_for_the_one_before(tmp_path: Path) -> None:
    order: list[str] = []
    free = threading.Timer(0.3, lambda: (order.append("freed"), first.__exit__(None, None, None)))
    first = cell_lock(tmp_path / "cell")
    first.__enter__()
    free.start()
    with cell_lock(tmp_path / "cell", patience=20):
        order.append("held")
    assert order == ["freed", "held"]


def test_without_file_locks_a_lease_keeps_the_second_writer_out(
    tmp_path: Path, no_locks: None
) -> None:
    with cell_lock(tmp_path / "cell") as check:
        check()
        refused = pytest.raises(StoreError, match="another run")
        with refused, cell_lock(tmp_path / "cell", patience=0.0):
            pass
        check()
    assert not (tmp_path / "cell" / ".lease").exists()


def test_a_lease_that_is_not_renewed_may_be_taken(tmp_path: Path, no_locks: None) -> None:
    process = CONTEXT.Process(target=hold_and_die, args=(tmp_path / "cell",))
    process.start()
    process.join()
    assert (tmp_path / "cell" / ".lease").exists()
    with cell_lock(tmp_path / "cell", patience=5.0) as check:
        check()


def test_a_writer_whose_lease_was_taken_may_not_write(tmp_path: Path, quick: None) -> None:
    with lease(LocalFiles(), str(tmp_path / "lease")) as check:
        check()
        (tmp_path / "lease").write_text('{"token": "of another", "holder": "another"}')
        lost = threading.Event()
        lost.wait(0.4)
        with pytest.raises(StoreError, match="has taken this cell over"):
            check()
    assert "of another" in (tmp_path / "lease").read_text()


def test_of_many_that_ask_at_once_one_gets_a_lease(tmp_path: Path, quick: None) -> None:
    inside, most = 0, 0
    guard = threading.Lock()

    def work() -> None:
        nonlocal inside, most
        with lease(LocalFiles(), str(tmp_path / "lease"), patience=60):
            with guard:
                inside += 1
                most = max(most, inside)
            threading.Event().wait(0.05)
            with guard:
                inside -= 1

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 1


@pytest.fixture(autouse=True)
def _no_thread_is_left() -> Iterator[None]:
    before = threading.active_count()
    yield
    assert threading.active_count() <= before
