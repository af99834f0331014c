"""Clips that cannot go into a set are told from good ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
from made_data_servers import tone

from greaves.data.folders import EMBEDDED
from greaves.data.speech.clips import clip_fault

RATE = 16_000


def noise(seconds: float, peak: float) -> np.ndarray:
    return peak * np.random.default_rng(0).uniform(-1, 1, int(seconds * RATE))


def fault(folder: Path, samples: np.ndarray) -> str:
    soundfile.write(folder / "clip.wav", samples, RATE, subtype="PCM_16")
    return clip_fault(folder / "clip.wav")


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        (np.zeros(0), "no samples"),
        (np.zeros(RATE), "silent"),
        (noise(1.0, 0.002), "silent"),
        (noise(0.05, 0.5), "less than 0.1 s"),
        (noise(30.1, 0.5), "more than 30 s"),
        (np.clip(noise(1.0, 30.0), -1, 1), "clipped"),
        (np.stack([noise(1.0, 0.3), np.sign(noise(1.0, 1.0))], axis=1), "clipped"),
    ],
)
def test_a_fault_is_named(tmp_path: Path, samples: np.ndarray, message: str) -> None:
    assert message in fault(tmp_path, samples)


@pytest.mark.parametrize("content", [b"", b"RIFF nonsense", b"\x00" * 5_000])
def test_what_is_no_audio_is_a_fault(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "clip.wav").write_bytes(content)
    assert clip_fault(tmp_path / "clip.wav")


def test_loud_and_quiet_speech_is_no_fault(tmp_path: Path) -> None:
    assert fault(tmp_path, noise(29.9, 0.5)) == ""
    assert fault(tmp_path, noise(1.0, 0.01)) == ""
    # Normalised to full scale: single samples touch it, none is cut off.
    assert fault(tmp_path, noise(1.0, 1.0) / np.abs(noise(1.0, 1.0)).max()) == ""
    (tmp_path / "tone.wav").write_bytes(tone())
    assert clip_fault(tmp_path / "tone.wav") == ""


@pytest.mark.parametrize("name", ["basic", "mirror", "parallel"])
def test_no_embedded_clip_has_a_fault(name: str) -> None:
    clips = sorted((EMBEDDED / name / "clips").glob("*.ogg"))[::8]
    assert len(clips) >= 24
    assert {clip_fault(clip) for clip in clips} == {""}
