"""Verdict files as columns: what `read_lines` reads, in a tenth of the time and of the memory.

A line that our own writer left is made of a few texts that come again and again: who was judged by
whom, which question it was, what the judge said. A file is cut at its quotation marks; each text is
read by `Verdict` itself when it is first seen, and must come out as it went in. A file with a line
that is not of this form is read line by line instead, which gives the same columns or names the
line that is wrong.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from greaves.base.records import Kind, Mode, Outcome, Verdict
from greaves.base.store import read_lines, read_whole_lines

Codes = NDArray[np.int64]
Places = NDArray[np.intp]


class Judged(NamedTuple):
    """Who was judged, and by whom."""

    judge: str
    model: str
    method: str
    seed: int


class Asked(NamedTuple):
    """On which question."""

    task: str
    task_version: str
    mode: Mode
    kind: Kind
    category: str
    question_id: str


class Said(NamedTuple):
    """Which of the responses to the question, and what the judge said of it."""

    sample: int
    outcome: Outcome
    score: float | None


@dataclass(frozen=True)
class VerdictColumns:
    """Verdicts, each a key and three numbers into the reader's `judged`, `asked` and `said`."""

    keys: Sequence[bytes]
    judged: Codes
    asked: Codes
    said: Codes


_TEMPLATE = Verdict(
    key="",
    judge="",
    model="",
    method="",
    seed=0,
    task="",
    task_version="",
    mode="audio-text",
    kind="harmful",
    category="",
    question_id="",
    sample=0,
    outcome="unscored",
    reason="",
)
_LINE = _TEMPLATE.to_line().encode()
_MARKS = _LINE.count(b'"')


def _mark(name: bytes) -> int:
    """Which of a line's quotation marks opens a name."""
    return _LINE[: _LINE.index(name)].count(b'"')


_PIECE = 1 << 18
_KEY = 2  # opens the key itself
_JUDGED, _ASKED, _SAID = _mark(b'"judge"'), _mark(b'"task"'), _mark(b'"sample"')
_REASON = _mark(b'"reason"')
_END = _MARKS - 1
_FIXED = {
    _KEY + 1: b'", "',
    _REASON: b'"reason": "',
    _REASON + 3: b'", "question_hash": "',
    _END: b'"}\n',
}
"""What must stand from a mark on. Between the other marks stands what `_Known` looks at."""

_ESCAPE = re.compile(
    rb"\\(?:[/bfnrt]|u(?:[0-9a-ce-f][0-9a-f]{3}|d[0-7][0-9a-f]{2}"
    rb"|d[89ab][0-9a-f]{2}\\ud[c-f][0-9a-f]{2}))"
)

T = TypeVar("T", Judged, Asked, Said)


class _Known(Generic[T]):
    """The distinct texts of one part of a line, each read once.

    Args:
        part: what a text of this part says.
    """

    def __init__(self, part: type[T]) -> None:
        self.values: list[T] = []
        self._part: type[T] = part
        self._own = json.dumps({name: getattr(_TEMPLATE, name) for name in part._fields})[1:-1]
        self._of_text: dict[bytes, int] = {}
        self._of_value: dict[T, int] = {}
        self._lock = threading.Lock()

    def codes(self, texts: Sequence[bytes]) -> Codes | None:
        """The place of each text in `values`, or None if one of them is not of the form."""
        for text in set(texts).difference(self._of_text):
            line = _LINE.replace(self._own.encode(), text)
            try:
                verdict = Verdict.from_line(line.decode())
            except ValidationError:
                return None
            if verdict.to_line().encode() != line:
                return None
            self._of_text[text] = self.code(verdict)
        return np.fromiter(map(self._of_text.__getitem__, texts), dtype=np.int64, count=len(texts))

    def code(self, verdict: Verdict) -> int:
        """The place in `values` of what a verdict says in this part."""
        value = self._part(*(getattr(verdict, name) for name in self._part._fields))
        with self._lock:
            if value not in self._of_value:
                self.values.append(value)
                self._of_value[value] = len(self.values) - 1
            return self._of_value[value]


