"""Muon for the matrices inside the layers, AdamW for the rest, one cosine schedule for both."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import nn


class Optimisers:
    """Two optimisers that step together on float32 masters of bf16 parameters.

    The model computes in bf16 throughout, as it ships; small steps add up in the masters.

    Args:
        named: trainable parameters with their names.
        muon_rate: peak learning rate of the layers' matrices (on AdamW's scale).
        adam_rate: peak learning rate of all other parameters.
        steps: length of the schedule: 50 steps of warm-up, then a cosine to zero.
    """

    def __init__(
        self,
        named: Iterable[tuple[str, nn.Parameter]],
        muon_rate: float,
        adam_rate: float,
        steps: int,
    ) -> None:
        matrices: list[nn.Parameter] = []
        others: list[nn.Parameter] = []
        self._pairs: list[tuple[nn.Parameter, nn.Parameter]] = []
        for name, parameter in named:
            master = nn.Parameter(parameter.detach().float().clone())
            inner = parameter.ndim == 2 and ".layers." in name
            (matrices if inner else others).append(master)
            self._pairs.append((parameter, master))
        self._optimisers: tuple[torch.optim.Optimizer, ...] = (
            torch.optim.Muon(
                matrices, lr=muon_rate, weight_decay=0.01, adjust_lr_fn="match_rms_adamw"
            ),
            torch.optim.AdamW(others, lr=adam_rate, betas=(0.9, 0.98), weight_decay=0.0),
        )
        self._peaks = (muon_rate, adam_rate)
        self._steps = steps
        self._step = 0

    def step(self) -> None:
        """Clips the gradient, steps both optimisers, clears the gradients."""
        self._step += 1
        warm = min(1.0, self._step / 50)
        share = warm * 0.5 * (1.0 + math.cos(math.pi * min(1.0, self._step / self._steps)))
        for parameter, master in self._pairs:
            master.grad = None if parameter.grad is None else parameter.grad.float()
            parameter.grad = None
        nn.utils.clip_grad_norm_([master for _, master in self._pairs], 1.0)
        for optimiser, peak in zip(self._optimisers, self._peaks, strict=True):
            for group in optimiser.param_groups:
                group["lr"] = peak * share
            optimiser.step()
        with torch.no_grad():
            for parameter, master in self._pairs:
                parameter.copy_(master)
