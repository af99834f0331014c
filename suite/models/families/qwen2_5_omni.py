"""Qwen2.5-Omni (Xu et al., 2025): the Thinker, which hears and writes. The Talker is never loaded.

Positions are multimodal in this family (time, height, width); without images all three are the
plain count, which the decoder takes as one row.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from transformers import Qwen2_5OmniThinkerForConditionalGeneration, WhisperFeatureExtractor

from greaves.models.audio_text_processor import Heard, whisper_features
from greaves.models.transformers_lalm import TransformersLALM, register_family


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
