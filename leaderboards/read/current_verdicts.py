"""The verdicts that count, cell by cell and as columns: the last of each judge on each response."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import repeat

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from greaves.base.run_folder import AskedQuestion, CellFolder
from greaves.base.store import read_lines, read_whole_lines
from greaves.leaderboards.read.verdict_columns import Codes, VerdictReader, joined

_THREADS = 4
_LISTED = re.compile(rb', "keys": \[("[^\]\n]+")\]\}\n')
_PLAIN = re.compile(rb"[ !#-\[\]-~]*")  # what JSON writes as it is


@dataclass(frozen=True)
class CellVerdicts:
    """The current verdicts of one cell.

    Attributes:
        judged, asked, said: numbers into the reader's lists of the same name.
        key_hashes: of the responses' keys; equal keys have equal hashes within one process.
    """

    judged: Codes
    asked: Codes
    said: Codes
    key_hashes: NDArray[np.int64]


class CurrentVerdicts:
    """Reads what `CellFolder.current_verdicts` reads, without an object a verdict.

    Attributes:
        reader: tells what the numbers stand for.
    """

    def __init__(self) -> None:
        self.reader = VerdictReader()
        self._questions: set[bytes] = set()

    def of_cells(self, cells: Iterable[CellFolder]) -> Iterator[CellVerdicts]:
        """The verdicts of each cell, in order.

        Raises:
            StoreError: a file of a cell is broken.
        """
        with ThreadPoolExecutor(min(_THREADS, os.cpu_count() or 1)) as threads:
            yield from threads.map(self.of_cell, cells)

    def of_cell(self, cell: CellFolder) -> CellVerdicts:
        """The last verdict of each judge on every response that is current.

        Raises:
            StoreError: a file of the cell is broken.
        """
        asked = self._keys(cell)
        found = [self.reader.read(path) for path in sorted(cell.path.glob("verdicts.*.jsonl"))]
        all_verdicts = joined(found)
        keys = all_verdicts.keys
        found_at = map(asked.get, keys, repeat(-1))
        places = np.fromiter(found_at, dtype=np.int64, count=len(keys))
        judges = [one.judge for one in self.reader.judged]
        number = {judge: place for place, judge in enumerate(dict.fromkeys(judges))}
        judge_of = np.array([number[judge] for judge in judges], dtype=np.int64)
        last = np.full(len(number) * len(asked), -1)
        current = np.flatnonzero(places >= 0)
        slots = judge_of[all_verdicts.judged[current]] * len(asked) + places[current]
        np.maximum.at(last, slots, current)
        kept = np.sort(last[last >= 0])
        hashes = np.fromiter(map(hash, keys), dtype=np.int64, count=len(keys))
        judged, of, said = all_verdicts.judged, all_verdicts.asked, all_verdicts.said
        return CellVerdicts(judged[kept], of[kept], said[kept], hashes[kept])

    def _keys(self, cell: CellFolder) -> dict[bytes, int]:
        """The keys of the responses that a cell asks for, numbered.

        Raises:
            StoreError: as `CellFolder.questions`.
        """
        path = cell.path / "questions.jsonl"
        keys = self._plain_keys(read_whole_lines(path))
        if keys is None:
            keys = [key.encode() for item in read_lines(path, AskedQuestion) for key in item.keys]
        return {key: place for place, key in enumerate(dict.fromkeys(keys))}

    def _plain_keys(self, data: bytes) -> list[bytes] | None:
        """The keys, or None if a line is not as our own writer leaves it.

        Cells ask the same questions, so each question is read once for all of them.
        """
        *parts, rest = _LISTED.split(data)
        questions, listed = parts[::2], parts[1::2]
        new = set(questions).difference(self._questions)
        if rest or not all(map(_is_question, new)):
            return None
        self._questions |= new
        keys = b", ".join(listed)[1:-1].split(b'", "') if listed else []
        return keys if _PLAIN.fullmatch(b"".join(keys)) else None


def _is_question(text: bytes) -> bool:
    line = text + b', "keys": []}'
    try:
        return AskedQuestion.from_line(line.decode()).to_line().encode() == line
    except (ValidationError, UnicodeDecodeError):
        return False
