"""A processor for text and speech only, where a family's own one also wants images.

The native processors of several families load image and video processors, which need torchvision
and pillow. None of that is used here, so tokenizer and feature extractor are put together alone.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import AutoTokenizer

from greaves.models.loading import pretrained

Heard = tuple[dict[str, Tensor], list[int]]
"""What the network takes of some waveforms, and the number of audio tokens of each."""

Hear = Callable[[Any, Sequence[Any]], Heard]
"""(feature extractor, waveforms) -> see `Heard`."""


class AudioTextProcessor:
    """Turns chat text and waveforms into what a network takes.

    Args:
        tokenizer: of transformers.
        feature_extractor: of transformers.
        chat_template: Jinja text; None where the family writes its prompts by itself.
        audio_token: stands for a clip in chat text, and is repeated once an audio token.
        hear: how the family listens.
    """

    def __init__(
        self,
        tokenizer: Any,
        feature_extractor: Any,
        chat_template: str | None,
        audio_token: str,
        hear: Hear,
    ) -> None:
        self.tokenizer, self.feature_extractor = tokenizer, feature_extractor
        self.chat_template, self.audio_token, self.hear = chat_template, audio_token, hear

    @classmethod
    def read(cls, folder: Path, extractor: Any, audio_token: str, hear: Hear) -> AudioTextProcessor:
        """Read a checkpoint folder's tokenizer, chat template and feature extractor.

        Args:
            folder: the checkpoint.
            extractor: class of its feature extractor.
            audio_token, hear: see the class.
        """
        tokenizer = pretrained(AutoTokenizer, folder)
        return cls(
            tokenizer, pretrained(extractor, folder), read_template(folder), audio_token, hear
        )

    def apply_chat_template(self, turns: list[dict[str, Any]], **options: Any) -> str:
        """See `apply_chat_template` of any tokenizer."""
        text: str = self.tokenizer.apply_chat_template(
            turns, chat_template=self.chat_template, **options
        )
        return text

    def __call__(
        self, text: Sequence[str], audio: Sequence[Any] = (), **_options: Any
    ) -> dict[str, Tensor]:
        """Everything the network's forward takes for a batch, padded on the left.

        Args:
            text: [batch] chat texts.
            audio: a waveform for each audio token in them, in order.
        """
        inputs, counts = self.hear(self.feature_extractor, audio) if len(audio) else ({}, [])
        left = iter(counts)
        texts = []
        for one in text:
            head, *tails = one.split(self.audio_token)
            texts.append(head + "".join(self.audio_token * next(left) + tail for tail in tails))
        encoded = self.tokenizer(texts, add_special_tokens=False, padding=True, return_tensors="pt")
        ids, mask = encoded["input_ids"], encoded["attention_mask"]
        return {"input_ids": ids, "attention_mask": mask, **inputs}


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
