"""Archives that an enemy made are refused before anything is unpacked."""

from __future__ import annotations

import stat
import struct
import zipfile
from pathlib import Path

import pytest

from greaves.base.errors import GreavesError
from greaves.leaderboards.submission import archive
from greaves.leaderboards.submission.archive import unzipped, zipped
from greaves.leaderboards.submission.contents import read_submission

MEMBERS = {"submission.json": b"{}", "cells/000-a-b-seed-0/cell.json": b"{}"}


def write(path: Path, *members: tuple[zipfile.ZipInfo | str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, data in members:
            file.writestr(name, data, zipfile.ZIP_DEFLATED)
    return path


def test_members_come_back_and_bytes_do_not_depend_on_their_order(tmp_path: Path) -> None:
    data = zipped(MEMBERS)
    assert data == zipped(dict(reversed(MEMBERS.items())))
    file = tmp_path / "a.zip"
    file.write_bytes(data)
    assert unzipped(file) == MEMBERS


@pytest.mark.parametrize(
    "name",
    [
        "../submission.json",
        "/etc/passwd",
        "cells/../cell.json",
        "cells/000-a/../../x/cell.json",
        "cells/000-a/responses.pkl",
        "cells\\000-a\\cell.json",
        "C:/cells/cell.json",
    ],
)
def test_names_outside_the_format_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(GreavesError, match="a member that the format does not have"):
        unzipped(write(tmp_path / "a.zip", (name, b"{}")))


def test_a_link_is_refused(tmp_path: Path) -> None:
    info = zipfile.ZipInfo("submission.json")
    info.create_system, info.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
    with pytest.raises(GreavesError, match="no plain file but a link"):
        unzipped(write(tmp_path / "a.zip", (info, b"/etc/passwd")))


def test_a_bomb_is_refused(tmp_path: Path) -> None:
    with pytest.raises(GreavesError, match="unpacks more than 200-fold"):
        unzipped(write(tmp_path / "a.zip", ("submission.json", bytes(8 * 2**20))))


def test_a_bomb_that_lies_about_its_size_is_refused(tmp_path: Path) -> None:
    file = write(tmp_path / "a.zip", ("submission.json", bytes(8 * 2**20)))
    data = file.read_bytes()
    real, told = struct.pack("<L", 8 * 2**20), struct.pack("<L", 100)
    assert data.count(real) == 2
    file.write_bytes(data.replace(real, told))
    with pytest.raises(GreavesError, match="a broken archive"):
        unzipped(file)


def test_too_much_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "a.zip"
    file.write_bytes(zipped(MEMBERS))
    for limit, message in (
        ("MAX_PACKED", "larger than"),
        ("MAX_UNPACKED", "unpacks to more than"),
        ("MAX_MEMBERS", "more than 1 members"),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(archive, limit, 1)
            with pytest.raises(GreavesError, match=message):
                unzipped(file)


def test_the_same_name_twice_is_refused(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="Duplicate"):
        file = write(tmp_path / "a.zip", ("submission.json", b"1"), ("submission.json", b"2"))
    with pytest.raises(GreavesError, match="the same member twice"):
        unzipped(file)


@pytest.mark.parametrize("data", [b"", b"hello", b"PK\5\6", bytes(100), b"x" * 40 + b"PK\5\6"])
def test_what_is_no_archive_is_refused(tmp_path: Path, data: bytes) -> None:
    file = tmp_path / "a.zip"
    file.write_bytes(data)
    with pytest.raises(GreavesError, match=r"a\.zip: not a submission"):
        unzipped(file)


def test_a_truncated_or_flipped_archive_is_refused(tmp_path: Path) -> None:
    data = zipped(MEMBERS)
    file = tmp_path / "a.zip"
    for place in range(0, len(data), 3):
        file.write_bytes(data[:place] + bytes([data[place] ^ 0xFF]) + data[place + 1 :])
        with pytest.raises(GreavesError) as caught:
            read_submission(file)
        assert "\n" not in str(caught.value)


def test_a_file_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(GreavesError, match="there is no such file; make one: greaves submit RUN"):
        unzipped(tmp_path / "none.zip")


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b"[" * 100_000, b'{"format": 2}', b"\xff"])
def test_a_manifest_that_cannot_be_read_is_one_line(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "a.zip"
    file.write_bytes(zipped({"submission.json": content}))
    with pytest.raises(GreavesError, match=r"submission\.json: not a submission this Greaves"):
        read_submission(file)


def test_an_archive_without_a_manifest_is_one_line(tmp_path: Path) -> None:
    file = tmp_path / "a.zip"
    file.write_bytes(zipped({"leaderboard.json": b"[]"}))
    with pytest.raises(GreavesError, match=r"no submission\.json"):
        read_submission(file)
