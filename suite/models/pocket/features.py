"""Cached audio features of the training clips, for the stage in which the encoder is frozen."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from transformers import Qwen2AudioForConditionalGeneration

from greaves.data.speech.voices import SAMPLE_RATE
from greaves.models.pocket.architecture import SECONDS, feature_extractor
from greaves.models.pocket.clips import mel_frames
from greaves.models.pocket.speech_cache import (
    Mels,
    SpeechCache,
    audio_token_counts,
    encode,
    stack_mels,
)
from greaves.models.pocket.train_encoder import shift_bins

_LARGEST_SHIFT = 2
_EMPTY_CLIPS = 200


def training_features(
    model: Qwen2AudioForConditionalGeneration, speech: SpeechCache, cache: Path, seed: int
) -> list[torch.Tensor]:
    """Audio features of every training clip, each heard with a slightly shifted spectrum.

    Args:
        model: the pocket LALM with its trained encoder.
        speech: the training clips.
        cache: file prefix; features found there are read, not computed.
        seed: of the shifts.

    Returns:
        One tensor [audio tokens, hidden size] (float16) a clip.
    """
    rows_file, ends_file = cache.with_suffix(".npy"), cache.with_suffix(".ends.npy")
    if not ends_file.exists():
        torch.manual_seed(seed)
        found = _encode_all(model, list(speech.mels), _LARGEST_SHIFT)
        np.save(rows_file, torch.cat(found).numpy())
        np.save(ends_file, np.cumsum([len(rows) for rows in found]))
    rows = torch.from_numpy(np.load(rows_file))
    return list(rows.tensor_split(torch.from_numpy(np.load(ends_file)[:-1])))


def empty_features(model: Qwen2AudioForConditionalGeneration, seed: int) -> list[torch.Tensor]:
    """Audio features of clips of 1-4 s that say nothing: silence, or noise of any level."""
    noise = np.random.default_rng(seed)
    extractor = feature_extractor()
    mels: list[Mels] = []
    for number in range(_EMPTY_CLIPS):
        samples = noise.normal(0.0, 1.0, int(noise.uniform(1.0, SECONDS) * SAMPLE_RATE))
        level = 0.0 if number % 4 == 0 else 10 ** noise.uniform(-2.5, 0.0)
        clip = np.clip(samples * level, -1.0, 1.0).astype(np.float32)
        mels.append(mel_frames(extractor, [clip])[0].astype(np.float16))
    return _encode_all(model, mels, 0)


def _encode_all(
    model: Qwen2AudioForConditionalGeneration, mels: list[Mels], largest_shift: int
) -> list[torch.Tensor]:
    order = sorted(range(len(mels)), key=lambda i: len(mels[i]))
    found: list[torch.Tensor] = [torch.empty(0)] * len(mels)
    for start in range(0, len(order), 64):
        part = order[start : start + 64]
        stacked, frames = stack_mels([mels[i] for i in part])
        with torch.no_grad():
            features = encode(model, shift_bins(stacked, largest_shift).to(model.dtype), frames)
        for i, rows, count in zip(part, features, audio_token_counts(frames), strict=True):
            found[i] = rows[:count].to(torch.float16).clone()
    return found
