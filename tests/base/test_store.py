"""Append-only files that survive half-written lines, full disks and second writers."""

from __future__ import annotations

import multiprocessing
import resource
import signal
from pathlib import Path

import pytest

from greaves.base.errors import StoreError
from greaves.base.lock import lock
from greaves.base.records import Record
from greaves.base.store import Ledger, new_folder, read_lines, replacing, write_json
from greaves.base.text import quoted, unquoted


class Line(Record):
    key: str
    text: str = ""


def test_a_half_written_last_line_is_cut_and_the_rest_kept(tmp_path: Path) -> None:
    path = tmp_path / "lines.jsonl"
    Ledger(path, Line).append([Line(key="a"), Line(key="b")])
    whole = path.read_bytes()
    for length in range(1, len(Line(key="c").to_line()) + 1):
        path.write_bytes(whole + Line(key="c").to_line().encode()[:length])
        ledger = Ledger(path, Line)
        assert [line.key for line in ledger.records] == ["a", "b"]
        ledger.append([Line(key="c")])
        assert [line.key for line in read_lines(path, Line)] == ["a", "b", "c"]


def test_text_with_newlines_and_odd_characters_stays_one_line(tmp_path: Path) -> None:
    text = 'a\nb\r\u2028\x00\x1b[31m"\\ \N{PILE OF POO}'
    ledger = Ledger(tmp_path / "lines.jsonl", Line)
    ledger.append([Line(key="a", text=text), Line(key="b")])
    assert (tmp_path / "lines.jsonl").read_bytes().count(b"\n") == 2
    assert read_lines(tmp_path / "lines.jsonl", Line)[0].text == text


def test_a_broken_line_in_the_middle_is_named_by_file_and_line(tmp_path: Path) -> None:
    path = tmp_path / "lines.jsonl"
    path.write_text('{"key": "a"}\n{"kee": "b"}\n{"key": "c"}\n')
    with pytest.raises(StoreError, match=r"lines\.jsonl:2: not a line record"):
        read_lines(path, Line)


def _append_under_a_size_limit(path: Path, limit: int) -> None:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    ledger = Ledger(path, Line)
    ledger.append([Line(key="first")])
    with pytest.raises(StoreError, match="cannot be written"):
        ledger.append([Line(key="second", text="x" * limit)])


def test_an_append_that_the_disk_refuses_leaves_what_was_there_whole(tmp_path: Path) -> None:
    path = tmp_path / "lines.jsonl"
    child = multiprocessing.get_context("fork").Process(
        target=_append_under_a_size_limit, args=(path, 200)
    )
    child.start()
    child.join(30)
    assert child.exitcode == 0
    assert path.read_bytes().endswith(b"\n")
    assert [line.key for line in read_lines(path, Line)] == ["first"]


def _hold(folder: Path, ready: multiprocessing.synchronize.Event) -> None:
    with lock(folder):
        ready.set()
        signal.pause()


def test_a_second_writer_is_refused_until_the_first_is_gone_however_it_went(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    ready = context.Event()
    holder = context.Process(target=_hold, args=(tmp_path, ready))
    holder.start()
    assert ready.wait(30)
    with pytest.raises(StoreError, match=f"process {holder.pid}"), lock(tmp_path):
        pass
    holder.kill()
    holder.join()
    with lock(tmp_path):
        pass


def test_a_reader_never_sees_half_a_json_file(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_json(path, {"a": 1})
    with pytest.raises(TypeError):
        write_json(path, {"a": object()})
    assert path.read_text() == '{\n  "a": 1\n}\n'
    assert [item.name for item in tmp_path.iterdir()] == ["a.json"]


def _write_half(path: Path) -> None:
    with replacing(path) as part:
        part.write_bytes(b"ne")
        raise RuntimeError


def test_a_file_that_is_not_finished_leaves_the_old_one_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(b"old")
    with pytest.raises(RuntimeError):
        _write_half(path)
    assert [(item.name, item.read_bytes()) for item in tmp_path.iterdir()] == [("a.bin", b"old")]


def test_a_folder_is_replaced_whole_and_what_a_killed_writer_left_is_gone(tmp_path: Path) -> None:
    folder = tmp_path / "made"
    for rest in (folder, tmp_path / ".made.part"):
        rest.mkdir()
        (rest / "rest").write_text("of another time")
    with pytest.raises(RuntimeError), new_folder(folder):
        raise RuntimeError
    assert [item.name for item in folder.iterdir()] == ["rest"]
    with new_folder(folder) as part:
        (part / "new").write_text("")
    assert [item.relative_to(tmp_path).as_posix() for item in tmp_path.rglob("*")] == [
        "made",
        "made/new",
    ]


def test_a_blank_line_is_skipped_and_the_lines_after_it_keep_their_numbers(tmp_path: Path) -> None:
    path = tmp_path / "lines.jsonl"
    path.write_bytes(b'{"key": "a"}\n\n\0\xff\0\n{"key": "b"}\n')
    assert [line.key for line in read_lines(path, Line)] == ["a", "b"]
    path.write_bytes(path.read_bytes() + b"{}\n")
    with pytest.raises(StoreError, match=r"lines\.jsonl:5: not a line record"):
        read_lines(path, Line)


@pytest.mark.parametrize("text", ["=1+1", "'=1+1", "'", "-2", "@x", "\tx", "\nx", "a=b", ""])
def test_what_is_quoted_for_a_spreadsheet_is_no_formula_and_reads_back(text: str) -> None:
    assert not quoted(text).startswith(("=", "+", "-", "@", "\t", "\r", "\n"))
    assert unquoted(quoted(text)) == text
