"""Steering: a part that adds a vector to what each decoder layer puts out, at every forward pass.

The vectors may come from any method; SARSteer's are one kind (`greaves.methods.sarsteer`).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from greaves.align.part import Part
from greaves.base.errors import ModelError
from greaves.base.store import write_json
from greaves.models.points import Inside, Point, TensorChange

VECTORS = "vectors.safetensors"
STRENGTH = "strength.json"


@dataclass(frozen=True, eq=False)
class Steering(Part):
    """A vector per layer, added where the model generates from: at the last prompt position and
    every response token, once each and for good. Prompt positions before the last are not steered.

    Attributes:
        vectors: decoder layer, counted from 1 -> its vector, [hidden_size] in float32.
        alpha: what the vectors are multiplied by.
    """

    kind = "steering"
    points = frozenset[Point]({"layers"})
    vectors: Mapping[int, Tensor]
    alpha: float

    def inside(self) -> Inside:
        return Inside(layers={n: _adding(self.alpha * v.float()) for n, v in self.vectors.items()})

    def content_hash(self) -> str:
        digest = hashlib.sha256(json.dumps(self.alpha).encode())
        for layer, vector in sorted(self.vectors.items()):
            numbers = vector.float().cpu().contiguous().numpy()
            digest.update(f"\0{layer}\0{numbers.shape}\0".encode())
            digest.update(numbers.astype("<f4").tobytes())
        return digest.hexdigest()

    def save(self, folder: Path) -> None:
        tensors = {f"layer.{n}": v.float().cpu().contiguous() for n, v in self.vectors.items()}
        save_file(tensors, folder / VECTORS)
        write_json(folder / STRENGTH, {"alpha": self.alpha})

    @classmethod
    def load(cls, folder: Path) -> Self:
        try:
            tensors = load_file(folder / VECTORS)
        except SafetensorError as error:
            raise ValueError(f"{VECTORS}: {error}") from None
        alpha = json.loads((folder / STRENGTH).read_text(encoding="utf-8"))["alpha"]
        if not all(torch.isfinite(vector).all() for vector in tensors.values()):
            raise ValueError(f"{VECTORS} holds numbers that are not finite")
        vectors = {int(name.removeprefix("layer.")): one for name, one in tensors.items()}
        return cls(vectors, float(alpha))


def _adding(step: Tensor) -> TensorChange:
    def add(hidden: Tensor) -> Tensor:
        nonlocal step
        if step.shape != hidden.shape[1:]:
            size = [*hidden.shape[1:]]
            what = f"a steering vector is {[*step.shape]}, the model's hidden states {size}"
            raise ModelError(what, do="use vectors that were made for this model")
        step = step.to(hidden.device)  # moved once: afterwards it is there
        return hidden + step

    return add
