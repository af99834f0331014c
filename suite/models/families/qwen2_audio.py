"""Qwen2-Audio (Chu et al., 2024): Whisper-style audio tower, linear projector, Qwen2."""

from __future__ import annotations

from transformers import Qwen2AudioForConditionalGeneration

from greaves.models.chat_text import TEMPLATE
from greaves.models.transformers_lalm import TransformersLALM, register_family


@register_family("qwen2-audio")
class Qwen2Audio(TransformersLALM):
    """Qwen2-Audio from the hub or a local folder: `{model: qwen2-audio, options: {path: ...}}`."""

    architecture = "Qwen2-Audio"
    hub = "Qwen/Qwen2-Audio-7B-Instruct"
    network_class = Qwen2AudioForConditionalGeneration
    audio_token = "<|AUDIO|>"  # noqa: S105 - a token of the vocabulary
    audio_prompt = "<|audio_bos|><|AUDIO|><|audio_eos|>"
    end_of_turn = "<|im_end|>"
    system_marks = ("<|im_start|>system\n", "<|im_end|>\n")
    default_system = TEMPLATE
