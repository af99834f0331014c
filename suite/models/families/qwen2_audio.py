"""Qwen2-Audio (Chu et al., 2024): Whisper-style audio tower, linear projector, Qwen2."""

from __future__ import annotations

from pathlib import Path

from transformers import Qwen2AudioForConditionalGeneration

from greaves.models.contract import register_model
from greaves.models.loading import checkpoint
from greaves.models.transformers_lalm import TransformersLALM


class Qwen2Audio(TransformersLALM):
    """Qwen2-Audio and every checkpoint of its architecture."""

    architecture = "Qwen2-Audio"
    hub = "Qwen/Qwen2-Audio-7B-Instruct"
    network_class = Qwen2AudioForConditionalGeneration
    audio_token = "<|AUDIO|>"  # noqa: S105 - a token of the vocabulary
    audio_prompt = "<|audio_bos|><|AUDIO|><|audio_eos|>"
    end_of_turn = "<|im_end|>"
    system_marks = ("<|im_start|>system\n", "<|im_end|>\n")


def load_folder(name: str, folder: Path, *, device: str | None, dtype: str) -> Qwen2Audio:
    """Load a Qwen2-Audio checkpoint from a local folder; see `TransformersLALM.load`."""
    return Qwen2Audio.load(name, folder, device=device, dtype=dtype)


@register_model("qwen2-audio")
def qwen2_audio(
    path: str | None = None,
    revision: str | None = None,
    name: str = "qwen2-audio",
    device: str | None = None,
    dtype: str = "bfloat16",
) -> Qwen2Audio:
    """Qwen2-Audio from the hub or a local folder: `{model: qwen2-audio, options: {path: ...}}`."""
    folder = checkpoint(path, Qwen2Audio.hub, revision)
    return Qwen2Audio.load(name, folder, device=device, dtype=dtype)
