"""Qwen2.5-Omni and Qwen3-Omni (Xu et al., 2025): the Thinker, which hears and writes.

The Talker is never loaded. Positions are multimodal in Qwen2.5-Omni (time, height, width); without
images all three are the plain count, which the decoder takes as one row. Qwen3-Omni is a mixture of
experts, whose weights are one tensor per layer, not linear modules, so LoRA goes on the attention
projections (and on the MLP of dense layers, should a checkpoint have some). Its 30B "Thinking"
checkpoint writes its thoughts first; Instruct is the default here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from transformers import (
    Qwen2_5OmniThinkerForConditionalGeneration,
    Qwen3OmniMoeThinkerForConditionalGeneration,
    WhisperFeatureExtractor,
)

from greaves.models.audio_text_processor import Heard, whisper_features
from greaves.models.transformers_lalm import TransformersLALM, register_family

CHUNK, TOKENS_A_CHUNK = 100, 13
"""Mel frames (1 s) that pass the convolutions together, and the audio tokens they become."""


@register_family("qwen2.5-omni")
class Qwen25Omni(TransformersLALM):
    """Qwen2.5-Omni's Thinker from the hub or a local folder; the Talker is never loaded."""

    architecture = "Qwen2.5-Omni"
    hub = "Qwen/Qwen2.5-Omni-7B"
    network_class = Qwen2_5OmniThinkerForConditionalGeneration
    audio_token = "<|AUDIO|>"  # noqa: S105 - a token of the vocabulary
    audio_prompt = "<|audio_bos|><|AUDIO|><|audio_eos|>"
    end_of_turn = "<|im_end|>"
    feature_extractor = WhisperFeatureExtractor
    system_marks = ("<|im_start|>system\n", "<|im_end|>\n")
    default_system = (
        "You are Qwen, a virtual human developed by the Qwen Team, Alibaba Group, capable of"
        " perceiving auditory and visual inputs, as well as generating text and speech."
    )

    @staticmethod
    def hear(extractor: Any, waves: Sequence[Any]) -> Heard:
        """Two convolution strides and a pooling of two: 25 audio tokens a second."""
        mel, mask = whisper_features(extractor, waves)
        frames = (mask.sum(-1) - 1) // 2 + 1
        inputs = {"input_features": mel, "feature_attention_mask": mask}
        return inputs, ((frames - 2) // 2 + 1).tolist()


@register_family("qwen3-omni")
class Qwen3Omni(TransformersLALM):
    """Qwen3-Omni's Thinker from the hub or a local folder; the Talker is never loaded."""

    architecture = "Qwen3-Omni"
    hub = "Qwen/Qwen3-Omni-30B-A3B-Instruct"
    network_class = Qwen3OmniMoeThinkerForConditionalGeneration
    audio_token = "<|audio_pad|>"  # noqa: S105 - a token of the vocabulary
    audio_prompt = "<|audio_start|><|audio_pad|><|audio_end|>"
    end_of_turn = "<|im_end|>"
    feature_extractor = WhisperFeatureExtractor
    system_marks = ("<|im_start|>system\n", "<|im_end|>\n")
    # A last chunk is padded to the longest chunk of the batch, and the convolutions see that.
    feature_batch = 1
    longest_clip = None

    @staticmethod
    def hear(extractor: Any, waves: Sequence[Any]) -> Heard:
        """Three strides of two within each chunk of 1 s: 13 audio tokens a second."""
        mel, mask = whisper_features(extractor, waves)
        frames = mask.sum(-1)
        rest = frames % CHUNK
        for _ in range(3):
            rest = (rest - 1) // 2 + 1
        inputs = {"input_features": mel, "feature_attention_mask": mask}
        return inputs, (frames // CHUNK * TOKENS_A_CHUNK + rest).tolist()
