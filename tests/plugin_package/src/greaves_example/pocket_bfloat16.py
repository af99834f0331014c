"""A model of one's own: the pocket LALM in half the memory."""

from __future__ import annotations

from greaves.models.contract import LALM
from greaves.models.families.pocket_lalm import WEIGHTS
from greaves.models.families.qwen2_audio import Qwen2Audio


def pocket_bfloat16(device: str = "cpu") -> LALM:
    """The embedded pocket LALM with its weights in bfloat16."""
    return Qwen2Audio.from_checkpoint(
        WEIGHTS, name="pocket-bfloat16", device=device, dtype="bfloat16", system="none"
    )
