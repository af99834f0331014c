"""A LoRA adapter in the weights."""

from __future__ import annotations

from dataclasses import dataclass

from greaves.align.parts.lora import LoRAAdapter
from greaves.models.points import Inside


@dataclass(frozen=True)
class MergedLoRA(LoRAAdapter):
    """A LoRA adapter that has become part of the weights, with others trained on top of it."""

    kind = "merged-lora"

    def inside(self) -> Inside:
        return Inside(adapter=self.folder, merged=True)
