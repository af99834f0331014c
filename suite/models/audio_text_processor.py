"""A processor for text and speech only, where a family's own one also wants images.

The native processors of several families load image and video processors, which need torchvision
and pillow. None of that is used here, so tokenizer and feature extractor are put together alone.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

Heard = tuple[dict[str, Tensor], list[int]]
"""What the network takes of some waveforms, and the number of audio tokens of each."""

Hear = Callable[[Any, Sequence[Any]], Heard]
"""(feature extractor, waveforms) -> see `Heard`."""


@dataclass
class AudioTextProcessor:
    """Turns chat text and waveforms into what a network takes.

    Attributes:
        tokenizer, feature_extractor: of transformers.
        chat_template: Jinja text; None where the family writes its prompts by itself.
        audio_token: stands for a clip in chat text, and is repeated once an audio token.
        hear: how the family listens.
    """

    tokenizer: Any
    feature_extractor: Any
    chat_template: str | None
    audio_token: str
    hear: Hear

    def apply_chat_template(self, turns: list[dict[str, Any]], **options: Any) -> Any:
        """As any tokenizer does."""
        given = {"chat_template": self.chat_template, **options}
        return self.tokenizer.apply_chat_template(turns, **given)

    def __call__(
        self, text: Sequence[str], audio: Sequence[Any] = (), **_options: Any
    ) -> dict[str, Tensor]:
        """Everything the network's forward takes for a batch, padded on the left.

        Args:
            text: [batch] chat texts.
            audio: a waveform for each audio token in them, in order.
        """
        inputs, counts = self.hear(self.feature_extractor, audio) if len(audio) else ({}, [])
        return {**expanded(self.tokenizer, text, self.audio_token, counts), **inputs}


def expanded(
    tokenizer: Any, texts: Sequence[str], audio_token: str, counts: Sequence[int]
) -> dict[str, Tensor]:
    """Chat texts as padded `input_ids` and `attention_mask`, audio tokens repeated.

    Args:
        tokenizer: of transformers.
        texts: [batch] chat texts.
        audio_token: stands for a clip in them.
        counts: audio tokens of each clip, in order.
    """
    left = iter(counts)
    longer = [re.sub(re.escape(audio_token), lambda m: m[0] * next(left), one) for one in texts]
    encoded = tokenizer(longer, add_special_tokens=False, padding=True, return_tensors="pt")
    return {name: encoded[name] for name in ("input_ids", "attention_mask")}


def read_template(folder: Path) -> str | None:
    """The chat template beside a checkpoint; None where only its tokenizer has one."""
    jinja, older = folder / "chat_template.jinja", folder / "chat_template.json"
    if jinja.is_file():
        return jinja.read_text(encoding="utf-8")
    if older.is_file():
        text: str = json.loads(older.read_text(encoding="utf-8"))["chat_template"]
        return text
    return None


def whisper_features(extractor: Any, waves: Sequence[Any]) -> tuple[Tensor, Tensor]:
    """Mel features and their mask, padded to the longest clip instead of to the whole window.

    A frame looks at half an FFT window of what follows, so that much silence is kept behind the
    longest clip: what the mask lets through is bit for bit what padding to the window gives.

    Returns:
        [clips, mel bins, frames], and [clips, frames] with 1 on frames of a clip.
    """
    hop = extractor.hop_length
    samples = max(map(len, waves)) + extractor.n_fft
    made = extractor(
        list(waves),
        sampling_rate=extractor.sampling_rate,
        padding="max_length",
        max_length=-(-samples // hop) * hop,
        return_attention_mask=True,
        return_tensors="pt",
    )
    return made["input_features"], made["attention_mask"].to(torch.long)
