"""The embedded pocket LALM as a model of the suite."""

from __future__ import annotations

from pathlib import Path

from greaves.models.qwen2_audio import Qwen2Audio, load_folder
from greaves.registry import register_model

WEIGHTS = Path(__file__).resolve().parent / "pocket" / "weights"


@register_model("pocket")
def pocket(device: str = "cpu", dtype: str = "float32") -> Qwen2Audio:
    """The embedded pocket LALM: a few million parameters, no GPU, no download."""
    return load_folder("pocket", WEIGHTS, device=device, dtype=dtype)
