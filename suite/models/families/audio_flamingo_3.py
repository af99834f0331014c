"""Audio Flamingo 3 (Goel et al., 2025): AF-Whisper encoder, two-layer projector, Qwen2.5.

A clip is heard in windows of 30 s, up to ten minutes; its audio token stands in chat text without
marks around it.
"""

from __future__ import annotations

from typing import Any

from transformers import AudioFlamingo3ForConditionalGeneration

from greaves.models.transformers_lalm import TransformersLALM, register_family


@register_family("audio-flamingo-3")
class AudioFlamingo3(TransformersLALM):
    """Audio Flamingo 3 from the hub or a local folder."""

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
