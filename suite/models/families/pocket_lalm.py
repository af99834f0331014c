"""The embedded pocket LALM as a model of the suite."""

from __future__ import annotations

from pathlib import Path

from greaves.models.chat_text import NONE
from greaves.models.contract import register_model
from greaves.models.families.qwen2_audio import Qwen2Audio

WEIGHTS = Path(__file__).resolve().parents[1] / "pocket" / "weights"


@register_model("pocket")
def pocket(device: str = "cpu", dtype: str = "float32", system: str = NONE) -> Qwen2Audio:
    """The embedded pocket LALM: a few million parameters, no GPU, no download."""
    return Qwen2Audio.from_checkpoint(
        WEIGHTS, name="pocket", device=device, dtype=dtype, system=system
    )
