"""Submissions that an enemy packed: no member leaves its place, and nothing unfolds without end."""

from __future__ import annotations

import io
import json
import stat
import struct
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import any_text, damaged, examples, json_values

from greaves.base.errors import GreavesError
from greaves.leaderboards.submission.archive import zipped
from greaves.leaderboards.submission.contents import read_submission

Cli = Callable[..., tuple[int, str, str]]

MEMBERS = {
    "submission.json": b"{}",
    "leaderboard.json": b"[]",
    "cells/000-a-b-seed-0/cell.json": b"{}",
    "cells/000-a-b-seed-0/responses.jsonl": b"{}\n",
}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("submissions")


def refused(path: Path) -> str:
    """The line that refuses an archive, and soon."""
    start = time.monotonic()
    with pytest.raises(GreavesError) as error:
        read_submission(path)
    assert time.monotonic() - start < 5
    assert str(error.value).isprintable()
    return str(error.value)


def packed(path: Path, *members: tuple[zipfile.ZipInfo | str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, data in members:
            file.writestr(name, data)
    return path


@given(data=st.data())
@examples(60)
def test_a_damaged_archive_is_told_in_one_line(place: Path, data: st.DataObject) -> None:
    path = place / "damaged.zip"
    path.write_bytes(data.draw(damaged(data.draw(damaged(zipped(MEMBERS))))))
    refused(path)


@given(manifest=json_values, rows=json_values, line=json_values)
@examples(40)
def test_members_of_any_content_are_told_in_one_line(
    place: Path, manifest: object, rows: object, line: object
) -> None:
    path = place / "odd.zip"
    texts = {"submission.json": manifest, "leaderboard.json": rows}
    path.write_bytes(zipped({name: json.dumps(value).encode() for name, value in texts.items()}))
    refused(path)


@given(name=any_text.filter(lambda text: text and "\0" not in text))
@examples(60)
def test_a_member_of_any_other_name_is_told_in_one_line(place: Path, name: str) -> None:
    out = io.BytesIO()
    try:
        with zipfile.ZipFile(out, "w") as file:
            file.writestr(name, b"{}")
    except UnicodeEncodeError:
        return
    path = place / "named.zip"
    path.write_bytes(out.getvalue())
    assert "not a submission" in refused(path)


KINDS = {
    "link": stat.S_IFLNK, "device": stat.S_IFBLK, "terminal": stat.S_IFCHR,
    "pipe": stat.S_IFIFO, "socket": stat.S_IFSOCK, "folder": stat.S_IFDIR,
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_only_plain_files_are_members(kind: str, tmp_path: Path) -> None:
    info = zipfile.ZipInfo("submission.json")
    info.create_system, info.external_attr = 3, (KINDS[kind] | 0o777) << 16
    assert "no plain file" in refused(packed(tmp_path / "a.zip", (info, b"/etc/passwd")))


@pytest.mark.parametrize(
    "name",
    [
        "Submission.json", "SUBMISSION.JSON", "submission.json/", "submission.json\u200b",
        "cells/000-\u0061\u0308/cell.json", "cells/000-\u00e4/cell.json", "submission.json\n",
        "./submission.json", "cells//cell.json", "cells/000-a/cell.json/../x", "con", "a:b",
        "nested.zip", "cells/000-a/nested.zip", "cells/\u0660\u0660\u0660-a/cell.json",
    ],
)  # fmt: skip
def test_names_that_some_file_system_takes_for_others_are_refused(
    name: str, tmp_path: Path
) -> None:
    path = packed(tmp_path / "a.zip", ("submission.json", b"{}"), (name, b"{}"))
    assert "a member that the format does not have" in refused(path)


def entry(data: bytes, change: Callable[[bytearray, int], None]) -> bytes:
    """An archive whose first entry of the directory is changed."""
    copy = bytearray(data)
    change(copy, data.index(b"PK\x01\x02"))
    return bytes(copy)


def encrypted(data: bytearray, place: int) -> None:
    data[place + 8] |= 1


def lying_size(data: bytearray, place: int) -> None:
    data[place + 24 : place + 28] = struct.pack("<L", 1)


def huge_size(data: bytearray, place: int) -> None:
    data[place + 24 : place + 28] = struct.pack("<L", 2**32 - 2)


def other_method(data: bytearray, place: int) -> None:
    data[place + 10 : place + 12] = struct.pack("<H", 14)


def beyond_the_end(data: bytearray, place: int) -> None:
    data[place + 42 : place + 46] = struct.pack("<L", 2**31)


def onto_another(data: bytearray, place: int) -> None:
    """The second entry points to the data of the first: such bombs need no high ratio."""
    second = data.index(b"PK\x01\x02", place + 4)
    data[second + 42 : second + 46] = data[place + 42 : place + 46]


@pytest.mark.parametrize(
    "change", [encrypted, lying_size, huge_size, other_method, beyond_the_end, onto_another]
)
def test_a_directory_that_lies_is_refused(
    change: Callable[[bytearray, int], None], tmp_path: Path
) -> None:
    path = tmp_path / "a.zip"
    path.write_bytes(entry(zipped(MEMBERS), change))
    refused(path)


def test_entries_that_overlap_are_refused(tmp_path: Path) -> None:
    """As in the bombs of David Fifield: many entries, one body, each name right for its header."""
    body = zlib_bomb = zipped({"submission.json": bytes(200_000)})
    start, end = body.index(b"PK\x01\x02"), zlib_bomb.index(b"PK\x05\x06")
    directory = body[start:end] * 3
    tail = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 3, 3, len(directory), start, 0)
    path = tmp_path / "a.zip"
    path.write_bytes(body[:start] + directory + tail)
    assert "the same member twice" in refused(path)


def test_many_members_of_a_modest_ratio_do_not_add_up(tmp_path: Path) -> None:
    """150-fold each, which one record file might be, but 4 GiB together."""
    part = bytes(150 * 2**10 * 20)
    members = {f"cells/{n:03}-a/responses.jsonl": part for n in range(8)}
    path = tmp_path / "a.zip"
    path.write_bytes(zipped({"submission.json": b"{}", **members}))
    assert "200-fold" in refused(path)


@pytest.mark.parametrize("command", ["validate", "merge"])
def test_the_program_ends_with_one_line_and_status_2(
    command: str, greaves: Cli, tmp_path: Path
) -> None:
    path = packed(tmp_path / "\x1b[31m.zip", ("../../../escaped", b"{}"))
    status, out, err = greaves(command, path)
    assert (status, out, len(err.splitlines())) == (2, "", 1)
    assert err.rstrip("\n").isprintable()
    assert not list(tmp_path.parent.rglob("escaped"))


@pytest.mark.parametrize("name", ["..", "../x", "a/b", "", "-x", "\x1b", "x" * 65])
def test_no_name_of_a_submission_is_a_path(name: str, greaves: Cli, place: Path) -> None:
    from made_hostile_run import made_hostile_run

    folder = place / "run"
    if not folder.is_dir():
        made_hostile_run(folder, list("mvtuj"), ["x"])
    status, out, err = greaves("submit", folder, f"--name={name or ' '}")
    assert (status, out, len(err.splitlines())) == (2, "", 1)
    assert "cannot name a submission" in err
