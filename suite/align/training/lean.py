"""Forward and backward passes without detours: LoRA's, and the RMS norms'.

peft computes base(x) + scaling * B(A(dropout(x))) from separate operations in the precision of the
factors. With a model in bfloat16 and factors in float32 each input is copied to float32 and back,
and the sum passes through memory three times. Here the update is added to the projection's output
in place, in that output's precision: the same parameters, gradients and dropout probability.
RMS norms go through torch's own function, which is one kernel on a GPU instead of six.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from peft.tuners.lora import Linear as LoRALinear
from torch import Tensor, nn

RMS_NORMS = frozenset(
    {
        "LlamaRMSNorm",
        "MistralRMSNorm",
        "Qwen2RMSNorm",
        "Qwen2_5OmniRMSNorm",
        "Qwen3OmniMoeThinkerTextRMSNorm",
        "Qwen3RMSNorm",
    }
)
"""Classes of transformers whose forward is x / rms(x) * weight."""

_STEPS = 1 << 16
"""Values of the 16 random bits that decide whether an entry is dropped."""


class _LowRankUpdate(torch.autograd.Function):
    """output += scaling * dropout(x) A^T B^T."""

    @staticmethod
    def forward(
        ctx: Any, output: Tensor, x: Tensor, a: Tensor, b: Tensor, scaling: float, dropout: float
    ) -> Tensor:
        rows = x.reshape(-1, x.shape[-1]).to(output.dtype)
        mask = None
        if dropout > 0:
            mask, kept = keep_mask(rows, dropout)
            rows, scaling = rows * mask, scaling / kept
        low_a, low_b = a.to(output.dtype), b.to(output.dtype)
        inner = rows @ low_a.T
        output.view(-1, output.shape[-1]).addmm_(inner, low_b.T, alpha=scaling)
        ctx.mark_dirty(output)
        ctx.save_for_backward(rows, mask, inner, low_a, low_b)
        ctx.scaling, ctx.like = scaling, (x.shape, x.dtype, a.dtype, b.dtype)
        return output

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        rows, mask, inner, a, b = ctx.saved_tensors
        shape, x_dtype, a_dtype, b_dtype = ctx.like
        outer = gradients[0].reshape(-1, gradients[0].shape[-1])
        to_inner = (outer @ b).mul_(ctx.scaling)
        to_x = None
        if ctx.needs_input_grad[1]:
            to_x = to_inner @ a
            if mask is not None:
                to_x.mul_(mask)
            to_x = to_x.view(shape).to(x_dtype)
        to_a = (to_inner.T @ rows).to(a_dtype)
        to_b = (outer.T @ inner).to(b_dtype).mul_(ctx.scaling)
        return gradients[0], to_x, to_a, to_b, None, None


def keep_mask(like: Tensor, dropout: float) -> tuple[Tensor, float]:
    """Which entries dropout keeps, true with probability 1 - dropout.

    Four decisions are taken from each random number of torch's generator; drawing one number an
    entry costs a CPU more than all the matrix products of a small model.

    Args:
        like: a tensor of the shape and on the device wanted.
        dropout: probability, rounded to a multiple of 2^-16.

    Returns:
        The mask, and the probability of keeping an entry as it was rounded.
    """
    count = like.numel()
    numbers = torch.empty(-(-count // 4), dtype=torch.int64, device=like.device)
    numbers.random_(-(1 << 63), None)
    dropped = round(dropout * _STEPS)
    mask = numbers.view(torch.int16)[:count].view(like.shape) >= dropped - _STEPS // 2
    return mask, 1 - dropped / _STEPS


@contextmanager
def lean_lora(network: nn.Module, adapter: str = "default") -> Iterator[int]:
    """Give the LoRA modules of `network` the lean pass until the context is left.

    Left as they are: modules of other kinds (DoRA, quantised or biased ones), and all of them where
    DeepSpeed ZeRO-3 has taken the parameters apart, since these are whole only while the module
    that owns them is called.

    Args:
        network: a model with LoRA modules of peft.
        adapter: name of the adapter that is trained.

    Yields:
        How many modules run lean.
    """
    apart = any(hasattr(parameter, "ds_id") for parameter in network.parameters())
    chosen = [layer for layer in network.modules() if not apart and _is_plain(layer, adapter)]
    with forwards({layer: partial(_lean_pass, layer, adapter) for layer in chosen}):
        yield len(chosen)


def _is_plain(layer: Any, adapter: str) -> bool:
    return (
        type(layer) is LoRALinear
        and type(layer.base_layer) is nn.Linear
        and adapter in layer.lora_A
        and adapter not in layer.lora_variant
        and not layer.lora_bias[adapter]
        and "forward" not in vars(layer)
    )


def _lean_pass(layer: Any, adapter: str, x: Tensor, **options: Any) -> Tensor:
    if options or layer.disable_adapters or layer.merged or layer.active_adapters != [adapter]:
        usual: Tensor = type(layer).forward(layer, x, **options)
        return usual
    dropout = layer.lora_dropout[adapter]
    updated: Tensor = _LowRankUpdate.apply(  # type: ignore[no-untyped-call]
        layer.base_layer(x),
        x,
        layer.lora_A[adapter].weight,
        layer.lora_B[adapter].weight,
        layer.scaling[adapter],
        dropout.p if dropout.training and isinstance(dropout, nn.Dropout) else 0.0,
    )
    return updated


@contextmanager
def lean_norms(network: nn.Module) -> Iterator[int]:
    """Give the RMS norms of `network` the fused pass until the context is left.

    Equal in float32. In bfloat16 the product with the weight is rounded once instead of twice.

    Yields:
        How many norms run lean.
    """
    norms = (one for one in network.modules() if type(one).__name__ in RMS_NORMS)
    chosen = [norm for norm in norms if "forward" not in vars(norm)]
    with forwards({norm: partial(_fused_norm, norm) for norm in chosen}):
        yield len(chosen)


def _fused_norm(norm: Any, hidden_states: Tensor) -> Tensor:
    with torch.autocast(hidden_states.device.type, enabled=False):
        shape, weight = hidden_states.shape[-1:], norm.weight.to(hidden_states.dtype)
        return nn.functional.rms_norm(hidden_states, shape, weight, norm.variance_epsilon)


@contextmanager
def forwards(new: Mapping[nn.Module, Callable[..., Any]]) -> Iterator[None]:
    """Replace modules' `forward` until the context is left; their hooks stay."""
    own = {module: vars(module).get("forward") for module in new}
    for module, forward in new.items():
        module.forward = forward
    try:
        yield
    finally:
        for module, before in own.items():
            del module.forward
            if before is not None:
                module.forward = before
