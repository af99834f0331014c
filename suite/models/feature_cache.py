"""Features of clips on disk, so that a clip passes a frozen audio tower once, not once a run."""

from __future__ import annotations

import json
import zlib
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from greaves.base.store import write_bytes

_NAME, _CHECKSUM = "features", "crc32"


class FeatureCache:
    """A folder of tensors, one file a clip.

    Several processes may read and write it at once: a file is there whole or not at all, and two
    writers of one key write the same. A file that cannot be read, or whose checksum is wrong or
    missing, is a miss, and is written anew.

    Args:
        folder: of one model only (its fingerprint is to be part of the name); created when first
            written to.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def get(self, key: str) -> Tensor | None:
        """The tensor kept under `key`, bit for bit as it was put, on the CPU; None for a miss."""
        try:
            data = self._path(key).read_bytes()
            found: Tensor = load(data)[_NAME]
            intact = _checksum_kept(data) == _checksum(found)
        except (OSError, SafetensorError, LookupError, ValueError, TypeError):
            return None
        return found if intact else None

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


def _checksum_kept(data: bytes) -> str:
    """The checksum in a file's header. Raises LookupError, ValueError or TypeError without one."""
    length = int.from_bytes(data[:8], "little")
    kept: str = json.loads(data[8 : 8 + length])["__metadata__"][_CHECKSUM]
    return kept
