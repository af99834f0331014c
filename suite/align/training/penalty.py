"""The penalty term ||theta - theta_0||^2 for LoRA, without ever building a d x d matrix.

For a LoRA module theta - theta_0 = s B A, with B [out, r] and A [r, in], so

    ||s B A||_F^2 = s^2 tr(A^T B^T B A) = s^2 sum((B^T B) * (A A^T))

where both factors are only [r, r] (the Gram form).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from peft.tuners.lora import LoraLayer
from torch import Tensor, nn

Factors = tuple[Tensor, Tensor, float]
"""(B [out, r], A [r, in], scaling) of one LoRA module."""


def gram_penalty(b: Tensor, a: Tensor, scaling: float) -> Tensor:
    """||scaling * b @ a||_F^2 for b [..., out, r] and a [..., r, in], summed over what precedes.

    Returns:
        A scalar, in float32 or wider.
    """
    wide = torch.promote_types(b.dtype, torch.float32)
    b, a = b.to(wide), a.to(wide)
    with torch.autocast(b.device.type, enabled=False):
        return scaling**2 * torch.sum((b.mT @ b) * (a @ a.mT))


def lora_layers(network: nn.Module, adapter: str = "default") -> Iterator[LoraLayer]:
    """Every LoRA module in `network`."""
    for module in network.modules():
        if isinstance(module, LoraLayer) and adapter in module.lora_A:
            yield module


def lora_factors(network: nn.Module, adapter: str = "default") -> Iterator[Factors]:
    """Factors of every LoRA module in `network`."""
    for layer in lora_layers(network, adapter):
        b, a = layer.lora_B[adapter].weight, layer.lora_A[adapter].weight
        yield b, a, layer.scaling[adapter]


@contextmanager
def captured_factors(network: nn.Module, adapter: str = "default") -> Iterator[list[Factors]]:
    """Fills a list with the factors of every LoRA module while a forward pass uses them.

    Where ZeRO-3 has taken the parameters apart they are whole only while their module runs; a copy
    of them carries the gradient back. Elsewhere the parameters themselves are listed.
    """
    layers = list(lora_layers(network, adapter))
    if not any(hasattr(parameter, "ds_id") for parameter in network.parameters()):
        yield list(lora_factors(network, adapter))
        return
    found: dict[nn.Module, Tensor] = {}

    def capture(module: Any, _args: Any) -> None:
        found[module] = module.weight.clone()

    factors = [half for layer in layers for half in (layer.lora_B[adapter], layer.lora_A[adapter])]
    hooks = [half.register_forward_pre_hook(capture) for half in factors]
    listed: list[Factors] = []
    try:
        yield listed
    finally:
        for hook in hooks:
            hook.remove()
        listed += [
            (found[layer.lora_B[adapter]], found[layer.lora_A[adapter]], layer.scaling[adapter])
            for layer in layers
            if layer.lora_A[adapter] in found
        ]


def penalty(factors: Iterable[Factors]) -> Tensor:
    """Sum of the Gram penalties of all LoRA modules; a scalar. 0 where there are none.

    Modules of one shape go at once: a few dozen kernels of a GPU, not thousands.
    """
    groups: dict[tuple[torch.Size, torch.Size, float], list[tuple[Tensor, Tensor]]] = {}
    for b, a, scaling in factors:
        groups.setdefault((b.shape, a.shape, scaling), []).append((b, a))
    terms = []
    for (_, _, scaling), members in groups.items():
        b, a = (torch.stack(half) for half in zip(*members, strict=True))
        terms.append(gram_penalty(b, a, scaling))
    return torch.stack(terms).sum() if terms else torch.zeros(())
