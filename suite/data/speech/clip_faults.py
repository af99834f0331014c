"""What is wrong with a clip: empty, unreadable, silent, clipped, too long."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from greaves.base.errors import DataError
from greaves.data.speech.clips import load_clip
from greaves.data.speech.voices import SAMPLE_RATE

SILENT_PEAK = 0.003
"""Of full scale (-50 dBFS). The quietest synthetic voice peaks above 0.1."""

FULL_SCALE = 0.999
"""A sample at or above this share of full scale may have been cut off."""

CLIPPED_RUN = 3
"""So many samples in a row at full scale are cut-off peaks; one or two are merely loud."""

CLIPPED_SHARE = 0.001
"""A clip with more than this share of its samples in such runs is called clipped."""


def clip_fault(path: Path) -> str:
    """Why a clip cannot go into a set.

    Args:
        path: the clip.

    Returns:
        One phrase, or "" for a clip without fault. Beside what `load_clip` refuses (missing, empty,
        not audio, below 8 kHz, under 0.1 s, over 30 s), silence and clipping are faults.
    """
    fault = unheard(path)
    if fault:
        return fault
    levels = _levels(path)
    share = max(_share_clipped(channel) for channel in levels.T)
    if share > CLIPPED_SHARE:
        return f"the clip is clipped ({share:.1%} of its samples are cut off at full scale)"
    return ""


def unheard(path: Path) -> str:
    """Why nothing can be heard of a clip: what `load_clip` refuses, and silence; "" if it can."""
    try:
        load_clip(path, SAMPLE_RATE)
    except DataError as error:
        return error.what
    peak = float(_levels(path).max())
    return f"the clip is silent (peak {peak:.4f} of full scale)" if peak < SILENT_PEAK else ""


def _levels(path: Path) -> NDArray[np.float32]:
    """Absolute values of the samples, [samples, channels]."""
    samples, _ = soundfile.read(path, dtype="float32", always_2d=True)
    levels: NDArray[np.float32] = np.abs(samples)
    return levels


def _share_clipped(levels: NDArray[np.float32]) -> float:
    """Share of samples that stand in runs at full scale of `CLIPPED_RUN` or more."""
    full = np.concatenate(([False], levels >= FULL_SCALE, [False]))
    edges = np.flatnonzero(full[1:] != full[:-1])
    lengths = edges[1::2] - edges[::2]
    return float(lengths[lengths >= CLIPPED_RUN].sum() / len(levels))
