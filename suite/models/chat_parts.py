"""Parts of a user's message: text, and clips as every audio server takes them."""

from __future__ import annotations

import base64
import io
import wave
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from greaves.data.speech.clips import load_clip

RATE = 16_000
"""Hz. What Whisper-style audio towers hear."""

ClipForm = Literal["input_audio", "audio_url"]
"""OpenAI's own form, or a data URI, which SGLang took before it took the other."""


def text_part(text: str) -> dict[str, Any]:
    """A text part."""
    return {"type": "text", "text": text}


def clip_part(path: str | Path, form: ClipForm = "input_audio") -> dict[str, Any]:
    """A clip as a part.

    Args:
        path: a file that libsndfile reads.
        form: see `ClipForm`.

    Raises:
        DataError: the clip is missing or broken (see `greaves.data.speech.clips.load_clip`).
    """
    data = base64.b64encode(wav(load_clip(path, RATE))).decode("ascii")
    if form == "audio_url":
        return {"type": form, form: {"url": f"data:audio/wav;base64,{data}"}}
    return {"type": form, form: {"data": data, "format": "wav"}}


def wav(samples: NDArray[np.float32]) -> bytes:
    """A WAV file, 16-bit PCM, mono, 16 kHz: the same samples give the same bytes anywhere.

    Args:
        samples: [samples] in -1..1; what lies outside is clipped.
    """
    numbers = np.clip(np.rint(samples * 32768.0), -32768, 32767).astype("<i2")
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setnchannels(1)
        writer.setsampwidth(2)
        writer.setframerate(RATE)
        writer.writeframes(numbers.tobytes())
    return file.getvalue()
