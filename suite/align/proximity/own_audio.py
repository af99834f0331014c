"""The model's own audio encoder, mean-pooled."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from greaves.data.alignment.sets import AlignmentItem
from greaves.models.contract import LALM
from greaves.models.transformers_lalm import opened


def own_audio(model: LALM) -> Callable[[Sequence[AlignmentItem]], Tensor]:
    """Mean over time of what the language model is given for a clip: the audio tower's output
    behind its projector.

    Raises:
        ModelError: the model is a black box.
    """
    network = opened(model, "has no audio encoder to look into")

    def encode(items: Sequence[AlignmentItem]) -> Tensor:
        rows = network.features([item.clip for item in items])
        return torch.stack([row.float().mean(dim=0).cpu() for row in rows])

    return encode
