"""One LoRA step as a straightforward loop computes it: what the speed of ours is measured against.

The whole model runs on every step: audio tower over 30 s of padded mel, language model over a batch
padded to its longest row, output head on all positions; the penalty multiplies B and A out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from greaves.align.training.penalty import lora_factors
from greaves.base.conversation import Conversation
from greaves.data.speech.clips import load_clip
from greaves.models.transformers_lalm import TransformersLALM


def whole_inputs(lalm: TransformersLALM, conversations: Sequence[Conversation]) -> dict[str, Any]:
    """What the processor makes of a batch, padded on the left; mel included, as if it were free."""
    rate = lalm.processor.feature_extractor.sampling_rate
    inputs = lalm.processor(
        text=[lalm.render(item) for item in conversations],
        audio=[load_clip(item.clip, rate) for item in conversations if item.clip],
        sampling_rate=rate,
        return_tensors="pt",
        padding=True,
    )
    positions = (inputs["attention_mask"].cumsum(-1) - 1).clamp(min=0)
    return {**inputs, "position_ids": positions, "use_cache": False}


def whole_forward(lalm: TransformersLALM, inputs: dict[str, Any], *, head: bool = True) -> Tensor:
    """States after the final norm at the last position, [batch, hidden_size].

    Args:
        lalm: its network may have LoRA modules.
        inputs: see `whole_inputs`.
        head: whether the output head runs, on all positions.
    """
    found: list[Tensor] = []
    norm: nn.Module = lalm.network.get_decoder().norm
    hook = norm.register_forward_hook(lambda _module, _args, states: found.append(states))
    try:
        (lalm.network if head else lalm.network.model)(**inputs)
    finally:
        hook.remove()
    return found[0][:, -1]


def naive_penalty(network: nn.Module) -> Tensor:
    """||theta - theta_0||^2 with every B A multiplied out."""
    return torch.stack([((s * (b @ a)) ** 2).sum() for b, a, s in lora_factors(network)]).sum()


def plain_loss(
    lalm: TransformersLALM,
    network: nn.Module,
    inputs: dict[str, Any],
    targets: Tensor,
    losses: Callable[[Tensor, Tensor], Tensor],
) -> Tensor:
    """Mean loss over the batch plus the penalty; a scalar."""
    return losses(whole_forward(lalm, inputs), targets).mean() + naive_penalty(network)
