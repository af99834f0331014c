"""Which benign questions are fine-tuned on, by their distance to the nearest harmful one."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import functional

from greaves.align.defence import Defence
from greaves.align.method import RunContext
from greaves.align.proximity import config as proximity
from greaves.align.proximity.config import FarthestFilter, ProximityConfig, SelectionConfig
from greaves.align.proximity.encoders import find_encoder, identity
from greaves.align.training.processes import computed_once
from greaves.base.errors import DataError
from greaves.base.records import content_hash
from greaves.data.alignment.sets import AlignmentItem
from greaves.models.contract import LALM

_AXES: dict[str, tuple[Literal["semantic", "acoustic"], ...]] = {
    "semantic": ("semantic",),
    "acoustic": ("acoustic",),
    "mixed": ("semantic", "acoustic"),
    "random": (),
}


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


@dataclass(frozen=True)
class Selection:
    """What was chosen, and why.

    Attributes:
        config: axis, encoders, side and fraction.
        filters: that were honoured before.
        ids: [benign] of all questions.
        distances: axis -> [benign] minimum cosine distance to a harmful question; the axes that
            entered, none for "random".
        order: [benign] what was sorted by; None for "random".
        kept: indices of the questions that the filters left.
        taken: indices of the questions that are fine-tuned on, in the set's order.
    """

    config: SelectionConfig
    filters: list[FarthestFilter]
    ids: list[str]
    distances: dict[str, Tensor]
    order: Tensor | None
    kept: list[int]
    taken: list[int]

    def chosen(self, benign: Sequence[AlignmentItem]) -> list[AlignmentItem]:
        """The questions that are fine-tuned on."""
        return [benign[index] for index in self.taken]

    def summary(self) -> dict[str, Any]:
        """A few words for a defence's notes."""
        return {
            "axis": self.config.axis,
            "side": None if self.order is None else self.config.side,
            "questions": len(self.taken),
            "of": len(self.ids),
            "left_by_filters": len(self.kept),
            "ids": content_hash({"ids": [self.ids[index] for index in self.taken]})[:16],
        }

    def as_plain(self) -> dict[str, Any]:
        """Every question with its distances, for the file beside the adapter."""
        kept, taken = set(self.kept), set(self.taken)
        return {
            **self.summary(),
            "fraction": self.config.fraction,
            "encoders": {axis: getattr(self.config, f"{axis}_encoder") for axis in self.distances},
            "filters": [one.model_dump(mode="json") for one in self.filters],
            "items": [
                {
                    "id": name,
                    **{axis: float(found[index]) for axis, found in self.distances.items()},
                    "kept": index in kept,
                    "taken": index in taken,
                }
                for index, name in enumerate(self.ids)
            ],
        }


def select(
    model: LALM,
    benign: Sequence[AlignmentItem],
    harmful: Sequence[AlignmentItem],
    defence: Defence,
    config: SelectionConfig,
    context: RunContext,
) -> Selection:
    """Choose by proximity.

    The defence's filters leave their share first. Of what is left, as many questions are taken as
    `fraction` is of the whole set (fewer if the filters left fewer).

    Args:
        model: whose own audio encoder may be asked.
        benign: what there is to fine-tune on.
        harmful: the reference set.
        defence: whose filters are honoured.
        config: axis, encoders, side, fraction.
        context: folder, where distances are kept for a resumed run and for other processes; seed
            of the axis "random".

    Raises:
        DataError: there are no benign questions, or no harmful reference.
        ModelError: an encoder cannot be loaded.
    """
    if not benign or not harmful:
        kind = "benign" if not benign else "harmful"
        raise DataError(f"benign fine-tuning needs {kind} questions", do="give it another set")
    kept = list(range(len(benign)))
    filters = proximity.filters_of(defence)
    for one in filters:
        _, order = _distances(model, benign, harmful, one, context)
        farthest = None if order is None else -order
        left = _first(len(kept), kept, farthest, f"filter of seed {context.seed}")
        kept = sorted(left[: count(one.keep, len(benign))])
    distances, order = _distances(model, benign, harmful, config, context)
    wanted_first = order if order is None or config.side == "closest" else -order
    seed, wanted = f"benign fine-tuning of seed {context.seed}", count(config.fraction, len(benign))
    taken = sorted(_first(wanted, kept, wanted_first, seed))
    return Selection(config, filters, [item.id for item in benign], distances, order, kept, taken)


def _first(wanted: int, kept: Sequence[int], order: Tensor | None, seed: str) -> list[int]:
    """Indices in `kept`, by rising `order`; drawn at random where that is None."""
    if order is None:
        return random.Random(seed).sample(kept, min(wanted, len(kept)))
    among = set(kept)
    return [index for index in closest_first(order) if index in among][:wanted]


def encoders_of(configs: Sequence[ProximityConfig]) -> dict[str, str]:
    """Encoders that have to be loaded, by name -> what tells their weights from others."""
    names = {getattr(one, f"{axis}_encoder") for one in configs for axis in _AXES[one.axis]}
    return {name: identity(name) for name in sorted(names - {proximity.OWN, proximity.TF_IDF})}


def _distances(
    model: LALM,
    benign: Sequence[AlignmentItem],
    harmful: Sequence[AlignmentItem],
    config: ProximityConfig,
    context: RunContext,
) -> tuple[dict[str, Tensor], Tensor | None]:
    """Distances by axis, and what is sorted by; None where nothing is measured."""
    found: dict[str, Tensor] = {}
    for axis in _AXES[config.axis]:
        encoder = getattr(config, f"{axis}_encoder")
        name = content_hash({"axis": axis, "encoder": encoder})[:16]
        measure = partial(_measured, model, benign, harmful, axis, encoder)
        file = context.folder / f"distances-{name}.safetensors"
        found[axis] = computed_once(file, measure)["distances"]
    if len(found) < 2:
        return found, next(iter(found.values()), None)
    return found, torch.stack([scaled(each) for each in found.values()]).mean(dim=0)


def _measured(
    model: LALM,
    benign: Sequence[AlignmentItem],
    harmful: Sequence[AlignmentItem],
    axis: Literal["semantic", "acoustic"],
    encoder: str,
) -> dict[str, Tensor]:
    rows = find_encoder(encoder, axis, model)([*benign, *harmful])
    return {"distances": nearest(rows[: len(benign)], rows[len(benign) :])}
