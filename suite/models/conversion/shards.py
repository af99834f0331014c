"""Weights in and out, one shard at a time: no more than one is ever held in memory."""

from __future__ import annotations

import json
import os
import pickle
import zipfile
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from greaves.base.errors import ModelError
from greaves.base.store import write_json

SHARD_BYTES = 2_000_000_000
"""A shard is written once it holds this much."""

_FORMATS = ("model*.safetensors", "pytorch_model*.bin")
_LFS_POINTER = b"version https://git-lfs"


def weight_files(folder: Path) -> list[Path]:
    """The files that hold a checkpoint's weights: safetensors if there are any, else .bin.

    Raises:
        ModelError: there are none, or the index names one that is not there.
    """
    for pattern in _FORMATS:
        for index in sorted(folder.glob(f"{pattern}.index.json")):
            return _indexed(index)
        found = sorted(folder.glob(pattern))
        if found:
            return found
    raise ModelError(
        "there are no weights (model*.safetensors or pytorch_model*.bin)",
        where=str(folder),
        do="give the folder of a checkpoint",
    )


def _indexed(index: Path) -> list[Path]:
    try:
        names = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
        files = [index.with_name(name) for name in sorted(names) if Path(name).name == name]
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        files, names = [], set()
    if not files or len(files) < len(names):
        raise ModelError("not an index of weights", where=str(index), do="fetch it again")
    for file in files:
        if not file.is_file():
            raise ModelError(f"{index.name} names it, but it is not there", where=str(file))
    return files


class WeightFile:
    """One file of weights; a tensor's numbers are read when it is asked for.

    Args:
        path: safetensors, or what `torch.save` made of a table of tensors (.bin).

    Raises:
        ModelError: the file is broken, a Git LFS pointer, or pickles more than tensors. Nothing in
            it is ever run.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            with path.open("rb") as file:
                start = file.read(len(_LFS_POINTER))
            self._tensors: Any = None if start == _LFS_POINTER else _open(path)
        except (SafetensorError, OSError, RuntimeError, EOFError, ValueError) as error:
            reason = str(error).split("\n", 1)[0] or type(error).__name__
            raise ModelError(
                f"the weights cannot be read ({reason})", where=str(path), do="fetch them again"
            ) from None
        except pickle.UnpicklingError:
            raise ModelError(
                "it pickles more than tensors, which may run code",
                where=str(path),
                do="use a checkpoint whose makers offer safetensors",
            ) from None
        if self._tensors is None:
            raise ModelError(
                "a Git LFS pointer, not the weights",
                where=str(path),
                do="run `git lfs pull` in its folder",
            )

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Name -> shape of every tensor, without reading the numbers."""
        if isinstance(self._tensors, dict):
            return {name: tuple(tensor.shape) for name, tensor in self._tensors.items()}
        names = self._tensors.keys()
        return {name: tuple(self._tensors.get_slice(name).get_shape()) for name in names}

    def tensor(self, name: str) -> Tensor:
        """The tensor of that name."""
        tensors = self._tensors
        found: Tensor = tensors[name] if isinstance(tensors, dict) else tensors.get_tensor(name)
        return found


def _open(path: Path) -> Any:
    if path.suffix == ".safetensors":
        return safe_open(path, framework="pt")
    mapped = zipfile.is_zipfile(path)  # torch before 1.6 wrote another format
    found = torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    if not isinstance(found, dict) or not all(isinstance(x, Tensor) for x in found.values()):
        raise ValueError("not a table of tensors")
    return found


class ShardWriter:
    """Safetensors in shards, with an index where there is more than one.

    Args:
        folder: where they go; `model.safetensors`, or `model-00001-of-0000N.safetensors`.
        shard_bytes: see `SHARD_BYTES`.
    """

    def __init__(self, folder: Path, shard_bytes: int = SHARD_BYTES) -> None:
        self.folder, self.shard_bytes = folder, shard_bytes
        self.total_bytes = 0
        self._pending: dict[str, Tensor] = {}
        self._pending_bytes = 0
        self._shards: list[list[str]] = []

    def add(self, name: str, tensor: Tensor) -> None:
        """Take a tensor; what was taken before may be written now."""
        size = tensor.numel() * tensor.element_size()
        if self._pending and self._pending_bytes + size > self.shard_bytes:
            self._write()
        self._pending[name] = tensor.contiguous()
        self._pending_bytes += size
        self.total_bytes += size

    def close(self) -> list[Path]:
        """Write what is left, give the shards their names and write the index.

        Returns:
            The files of weights.
        """
        if self._pending:
            self._write()
        count = len(self._shards)
        files = [self._part(number) for number in range(1, count + 1)]
        if count == 1:
            return [files[0].rename(self.folder / "model.safetensors")]
        weight_map: dict[str, str] = {}
        for number, names in enumerate(self._shards, start=1):
            final = self.folder / f"model-{number:05d}-of-{count:05d}.safetensors"
            files[number - 1] = files[number - 1].rename(final)
            weight_map |= dict.fromkeys(names, final.name)
        write_json(
            self.folder / "model.safetensors.index.json",
            {"metadata": {"total_size": self.total_bytes}, "weight_map": weight_map},
        )
        return files

    def _part(self, number: int) -> Path:
        return self.folder / f"model-{number:05d}.part"

    def _write(self) -> None:
        self._shards.append(list(self._pending))
        path = self._part(len(self._shards))
        save_file(self._pending, path, metadata={"format": "pt"})
        path.chmod(0o644)  # safetensors writes files that only their owner may read
        with path.open("rb") as file:
            os.fsync(file.fileno())
        self._pending, self._pending_bytes = {}, 0
