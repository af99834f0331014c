"""The penalty term ||theta - theta_0||^2 for LoRA, without ever building a d x d matrix.

For a LoRA module theta - theta_0 = s B A, with B [out, r] and A [r, in], so

    ||s B A||_F^2 = s^2 tr(A^T B^T B A) = s^2 sum((B^T B) * (A A^T))

where both factors are only [r, r] (the Gram form).
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from peft.tuners.lora import LoraLayer
from torch import Tensor, nn


def gram_penalty(b: Tensor, a: Tensor, scaling: float) -> Tensor:
    """||scaling * b @ a||_F^2 for b [out, r] and a [r, in]; a scalar."""
    return scaling**2 * torch.sum((b.T @ b) * (a @ a.T))


def lora_factors(
    network: nn.Module, adapter: str = "default"
) -> Iterator[tuple[Tensor, Tensor, float]]:
    """(B, A, scaling) of every LoRA module in `network`."""
    for module in network.modules():
        if isinstance(module, LoraLayer) and adapter in module.lora_A:
            b, a = module.lora_B[adapter].weight, module.lora_A[adapter].weight
            yield b, a, module.scaling[adapter]


def penalty(network: nn.Module) -> Tensor:
    """Sum of the Gram penalties of all LoRA modules; a scalar. 0 where there are none."""
    terms = [gram_penalty(b, a, scaling) for b, a, scaling in lora_factors(network)]
    return torch.stack(terms).sum() if terms else torch.zeros(())
