"""Names of encoders -> embeddings of questions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

from torch import Tensor

from greaves.align.proximity.config import OWN, TF_IDF
from greaves.base.errors import ModelError
from greaves.data.alignment.sets import AlignmentItem
from greaves.models.contract import LALM

Encoder = Callable[[Sequence[AlignmentItem]], Tensor]
"""[items] -> [items, size]. Called once for benign and harmful questions together."""


def find_encoder(name: str, axis: Literal["semantic", "acoustic"], model: LALM) -> Encoder:
    """The encoder that `name` means on an axis.

    Args:
        name: "tf-idf", "own", or a folder or hub name, with "@" and a revision behind it or not.
        axis: what it is to compare.
        model: whose own audio encoder "own" is.

    Raises:
        ModelError: it cannot be loaded, or does not encode what the axis compares.
    """
    if name == OWN:
        from greaves.align.proximity.own_audio import own_audio

        return own_audio(model)
    found: Encoder
    if name == TF_IDF:
        from greaves.align.proximity.tf_idf import tf_idf

        found, hears = tf_idf, False
    else:
        from greaves.align.proximity.pretrained import pretrained

        found, hears = pretrained(name, model)
    if hears != (axis == "acoustic"):
        takes = "clips" if hears else "text"
        raise ModelError(
            f"encoder {name!r} takes {takes}: not for the {axis} axis",
            do="give WavLM or Whisper as acoustic_encoder, a text encoder as semantic_encoder",
        )
    return found
