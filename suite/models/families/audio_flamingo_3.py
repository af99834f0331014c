"""Audio Flamingo 3 (Goel et al., 2025): AF-Whisper encoder, two-layer projector, Qwen2.5.

A clip is heard in windows of 30 s, up to ten minutes; its audio token stands in chat text without
marks around it.
"""

from __future__ import annotations

from typing import Any

from transformers import AudioFlamingo3ForConditionalGeneration

from greaves.models.contract import register_model
from greaves.models.loading import checkpoint
from greaves.models.transformers_lalm import TransformersLALM


class AudioFlamingo3(TransformersLALM):
    """Audio Flamingo 3 and every checkpoint of its architecture."""

    architecture = "Audio Flamingo 3"
    hub = "nvidia/audio-flamingo-3-hf"
    network_class = AudioFlamingo3ForConditionalGeneration
    audio_token = "<sound>"  # noqa: S105 - a token of the vocabulary
    audio_prompt = "<sound>"
    end_of_turn = "<|im_end|>"
    system_marks = ("<|im_start|>system\n", "<|im_end|>\n")

    def processed(self, texts: list[str], waves: list[Any]) -> dict[str, Any]:
        """Its processor pads by itself; told to, it would not pad clips to whole windows."""
        return dict(self.processor(text=texts, audio=waves or None))

    @property
    def longest_clip(self) -> float:
        """The processor cuts what is longer, with no more than a warning."""
        return float(self.processor.max_audio_len)


@register_model("audio-flamingo-3")
def audio_flamingo_3(
    path: str | None = None,
    revision: str | None = None,
    name: str = "audio-flamingo-3",
    device: str | None = None,
    dtype: str = "bfloat16",
) -> AudioFlamingo3:
    """Audio Flamingo 3 from the hub or a local folder."""
    folder = checkpoint(path, AudioFlamingo3.hub, revision)
    return AudioFlamingo3.load(name, folder, device=device, dtype=dtype)
