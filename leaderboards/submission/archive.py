"""The archive itself: written with the same bytes every time, read as if an enemy had written it.

Nothing is ever unpacked to disk: members are read into memory, under limits that are checked before
the first byte is decompressed, and only names that the format has are read at all.
"""

from __future__ import annotations

import io
import re
import stat
import struct
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path

from greaves.base.errors import GreavesError

MAX_PACKED = 512 * 2**20
MAX_UNPACKED = 2 * 2**30
MAX_MEMBERS = 4096
MAX_RATIO = 200
"""Records compress about tenfold (their keys are random); a bomb a thousandfold."""

_FREE = 2**20  # bytes a member may unpack to at any ratio
_NAME = re.compile(
    r"submission\.json|leaderboard\.json|"
    r"cells/\d{3,4}-[A-Za-z0-9._-]{1,120}/"
    r"(cell\.json|questions\.jsonl|responses\.jsonl|verdicts\.[A-Za-z0-9._-]{1,60}\.jsonl)",
    re.ASCII,
)
_TIME = (1980, 1, 1, 0, 0, 0)
_END = struct.Struct("<4s4H2LH")  # end of the central directory
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


def zipped(members: Mapping[str, bytes]) -> bytes:
    """An archive of `members`: sorted names, fixed times and rights, so equal content is equal."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name in sorted(members):
            info = zipfile.ZipInfo(name, _TIME)
            info.compress_type = zipfile.ZIP_DEFLATED
            info.create_system = 3
            info.external_attr = (stat.S_IFREG | 0o644) << 16
            archive.writestr(info, members[name])
    return out.getvalue()


def unzipped(path: Path) -> dict[str, bytes]:
    """Name -> bytes of every member.

    Raises:
        GreavesError: there is no such file, it is no archive of `zipped`, or it is more than a
            submission can be: too large, too many members, a ratio only bombs have, a link, a name
            outside the format, the same name twice.
    """
    where = str(path)
    try:
        if path.stat().st_size > MAX_PACKED:
            raise _refused(f"larger than {MAX_PACKED >> 20} MiB", where)
        data = path.read_bytes()
        _check_end(data, where)
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            _check(archive.infolist(), where)
            return {info.filename: archive.read(info) for info in archive.infolist()}
    except FileNotFoundError:
        do = "make one: greaves submit RUN"
        raise GreavesError("there is no such file", where=where, do=do) from None
    except OSError as error:
        raise GreavesError(f"cannot be read ({error.strerror})", where=where) from None
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, ValueError) as error:
        raise _refused(f"a broken archive ({error})", where) from None


def _check_end(data: bytes, where: str) -> None:
    """Refuse a directory of millions of entries before zipfile makes an object of each."""
    if len(data) < _END.size:
        raise _refused("no zip archive", where)
    mark, _, _, _, members, directory, _, _ = _END.unpack(data[-_END.size :])
    if mark != b"PK\5\6":
        raise _refused("no zip archive as `greaves submit` writes it", where)
    if members > MAX_MEMBERS or directory > MAX_MEMBERS * 512:
        raise _refused(f"more than {MAX_MEMBERS} members", where)


def _check(members: list[zipfile.ZipInfo], where: str) -> None:
    names = [info.filename for info in members]
    if len(members) > MAX_MEMBERS:
        raise _refused(f"more than {MAX_MEMBERS} members", where)
    if len(set(names)) < len(names):
        raise _refused("the same member twice", where)
    if sum(info.file_size for info in members) > MAX_UNPACKED:
        raise _refused(f"unpacks to more than {MAX_UNPACKED >> 20} MiB", where)
    for info in members:
        if not _NAME.fullmatch(info.filename):
            raise _refused(f"a member that the format does not have: {info.filename!r}", where)
        if stat.S_IFMT(info.external_attr >> 16) not in (0, stat.S_IFREG):
            raise _refused(f"{info.filename} is no plain file but a link or device", where)
        if info.flag_bits & 1 or info.compress_type not in _METHODS:
            raise _refused(f"{info.filename} is encrypted or oddly compressed", where)
        if info.file_size > max(_FREE, MAX_RATIO * info.compress_size):
            raise _refused(f"{info.filename} unpacks more than {MAX_RATIO}-fold", where)


def _refused(what: str, where: str) -> GreavesError:
    do = "ask its author for the file as packed"
    return GreavesError(f"not a submission: {what}", where=where, do=do)
