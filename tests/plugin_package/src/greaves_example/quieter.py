"""A part of one's own: every clip is turned down before the model hears it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Self

from greaves.align.part import Part
from greaves.base.records import content_hash
from greaves.models.points import Point, Wave


@dataclass(frozen=True)
class Quieter(Part):
    """Clips at a share of their loudness.

    Attributes:
        share: that every sample is multiplied by.
    """

    kind = "quieter"
    points = frozenset[Point]({"clip"})
    share: float = 0.5

    def clip(self, wave: Wave, rate: int, seed: int) -> Wave:
        return wave * self.share

    def content_hash(self) -> str:
        return content_hash({"quieter": self.share})

    def save(self, folder: Path) -> None:
        (folder / "share.txt").write_text(repr(self.share))

    @classmethod
    def load(cls, folder: Path) -> Self:
        return cls(float((folder / "share.txt").read_text()))
