"""WavLM, mean-pooled: how a clip sounds. The paper's is wavlm-large."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from transformers import AutoFeatureExtractor, WavLMModel

from greaves.align.proximity.source import Source
from greaves.data.alignment.sets import AlignmentItem
from greaves.data.speech.clips import load_clip


def wavlm(source: Source, device: torch.device) -> Callable[[Sequence[AlignmentItem]], Tensor]:
    """An encoder of clips: the mean over time of the last layer, [items, hidden_size].

    One clip at a time: padding changes what some WavLMs say.
    """
    extractor = AutoFeatureExtractor.from_pretrained(source.place, **source.options)
    network = source.load(WavLMModel, device)

    @torch.no_grad()
    def encode(items: Sequence[AlignmentItem]) -> Tensor:
        rows: list[Tensor] = []
        for item in items:
            wave = load_clip(item.clip, extractor.sampling_rate)
            inputs = extractor(wave, sampling_rate=extractor.sampling_rate, return_tensors="pt")
            states = network(inputs["input_values"].to(device)).last_hidden_state
            rows.append(states[0].mean(dim=0).cpu())
        return torch.stack(rows)

    return encode
