"""Qwen2.5-Omni (Xu et al., 2025): the Thinker, which hears and writes. The Talker is never loaded.

Positions are multimodal in this family (time, height, width); without images all three are the
plain count, which the decoder takes as one row.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import Tensor
from transformers import Qwen2_5OmniThinkerForConditionalGeneration, WhisperFeatureExtractor

from greaves.models.audio_text_processor import AudioTextProcessor, whisper_features
from greaves.models.contract import register_model
from greaves.models.loading import checkpoint
from greaves.models.transformers_lalm import TransformersLALM


class Qwen25Omni(TransformersLALM):
    """The Thinker of a Qwen2.5-Omni checkpoint."""

    architecture = "Qwen2.5-Omni"
    hub = "Qwen/Qwen2.5-Omni-7B"
    network_class = Qwen2_5OmniThinkerForConditionalGeneration
    audio_token = "<|AUDIO|>"  # noqa: S105 - a token of the vocabulary
    audio_prompt = "<|audio_bos|><|AUDIO|><|audio_eos|>"
    end_of_turn = "<|im_end|>"
    system_marks = ("<|im_start|>system\n", "<|im_end|>\n")

    @classmethod
    def read_processor(cls, folder: Path) -> AudioTextProcessor:
        """Tokenizer and feature extractor; images and videos are left out."""
        return AudioTextProcessor.read(folder, WhisperFeatureExtractor, cls.audio_token, hear)


def hear(extractor: Any, waves: Sequence[Any]) -> tuple[dict[str, Tensor], list[int]]:
    """Two convolution strides and a pooling of two: 25 audio tokens a second."""
    mel, mask = whisper_features(extractor, waves)
    frames = (mask.sum(-1) - 1) // 2 + 1
    inputs = {"input_features": mel, "feature_attention_mask": mask}
    return inputs, ((frames - 2) // 2 + 1).tolist()


@register_model("qwen2.5-omni")
def qwen2_5_omni(
    path: str | None = None,
    revision: str | None = None,
    name: str = "qwen2.5-omni",
    device: str | None = None,
    dtype: str = "bfloat16",
) -> Qwen25Omni:
    """Qwen2.5-Omni's Thinker from the hub or a local folder; the Talker is never loaded."""
    folder = checkpoint(path, Qwen25Omni.hub, revision)
    return Qwen25Omni.load(name, folder, device=device, dtype=dtype)
