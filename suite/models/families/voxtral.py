"""Voxtral (Mistral AI, 2025): Whisper's encoder, four frames a token, on a Ministral or Mistral LM.

Its checkpoints carry Mistral's own tokenizer file, `tekken.json`, and no chat template: prompts are
written here as mistral-common writes them. A clip is padded to whole windows of 30 s, each of which
is heard as 375 tokens whatever is in it: silence is not masked.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import AutoTokenizer, VoxtralForConditionalGeneration, WhisperFeatureExtractor
from transformers.integrations.mistral import convert_tekken_tokenizer

from greaves.base.conversation import Conversation
from greaves.models.audio_text_processor import AudioTextProcessor, Heard
from greaves.models.loading import pretrained
from greaves.models.transformers_lalm import TransformersLALM, register_family

FRAMES_A_TOKEN = 8
"""Mel frames behind an audio token: a stride of two, then four states side by side."""


@register_family("voxtral")
class Voxtral(TransformersLALM):
    """Voxtral from the hub or a local folder: `{model: voxtral, options: {path: ...}}`."""

    architecture = "Voxtral"
    hub = "mistralai/Voxtral-Mini-3B-2507"
    network_class = VoxtralForConditionalGeneration
    audio_token = "[AUDIO]"  # noqa: S105 - a token of the vocabulary
    audio_prompt = "[BEGIN_AUDIO][AUDIO]"
    end_of_turn = "</s>"
    longest_clip = None  # as many windows as the clip fills

    @classmethod
    def read_processor(cls, folder: Path) -> AudioTextProcessor:
        """Mistral's tokenizer file, or a converted one, and Whisper's feature extractor."""
        if (folder / "tokenizer.json").is_file():
            tokenizer = pretrained(AutoTokenizer, folder)
        else:
            tokenizer = convert_tekken_tokenizer(str(folder / "tekken.json"))
        extractor = pretrained(WhisperFeatureExtractor, folder)
        return AudioTextProcessor(tokenizer, extractor, None, cls.audio_token, cls.hear)

    def render(self, conversation: Conversation) -> str:
        """As mistral-common writes it. Its validator refuses a system prompt beside audio for this
        generation of tokenizers; the text is what it writes where it does not."""
        system = self.under_system(conversation).system
        head = "" if system is None else f"[SYSTEM_PROMPT]{system}[/SYSTEM_PROMPT]"
        clip = "" if conversation.clip is None else self.audio_prompt
        text = conversation.text or ""
        return f"<s>{head}[INST]{clip}{text}[/INST]{conversation.reply}"

    @staticmethod
    def hear(extractor: Any, waves: Sequence[Any]) -> Heard:
        """Windows of `extractor.n_samples`, one after the other; 12.5 audio tokens a second."""
        window, windows = extractor.nb_max_frames, []
        for wave in waves:
            mel = extractor(
                wave,
                sampling_rate=extractor.sampling_rate,
                padding=True,
                truncation=False,
                pad_to_multiple_of=extractor.n_samples,
                return_tensors="pt",
            )["input_features"]
            windows.append(mel.reshape(extractor.feature_size, -1, window).transpose(0, 1))
        counts = [len(part) * window // FRAMES_A_TOKEN for part in windows]
        return {"input_features": torch.cat(windows)}, counts
