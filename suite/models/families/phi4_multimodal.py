"""Phi-4-multimodal (Microsoft, 2025): conformer encoder and two projections on Phi-4-mini.

The LM's own module embeds the audio, so features are read behind `embed_tokens_extend`. Its
projections are fused: LoRA goes on `qkv_proj` and `gate_up_proj` whole. The speech adapter lies in
a folder of the checkpoint; Microsoft runs it with audio and not without, here it is added to the
weights for good, so that one model answers in all modes. Wanted is the native form of the weights
(`model_type` phi4_multimodal), which the hub's main branch need not have: see `docs/models.md`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle
from transformers import Phi4MultimodalFeatureExtractor, Phi4MultimodalForCausalLM

from greaves.base.conversation import Conversation
from greaves.models.adapters import merge_own_adapter
from greaves.models.audio_text_processor import AudioTextProcessor
from greaves.models.chat_text import plain_turns
from greaves.models.contract import register_model
from greaves.models.loading import checkpoint
from greaves.models.transformers_lalm import TransformersLALM


class Phi4Multimodal(TransformersLALM):
    """Phi-4-multimodal with its speech adapter in its weights."""

    architecture = "Phi-4-multimodal"
    hub = "microsoft/Phi-4-multimodal-instruct"
    network_class = Phi4MultimodalForCausalLM
    audio_token = "<|audio|>"  # noqa: S105 - a token of the vocabulary
    audio_prompt = "<|audio|>"
    end_of_turn = "<|end|>"
    lora_targets = ("qkv_proj", "o_proj", "gate_up_proj", "down_proj")
    subfolders = ("speech-lora",)
    feature_batch = 1  # frames next to padding are not those of a clip alone
    longest_clip = None

    @classmethod
    def read_network(cls, folder: Path, dtype: torch.dtype) -> Any:
        """The network with its speech adapter in its weights."""
        network = super().read_network(folder, dtype)
        merge_own_adapter(network, folder / "speech-lora")
        return network

    @classmethod
    def read_processor(cls, folder: Path) -> AudioTextProcessor:
        """Tokenizer and feature extractor; images are left out."""
        kind = Phi4MultimodalFeatureExtractor
        return AudioTextProcessor.read(folder, kind, cls.audio_token, hear)

    def turns(self, conversation: Conversation) -> list[dict[str, Any]]:
        """Its template takes text only, the audio token in it."""
        return plain_turns(conversation, self.audio_prompt)

    def when_embedded(self, use: Callable[[Tensor], None]) -> RemovableHandle:
        """The decoder itself looks tokens up and puts the audio in place."""
        extend: nn.Module = self.network.get_decoder().embed_tokens_extend
        return extend.register_forward_hook(lambda _module, _args, embeds: use(embeds))

    @property
    def audio_tower(self) -> nn.Module:
        """The conformer; projections follow."""
        tower: nn.Module = self.network.get_decoder().embed_tokens_extend.audio_embed.encoder
        return tower


def hear(extractor: Any, waves: Sequence[Any]) -> tuple[dict[str, Tensor], list[int]]:
    """80 ms an audio token."""
    rate = extractor.sampling_rate
    made = extractor(list(waves), sampling_rate=rate, return_tensors="pt")
    return dict(made), made["audio_embed_sizes"].tolist()


@register_model("phi-4-multimodal")
def phi4_multimodal(
    path: str | None = None,
    revision: str | None = None,
    name: str = "phi-4-multimodal",
    device: str | None = None,
    dtype: str = "bfloat16",
) -> Phi4Multimodal:
    """Phi-4-multimodal from the hub or a local folder; its speech adapter is merged."""
    folder = checkpoint(path, Phi4Multimodal.hub, revision)
    return Phi4Multimodal.load(name, folder, device=device, dtype=dtype)
