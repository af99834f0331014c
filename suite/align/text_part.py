"""Parts that are a text: how they are hashed, saved and read."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from greaves.align.part import Part
from greaves.base.records import content_hash
from greaves.base.store import write_json
from greaves.base.text import whole
from greaves.models.points import Point


@dataclass(frozen=True)
class TextPart(Part):
    """A text that stands in every conversation; a subclass says where."""

    points = frozenset[Point]({"conversation"})
    text: str

    def content_hash(self) -> str:
        return content_hash({self.kind: self.text})

    def save(self, folder: Path) -> None:
        write_json(folder / "prompt.json", {"text": self.text})

    @classmethod
    def load(cls, folder: Path) -> Self:
        text = json.loads((folder / "prompt.json").read_text(encoding="utf-8"))["text"]
        if not isinstance(text, str) or whole(text) != text:
            raise TypeError("not a text that a tokenizer takes")
        return cls(text)
