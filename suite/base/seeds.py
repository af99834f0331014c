"""Seeds of single samples."""

from __future__ import annotations

import hashlib


def sample_seed(base: int, task: str, question_id: str, sample: int) -> int:
    """Seed of one sample, 0 <= seed < 2**63.

    It does not depend on model or method: all of them answer a question under the same noise,
    which makes their differences less noisy than they are (common random numbers).
    """
    text = f"{base}\0{task}\0{question_id}\0{sample}"
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8]) >> 1
