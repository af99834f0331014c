"""A standing system prompt."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Self

from greaves.align.part import Part
from greaves.align.prompt_file import read_prompt
from greaves.base.records import content_hash
from greaves.base.store import write_json
from greaves.models.contract import LALM


@dataclass(frozen=True)
class SystemPrompt(Part):
    """A text in the system turn of every conversation."""

    kind: ClassVar[str] = "system-prompt"
    text: str

    def attached(self, model: LALM) -> AbstractContextManager[None]:
        """See `Part.attached`."""
        return model.attach_system_prompt(self.text)

    def content_hash(self) -> str:
        """See `Part.content_hash`."""
        return content_hash({"system-prompt": self.text})

    def save(self, folder: Path) -> None:
        """See `Part.save`."""
        write_json(folder / "prompt.json", {"text": self.text})

    @classmethod
    def load(cls, folder: Path) -> Self:
        """See `Part.load`."""
        return cls(read_prompt(folder))
