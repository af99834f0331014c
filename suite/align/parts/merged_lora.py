"""A LoRA adapter in the weights."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import ClassVar

from greaves.align.parts.lora import LoRAAdapter
from greaves.models.contract import LALM


@dataclass(frozen=True)
class MergedLoRA(LoRAAdapter):
    """A LoRA adapter that has become part of the weights, with others trained on top of it."""

    kind: ClassVar[str] = "merged-lora"

    def attached(self, model: LALM) -> AbstractContextManager[None]:
        """See `Part.attached`."""
        return model.attach_merged_adapter(str(self.folder))
