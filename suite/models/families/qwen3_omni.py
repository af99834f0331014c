"""Qwen3-Omni (Xu et al., 2025): the Thinker, a mixture of experts. The Talker is never loaded.

The experts' weights are one tensor a layer, no linear modules, so LoRA goes on the attention
projections (and on the MLP of dense layers, should a checkpoint have some). The 30B "Thinking"
checkpoint writes its thoughts first; Instruct is the default here.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import Tensor
from transformers import Qwen3OmniMoeThinkerForConditionalGeneration, WhisperFeatureExtractor

from greaves.models.audio_text_processor import AudioTextProcessor, whisper_features
from greaves.models.contract import register_model
from greaves.models.loading import checkpoint
from greaves.models.transformers_lalm import TransformersLALM

CHUNK, TOKENS_A_CHUNK = 100, 13
"""Mel frames (1 s) that pass the convolutions together, and the audio tokens they become."""


class Qwen3Omni(TransformersLALM):
    """The Thinker of a Qwen3-Omni checkpoint."""

    architecture = "Qwen3-Omni"
    hub = "Qwen/Qwen3-Omni-30B-A3B-Instruct"
    network_class = Qwen3OmniMoeThinkerForConditionalGeneration
    audio_token = "<|audio_pad|>"  # noqa: S105 - a token of the vocabulary
    audio_prompt = "<|audio_start|><|audio_pad|><|audio_end|>"
    end_of_turn = "<|im_end|>"
    system_marks = ("<|im_start|>system\n", "<|im_end|>\n")
    # A last chunk is padded to the longest chunk of the batch, and the convolutions see that.
    feature_batch = 1
    longest_clip = None

    @classmethod
    def read_processor(cls, folder: Path) -> AudioTextProcessor:
        """Tokenizer and feature extractor; images and videos are left out."""
        return AudioTextProcessor.read(folder, WhisperFeatureExtractor, cls.audio_token, hear)


def hear(extractor: Any, waves: Sequence[Any]) -> tuple[dict[str, Tensor], list[int]]:
    """Three strides of two within each chunk of 1 s: 13 audio tokens a second."""
    mel, mask = whisper_features(extractor, waves)
    frames = mask.sum(-1)
    rest = frames % CHUNK
    for _ in range(3):
        rest = (rest - 1) // 2 + 1
    inputs = {"input_features": mel, "feature_attention_mask": mask}
    return inputs, (frames // CHUNK * TOKENS_A_CHUNK + rest).tolist()


@register_model("qwen3-omni")
def qwen3_omni(
    path: str | None = None,
    revision: str | None = None,
    name: str = "qwen3-omni",
    device: str | None = None,
    dtype: str = "bfloat16",
) -> Qwen3Omni:
    """Qwen3-Omni's Thinker from the hub or a local folder; the Talker is never loaded."""
    folder = checkpoint(path, Qwen3Omni.hub, revision)
    return Qwen3Omni.load(name, folder, device=device, dtype=dtype)
