"""Distance of each benign question to the nearest harmful one, and who is closest."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from greaves.base.errors import DataError


def nearest(benign: Tensor, harmful: Tensor) -> Tensor:
    """Minimum cosine distance of each benign row to any harmful row.

    Args:
        benign: [benign, size].
        harmful: [harmful, size].

    Returns:
        [benign] 1 - cosine, from 0 (the same direction) to 2, in float64. A row of zeros is at
        distance 1 from everything.

    Raises:
        DataError: a number is not finite.
    """
    if not (torch.isfinite(benign).all() and torch.isfinite(harmful).all()):
        raise DataError("an encoder gave embeddings that are not numbers", do="use another")
    left, right = (functional.normalize(rows.double(), dim=-1) for rows in (benign, harmful))
    return (1 - left @ right.T).clamp(0, 2).min(dim=1).values


def scaled(distances: Tensor) -> Tensor:
    """[items] distances moved and stretched to 0..1; all 0 where they do not differ."""
    low, high = distances.min(), distances.max()
    return (distances - low) / (high - low) if high > low else torch.zeros_like(distances)


def closest_first(distances: Tensor) -> list[int]:
    """Indices by rising distance; equal ones stay in order."""
    order: list[int] = distances.argsort(stable=True).tolist()
    return order


def count(fraction: float, total: int) -> int:
    """How many items a fraction is: rounded, at least one."""
    return max(1, round(fraction * total))
