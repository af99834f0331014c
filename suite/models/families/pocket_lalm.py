"""The embedded pocket LALM as a model of the suite."""

from __future__ import annotations

from pathlib import Path

from greaves.models.contract import register_model
from greaves.models.families.qwen2_audio import Qwen2Audio, load_folder

WEIGHTS = Path(__file__).resolve().parents[1] / "pocket" / "weights"


@register_model("pocket")
def pocket(device: str = "cpu", dtype: str = "float32") -> Qwen2Audio:
    """The embedded pocket LALM: a few million parameters, no GPU, no download."""
    return load_folder("pocket", WEIGHTS, device=device, dtype=dtype)
