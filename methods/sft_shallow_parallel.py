"""SFT-Shallow on Parallel: SFT-Shallow on Mirror, on other benign questions (RRS paper, 2025).

Parallel has Mirror's harmful questions and as many benign ones that have nothing to do with them:
the ablation of Mirror's rewritten questions. Loss and defaults are those of `sft-shallow-mirror`.
"""

from __future__ import annotations

from typing import ClassVar

from greaves.align.method import Requirements, register_method
from greaves.methods.sft_shallow_mirror import SFTShallowMirror


@register_method("sft-shallow-parallel")
class SFTShallowParallel(SFTShallowMirror):
    """Supervised fine-tuning on the first token, on Parallel (baseline of the RRS paper)."""

    requires: ClassVar[Requirements] = Requirements(data="parallel", weights=True, gradients=True)
