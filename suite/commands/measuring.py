"""How checks of a model measure: what differs by how much, and what is run how often."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from greaves.models.feature_cache import FeatureCache
from greaves.models.transformers_lalm import TransformersLALM

TOLERANCE = 1e-4
"""Largest difference between two ways to the same numbers in float32, as `apart` counts it."""


@dataclass(frozen=True)
class Finding:
    """What a check found.

    Attributes:
        measured: what was measured, in few words with its number.
        failure: what does not hold, in words; empty if all does.
        excuse: why the check cannot hold for this checkpoint as it is loaded; empty if it can.
    """

    measured: str
    failure: str = ""
    excuse: str = ""


def logits(model: TransformersLALM, state: Tensor) -> Tensor:
    """What the output head makes of a final state: [hidden_size] -> [vocabulary] in float32."""
    head = model.network.get_output_embeddings().weight
    with torch.no_grad():
        found: Tensor = (state.to(head.dtype) @ head.T).float()
    return found


def apart(one: Tensor, other: Tensor) -> float:
    """Largest difference, as a share of the largest entry or of 1."""
    one, other = one.detach(), other.detach()
    return float((one - other).abs().max() / other.abs().max().clamp(min=1.0))


def within(model: TransformersLALM, measured: str, worst: float) -> Finding:
    """A finding that holds if `worst` is within the tolerance; below float32 it is excused."""
    if worst <= TOLERANCE:
        return Finding(measured)
    dtype = str(model.network.dtype).removeprefix("torch.")
    if dtype != "float32":
        return Finding(measured, excuse=f"{dtype}: ties may flip; say --dtype float32 to see")
    return Finding(measured, f"more than {TOLERANCE:.0e} of the largest")


@contextmanager
def final_states(model: TransformersLALM) -> Iterator[list[Tensor]]:
    """Collects what comes out of the final norm at the last position, [batch, hidden_size]."""
    caught: list[Tensor] = []
    hook = model.network.get_decoder().norm.register_forward_hook(
        lambda _module, _args, output: caught.append(output[:, -1].detach().float())
    )
    try:
        yield caught
    finally:
        hook.remove()


@contextmanager
def fresh_features(model: TransformersLALM, cache: FeatureCache | None = None) -> Iterator[None]:
    """The model has heard nothing yet and keeps features in `cache`; then all is as before."""
    before = model._features, model.feature_cache
    model._features, model.feature_cache = {}, cache
    try:
        yield
    finally:
        model._features, model.feature_cache = before


@contextmanager
def counted(module: Any) -> Iterator[list[tuple[int, ...]]]:
    """Collects the shape (rows, positions) of a module's forward passes; () where it has none."""
    calls: list[tuple[int, ...]] = []

    def count(_module: Any, _args: Any, kwargs: dict[str, Any]) -> None:
        given = (kwargs.get(name) for name in ("inputs_embeds", "input_ids"))
        calls.append(next((tuple(one.shape[:2]) for one in given if one is not None), ()))

    hook = module.register_forward_pre_hook(count, with_kwargs=True)
    try:
        yield calls
    finally:
        hook.remove()
