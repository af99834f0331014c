"""Weights in and out, one shard at a time: no more than one is ever held in memory."""

from __future__ import annotations

import json
import os
import pickle
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import split_state_dict_into_shards_factory
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from greaves.base.errors import ModelError
from greaves.base.store import write_json

SHARD_BYTES = 2_000_000_000
"""That a shard of the result holds at most, unless one tensor is larger."""

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
    what = "there are no weights (model*.safetensors or pytorch_model*.bin)"
    raise ModelError(what, where=str(folder), do="give the folder of a checkpoint")


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
        try:
            with path.open("rb") as file:
                start = file.read(len(_LFS_POINTER))
            self._tensors: Any = None if start == _LFS_POINTER else _open(path)
        except (SafetensorError, OSError, RuntimeError, EOFError, ValueError) as error:
            reason = str(error).split("\n", 1)[0] or type(error).__name__
            what = f"the weights cannot be read ({reason})"
            raise ModelError(what, where=str(path), do="fetch them again") from None
        except pickle.UnpicklingError:
            what = "it pickles more than tensors, which may run code"
            do = "use a checkpoint whose makers offer safetensors"
            raise ModelError(what, where=str(path), do=do) from None
        if self._tensors is None:
            what = "a Git LFS pointer, not the weights"
            raise ModelError(what, where=str(path), do="run `git lfs pull` in its folder")

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Name -> shape of every tensor, without reading the numbers."""
        if isinstance(self._tensors, dict):
            return {name: tuple(tensor.shape) for name, tensor in self._tensors.items()}
        names = self._tensors.keys()
        return {name: tuple(self._tensors.get_slice(name).get_shape()) for name in names}

    def dtype(self, name: str) -> torch.dtype:
        """Type of a tensor's numbers, without reading them."""
        return self.rows(name, slice(0)).dtype

    def rows(self, name: str, rows: slice) -> Tensor:
        """Rows of a tensor; no others are read."""
        tensors = self._tensors
        lazy = tensors[name] if isinstance(tensors, dict) else tensors.get_slice(name)
        found: Tensor = lazy[rows]
        return found


def _open(path: Path) -> Any:
    if path.suffix == ".safetensors":
        return safe_open(path, framework="pt")
    mapped = zipfile.is_zipfile(path)  # torch before 1.6 wrote another format
    found = torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    if not isinstance(found, dict) or not all(isinstance(x, Tensor) for x in found.values()):
        raise ValueError("not a table of tensors")
    return found


def write_shards(
    folder: Path, sizes: Mapping[str, int], read: Callable[[str], Tensor], shard_bytes: int
) -> int:
    """Write safetensors in shards, with an index where there is more than one.

    Args:
        folder: where they go; `model.safetensors`, or `model-00001-of-0000N.safetensors`.
        sizes: bytes of each tensor, in the order in which they are written.
        read: gives the tensor of a name; only those of one shard are held at a time.
        shard_bytes: that a shard holds at most, unless one tensor is larger.

    Returns:
        How many files there are.
    """
    plan = split_state_dict_into_shards_factory(
        dict(sizes),
        get_storage_size=lambda size: size,
        filename_pattern="model{suffix}.safetensors",
        max_shard_size=shard_bytes,
    )
    for name, tensors in plan.filename_to_tensors.items():
        path = folder / name
        save_file({one: read(one).contiguous() for one in tensors}, path, {"format": "pt"})
        path.chmod(0o644)  # safetensors writes files that only their owner may read
        with path.open("rb") as file:
            os.fsync(file.fileno())
    if plan.is_sharded:
        index = {"metadata": plan.metadata, "weight_map": plan.tensor_to_filename}
        write_json(folder / "model.safetensors.index.json", index)
    return len(plan.filename_to_tensors)
