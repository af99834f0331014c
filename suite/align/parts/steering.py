"""Steering: a part that adds a vector to what each decoder layer puts out, at every forward pass.

The vectors may come from any method; SARSteer's are one kind (`greaves.methods.sarsteer`).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Self

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from greaves.align.part import Part
from greaves.base.store import write_json
from greaves.models.contract import LALM

VECTORS = "vectors.safetensors"
STRENGTH = "strength.json"


@dataclass(frozen=True, eq=False)
class Steering(Part):
    """A vector a layer, and the strength at which they are added (see `LALM.attach_steering`).

    Attributes:
        vectors: decoder layer, counted from 1 -> its vector, [hidden_size] in float32.
        alpha: what the vectors are multiplied by.
    """

    kind: ClassVar[str] = "steering"
    vectors: Mapping[int, Tensor]
    alpha: float

    def attached(self, model: LALM) -> AbstractContextManager[None]:
        """See `Part.attached`."""
        return model.attach_steering(self.vectors, self.alpha)

    def content_hash(self) -> str:
        """See `Part.content_hash`."""
        digest = hashlib.sha256(json.dumps(self.alpha).encode())
        for layer, vector in sorted(self.vectors.items()):
            numbers = vector.float().cpu().contiguous().numpy()
            digest.update(f"\0{layer}\0{numbers.shape}\0".encode())
            digest.update(numbers.astype("<f4").tobytes())
        return digest.hexdigest()

    def save(self, folder: Path) -> None:
        """See `Part.save`."""
        tensors = {
            f"layer.{layer}": vector.float().cpu().contiguous()
            for layer, vector in self.vectors.items()
        }
        save_file(tensors, folder / VECTORS)
        write_json(folder / STRENGTH, {"alpha": self.alpha})

    @classmethod
    def load(cls, folder: Path) -> Self:
        """See `Part.load`. Raises ValueError if the files hold something else."""
        try:
            tensors = load_file(folder / VECTORS)
        except SafetensorError as error:
            raise ValueError(f"{VECTORS}: {error}") from None
        alpha = json.loads((folder / STRENGTH).read_text(encoding="utf-8"))["alpha"]
        if not all(torch.isfinite(vector).all() for vector in tensors.values()):
            raise ValueError(f"{VECTORS} holds what is no number")
        vectors = {int(name.removeprefix("layer.")): one for name, one in tensors.items()}
        return cls(vectors, float(alpha))