class VerdictReader:
    """Reads the verdict files of one run, in any number of threads.

    Attributes:
        judged, asked, said: what the numbers of `VerdictColumns` stand for.
    """

    def __init__(self) -> None:
        self._judged, self._asked, self._said = _Known(Judged), _Known(Asked), _Known(Said)
        self.judged = self._judged.values
        self.asked = self._asked.values
        self.said = self._said.values

    def read(self, path: Path) -> VerdictColumns:
        """All whole verdicts of a file, in order.

        Raises:
            StoreError: as `read_lines`.
        """
        pieces = []
        for data in _pieces(read_whole_lines(path)):
            piece = self._by_parts(data)
            if piece is None:
                return self._by_line(path)
            pieces.append(piece)
        return joined(pieces)

    def _by_line(self, path: Path) -> VerdictColumns:
        verdicts = read_lines(path, Verdict)
        judged, asked, said = (
            np.fromiter(map(known.code, verdicts), dtype=np.int64, count=len(verdicts))
            for known in (self._judged, self._asked, self._said)
        )
        return VerdictColumns([one.key.encode() for one in verdicts], judged, asked, said)

    def _by_parts(self, data: bytes) -> VerdictColumns | None:
        marks = _quotation_marks(data)
        if marks is None:
            return None
        keys = _texts(data, marks[_KEY] + 1, marks[_KEY + 1])
        if b"\\" in b"".join(keys):
            return None
        judged = self._judged.codes(_texts(data, marks[_JUDGED], marks[_ASKED] - 2))
        asked = self._asked.codes(_texts(data, marks[_ASKED], marks[_SAID] - 2))
        said = self._said.codes(_texts(data, marks[_SAID], marks[_REASON] - 2))
        if judged is None or asked is None or said is None:
            return None
        return VerdictColumns(keys, judged, asked, said)


def joined(parts: Sequence[VerdictColumns]) -> VerdictColumns:
    """The verdicts of several parts, one after the other."""
    none = np.zeros(0, dtype=np.int64)
    return VerdictColumns(
        [key for part in parts for key in part.keys],
        np.concatenate([none, *(part.judged for part in parts)]),
        np.concatenate([none, *(part.asked for part in parts)]),
        np.concatenate([none, *(part.said for part in parts)]),
    )


def _pieces(data: bytes) -> Iterator[bytes]:
    """Whole lines, about as many at a time as a processor's cache holds."""
    start = 0
    while start < len(data):
        end = data.find(b"\n", start + _PIECE) + 1 or len(data)
        yield data[start:end]
        start = end


def _texts(data: bytes, starts: Places, ends: Places) -> list[bytes]:
    return list(map(data.__getitem__, map(slice, starts.tolist(), ends.tolist())))


def _quotation_marks(data: bytes) -> Places | None:
    """[marks of a line, lines]: where the quotation marks stand, without those within a text.

    None if the lines have not all as many, or if anything but the parts that `_Known` looks at, and
    the inside of key, reason and hash, differs from the template.
    """
    bare = data
    if b"\\" in data:
        bare = data.replace(b"\\\\", b"__").replace(b'\\"', b"__")
        if b"".join(_ESCAPE.findall(bare)).count(b"\\") != bare.count(b"\\"):
            return None
    codes = np.frombuffer(bare, dtype=np.uint8)
    lines = np.flatnonzero(codes < ord(" "))
    found = np.flatnonzero(codes == ord('"'))
    if not data.isascii() or (codes[lines] != ord("\n")).any() or len(found) != _MARKS * len(lines):
        return None
    marks = np.ascontiguousarray(found.reshape(-1, _MARKS).T)
    starts = np.concatenate(([0], lines[:-1] + 1)).astype(np.intp)[: len(lines)]
    fixed = [(starts, b'{"key": "'), *((marks[mark], text) for mark, text in _FIXED.items())]
    fixed += [(marks[mark] - 2, b", ") for mark in (_ASKED, _SAID, _REASON)]
    lengths = {
        _KEY: starts + 8,
        _JUDGED: marks[_KEY + 1] + 3,
        _REASON + 2: marks[_REASON] + len(_FIXED[_REASON]) - 1,
        _REASON + 6: marks[_REASON + 3] + len(_FIXED[_REASON + 3]) - 1,
        _END: lines - 2,
    }
    right = all((marks[mark] == place).all() for mark, place in lengths.items()) and all(
        (codes.take(places + offset, mode="clip") == code).all()
        for places, text in fixed
        for offset, code in enumerate(text)
    )
    return marks if right else None
