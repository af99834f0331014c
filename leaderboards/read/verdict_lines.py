"""The verdicts that count, cell by cell: as `CellFolder.current_verdicts`, several times as fast.

Lines are decoded by msgspec. A file that it refuses is read record by record instead, which gives
the same verdicts or names the line that is wrong.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, TypeAlias

import msgspec
from pydantic import ValidationError

from greaves.base.records import Kind, Mode, Outcome, Question, Verdict
from greaves.base.run_folder import AskedQuestion, CellFolder
from greaves.base.store import read_lines, read_whole_lines


class VerdictLine(msgspec.Struct, forbid_unknown_fields=True, gc=False, kw_only=True):
    """One line of a verdict file, with the fields of `Verdict`."""

    key: str
    judge: str
    model: str
    method: str
    seed: int
    task: str
    task_version: str
    mode: Mode
    kind: Kind
    category: str
    question_id: str
    sample: int
    outcome: Outcome
    score: Annotated[float, msgspec.Meta(ge=1, le=10)] | None = None
    reason: str
    question_hash: str = ""


class _AskedLine(msgspec.Struct, forbid_unknown_fields=True):
    """One line of `questions.jsonl`; the question itself is left as it stands."""

    question: msgspec.Raw
    keys: list[str]


AnyVerdict: TypeAlias = Verdict | VerdictLine

_VERDICTS = msgspec.json.Decoder(VerdictLine)
_ASKED = msgspec.json.Decoder(_AskedLine)


def read_verdicts(path: Path) -> Sequence[AnyVerdict]:
    """All whole verdicts of a file, in order. Raises StoreError: as `read_lines`."""
    data = read_whole_lines(path)
    try:
        found = _VERDICTS.decode_lines(data)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return read_lines(path, Verdict)
    return found if len(found) == data.count(b"\n") else read_lines(path, Verdict)


class CurrentVerdicts:
    """Reads the cells of one run; a question that several cells ask is checked once."""

    def __init__(self) -> None:
        self._questions: set[bytes] = set()

    def of_cell(self, cell: CellFolder) -> Iterable[AnyVerdict]:
        """The last verdict of each judge on every response that is current.

        Raises:
            StoreError: a file of the cell is broken.
        """
        keys = self._keys(cell)
        last: dict[tuple[str, str], AnyVerdict] = {}
        for path in sorted(cell.path.glob("verdicts.*.jsonl")):
            for verdict in read_verdicts(path):
                if verdict.key in keys:
                    last[verdict.judge, verdict.key] = verdict
        return last.values()

    def _keys(self, cell: CellFolder) -> set[str]:
        """The keys of the responses that a cell asks for.

        Raises:
            StoreError: as `CellFolder.questions`.
        """
        path = cell.path / "questions.jsonl"
        data = read_whole_lines(path)
        try:
            lines = _ASKED.decode_lines(data)
            if len(lines) != data.count(b"\n"):
                raise msgspec.DecodeError
            for text in {bytes(line.question) for line in lines} - self._questions:
                Question.model_validate_json(text)
                self._questions.add(text)
        except (msgspec.MsgspecError, UnicodeDecodeError, ValidationError):
            return {key for item in read_lines(path, AskedQuestion) for key in item.keys}
        return {key for line in lines for key in line.keys}
