"""A LoRA adapter, beside the weights or in them."""

from __future__ import annotations

import hashlib
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Self

from greaves.align.part import Part
from greaves.models.points import Inside, Point


@dataclass(frozen=True)
class LoRAAdapter(Part):
    """A LoRA adapter in peft's own format, on the language model only.

    Attributes:
        folder: adapter_config.json and adapter_model.safetensors. Kept with them, if they are
            there: losses.json, the course of the training, and selection.json, which questions it
            was trained on and why.
    """

    kind = "lora"
    points = frozenset[Point]({"adapters"})
    folder: Path
    files: ClassVar[tuple[str, str]] = ("adapter_config.json", "adapter_model.safetensors")
    beside: ClassVar[str] = "losses.json"
    selection: ClassVar[str] = "selection.json"

    def inside(self) -> Inside:
        return Inside(adapter=self.folder)

    def content_hash(self) -> str:
        digest = hashlib.sha256()
        for name in self.files:
            digest.update(hashlib.sha256((self.folder / name).read_bytes()).digest())
        return digest.hexdigest()

    def save(self, folder: Path) -> None:
        for name in (*self.files, self.beside, self.selection):
            if name in self.files or (self.folder / name).is_file():
                shutil.copyfile(self.folder / name, folder / name)

    @classmethod
    def load(cls, folder: Path) -> Self:
        return cls(folder)


@dataclass(frozen=True)
class MergedLoRA(LoRAAdapter):
    """A LoRA adapter that has become part of the weights, with others trained on top of it."""

    kind = "merged-lora"

    def inside(self) -> Inside:
        return Inside(adapter=self.folder, merged=True)
