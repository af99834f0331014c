"""Where an encoder of others comes from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig


class Source:
    """Where an encoder comes from.

    Args:
        place: folder or hub name.
        revision: of a hub repository; None for its newest.
    """

    def __init__(self, place: str, revision: str | None) -> None:
        self.place, self.revision = place, revision

    @classmethod
    def of(cls, name: str) -> Source:
        """Read "name" or "name@revision"; a folder may hold an "@" in its own name."""
        if Path(name).is_dir():
            return cls(name, None)
        place, _, revision = name.partition("@")
        return cls(place, revision or None)

    @property
    def options(self) -> dict[str, Any]:
        """Of every `from_pretrained`."""
        return {"revision": self.revision or "main", "trust_remote_code": False}

    def config(self) -> Any:
        """Its configuration."""
        return AutoConfig.from_pretrained(self.place, **self.options)

    def load(self, family: Any, device: torch.device) -> Any:
        """The network, in float32 and for inference, from safetensors."""
        network = family.from_pretrained(
            self.place, use_safetensors=True, dtype=torch.float32, **self.options
        )
        return network.eval().requires_grad_(False).to(device)
