"""Phi-4-multimodal (Microsoft, 2025): conformer encoder and two projections on Phi-4-mini.

The LM's own module embeds the audio, so features are read behind `embed_tokens_extend`. Its
projections are fused: LoRA goes on `qkv_proj` and `gate_up_proj` whole. The speech adapter lies in
a folder of the checkpoint; Microsoft runs it with audio and not without, here it is added to the
weights for good, so that one model answers in all modes. Wanted is the native form of the weights
(`model_type` phi4_multimodal), which the hub's main branch need not have: see `docs/models.md`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle
from transformers import Phi4MultimodalFeatureExtractor, Phi4MultimodalForCausalLM

from greaves.models.audio_text_processor import Heard
from greaves.models.transformers_lalm import TransformersLALM, register_family


@register_family("phi-4-multimodal")
class Phi4Multimodal(TransformersLALM):
    """Phi-4-multimodal from the hub or a local folder; its speech adapter is merged."""

    architecture = "Phi-4-multimodal"
    hub = "microsoft/Phi-4-multimodal-instruct"
    network_class = Phi4MultimodalForCausalLM
    audio_token = "<|audio|>"  # noqa: S105 - a token of the vocabulary
    audio_prompt = "<|audio|>"
    end_of_turn = "<|end|>"
    feature_extractor = Phi4MultimodalFeatureExtractor
    lora_targets = ("qkv_proj", "o_proj", "gate_up_proj", "down_proj")
    adapters = ("speech-lora",)
    feature_batch = 1  # frames next to padding are not those of a clip alone
    text_template = True
    tower = "model.embed_tokens_extend.audio_embed.encoder"
    longest_clip = None

    @staticmethod
    def hear(extractor: Any, waves: Sequence[Any]) -> Heard:
        """80 ms an audio token."""
        rate = extractor.sampling_rate
        made = extractor(list(waves), sampling_rate=rate, return_tensors="pt")
        return dict(made), made["audio_embed_sizes"].tolist()

    def when_embedded(self, use: Callable[[Tensor], None]) -> RemovableHandle:
        """The decoder itself looks tokens up and puts the audio in place."""
        extend: nn.Module = self.network.get_decoder().embed_tokens_extend
        return extend.register_forward_hook(lambda _module, _args, embeds: use(embeds))
