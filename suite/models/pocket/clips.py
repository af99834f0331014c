"""Clips as they ship (Ogg Opus) and as the encoder reads them (log-mel frames)."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import numpy.typing as npt
import soundfile
from transformers import WhisperFeatureExtractor

from greaves.base.errors import DataError
from greaves.data.speech.voices import SAMPLE_RATE

Samples = npt.NDArray[np.float32]

_COMPRESSION = 0.96
"""libsndfile's scale of Opus bit rates: about 17 kbit/s, wide-band speech."""


def encode_clip(samples: Samples) -> bytes:
    """Ogg Opus bytes of mono samples at 16 kHz."""
    buffer = io.BytesIO()
    soundfile.write(
        buffer, samples, SAMPLE_RATE, format="OGG", subtype="OPUS", compression_level=_COMPRESSION
    )
    return buffer.getvalue()


def decode_clip(clip: bytes | Path) -> Samples:
    """Mono samples at 16 kHz of an embedded clip, shape [samples]."""
    source = io.BytesIO(clip) if isinstance(clip, bytes) else clip
    samples, rate = soundfile.read(source, dtype="float32")
    if rate != SAMPLE_RATE:
        raise DataError(f"the clip has {rate} Hz, not {SAMPLE_RATE}", do="rebuild the data folder")
    found: Samples = samples
    return found


def mel_frames(extractor: WhisperFeatureExtractor, clips: list[Samples]) -> list[Samples]:
    """Log-mel frames of each clip without most of its padding.

    Args:
        extractor: the pocket feature extractor.
        clips: mono samples at 16 kHz.

    Returns:
        One array [frames, mel bins] a clip; two frames of padding are kept, for the convolutions
        see them.
    """
    # The mask is in frames only when it is asked for at the call.
    found = extractor(
        clips, sampling_rate=SAMPLE_RATE, return_tensors="np", return_attention_mask=True
    )
    counts = found["attention_mask"].sum(-1)
    return [
        mel[:, : count + 2].T.astype(np.float32)
        for mel, count in zip(found["input_features"], counts, strict=True)
    ]
