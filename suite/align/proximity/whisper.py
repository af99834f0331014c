"""Whisper's encoder, mean-pooled: how a clip sounds. The paper's is whisper-large-v3."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from transformers import WhisperFeatureExtractor, WhisperModel

from greaves.align.proximity.source import Source
from greaves.data.alignment.sets import AlignmentItem
from greaves.data.speech.clips import load_clip


def whisper(source: Source, device: torch.device) -> Callable[[Sequence[AlignmentItem]], Tensor]:
    """An encoder of clips: the mean over the clip's own frames, [items, d_model].

    Whisper hears 30 s, silence behind the clip included; those frames are left out of the mean
    (whether the paper does so is unknown).
    """
    extractor = WhisperFeatureExtractor.from_pretrained(source.place, **source.options)
    encoder = source.load(WhisperModel, device).get_encoder()
    stride = 2 * extractor.hop_length  # the second convolution halves the mel frames

    @torch.no_grad()
    def encode(items: Sequence[AlignmentItem]) -> Tensor:
        rows: list[Tensor] = []
        for item in items:
            wave = load_clip(item.clip, extractor.sampling_rate)
            inputs = extractor(wave, sampling_rate=extractor.sampling_rate, return_tensors="pt")
            states = encoder(inputs["input_features"].to(device)).last_hidden_state
            rows.append(states[0, : math.ceil(len(wave) / stride)].mean(dim=0).cpu())
        return torch.stack(rows)

    return encode
