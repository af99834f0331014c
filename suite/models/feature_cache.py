"""Features of clips on disk, so that a clip passes a frozen audio tower once, not once a run."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from greaves.base.store import write_bytes

_NAME, _CHECKSUM = "features", "crc32"


@dataclass(frozen=True)
class FeatureCache:
    """A folder of tensors, one file a clip.

    Several processes may read and write it at once: a file is there whole or not at all, and two
    writers of one key write the same. A file that cannot be read, or whose checksum is wrong or
    missing, is a miss, and is written anew.

    Args:
        folder: of one model only (its fingerprint is to be part of the name); created when first
            written to.
    """

    folder: Path

    def get(self, key: str) -> Tensor | None:
        """The tensor kept under `key`, bit for bit as it was put, on the CPU; None for a miss."""
        try:
            with safe_open(self._path(key), "pt") as file:
                found: Tensor = file.get_tensor(_NAME)
                kept = (file.metadata() or {}).get(_CHECKSUM)
        except (OSError, SafetensorError):
            return None
        return found if kept == _checksum(found) else None

    def put(self, key: str, features: Tensor) -> None:
        """Keep a tensor.

        Args:
            key: hash of the clip's bytes, in hex.
            features: [tokens, hidden_size] on any device.

        Raises:
            StoreError: the folder cannot be written.
        """
        kept = features.detach().cpu().contiguous()
        write_bytes(self._path(key), save({_NAME: kept}, metadata={_CHECKSUM: _checksum(kept)}))

    def _path(self, key: str) -> Path:
        return self.folder / key[:2] / f"{key}.safetensors"


def _checksum(features: Tensor) -> str:
    """CRC-32 (hex) of type, shape and values: safetensors itself has none."""
    form = zlib.crc32(f"{features.dtype} {list(features.shape)}".encode())
    return f"{zlib.crc32(features.view(torch.uint8).numpy().data, form):08x}"
