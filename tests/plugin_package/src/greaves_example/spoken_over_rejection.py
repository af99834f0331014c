"""A task of one's own on AIAH's data: is a benign question refused when only the clip speaks?"""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from greaves.base.records import Kind, Mode, Question
from greaves.data.task import Task, field, inside, read_json_lines


class SpokenOverRejection(Task):
    """ORR on spoken benign questions with no text at all."""

    name: ClassVar[str] = "spoken-over-rejection"
    version: ClassVar[str] = "1"
    benchmark: ClassVar[str] = "spoken"
    kind: ClassVar[Kind] = "benign"
    mode: ClassVar[Mode] = "audio-only"

    def questions(self, data: Path) -> list[Question]:
        """The benign lines of `questions.jsonl`."""
        return [
            Question(
                id=field(row, "id", where),
                task=self.name,
                task_version=self.version,
                kind=self.kind,
                mode=self.mode,
                text=field(row, "text", where),
                clip=str(inside(data, field(row, "clip", where), where)),
            )
            for where, row in read_json_lines(data / "questions.jsonl")
            if row.get("kind") == self.kind
        ]
