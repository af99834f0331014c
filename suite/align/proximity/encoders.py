"""Names of encoders -> embeddings of questions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from greaves.align.proximity.config import OWN, TF_IDF
from greaves.align.proximity.pretrained import Encode, pretrained
from greaves.base.errors import ModelError
from greaves.data.alignment.sets import AlignmentItem
from greaves.models.contract import LALM
from greaves.models.transformers_lalm import opened


def find_encoder(name: str, axis: Literal["semantic", "acoustic"], model: LALM) -> Encode:
    """The encoder that `name` means on an axis.

    Args:
        name: "tf-idf", "own", or a folder or hub name, with "@" and a revision behind it or not.
        axis: what it is to compare.
        model: whose own audio encoder "own" is.

    Returns:
        [items] -> [items, size]. It is called once for benign and harmful questions together.

    Raises:
        ModelError: it cannot be loaded, or does not encode what the axis compares.
    """
    if name == OWN:
        return _own_audio(model)
    found, hears = (tf_idf, False) if name == TF_IDF else pretrained(name, model)
    if hears != (axis == "acoustic"):
        takes = "clips" if hears else "text"
        raise ModelError(
            f"encoder {name!r} takes {takes}: not for the {axis} axis",
            do="give WavLM or Whisper as acoustic_encoder, a text encoder as semantic_encoder",
        )
    return found


def tf_idf(items: Sequence[AlignmentItem]) -> Tensor:
    """TF-IDF of single words and of pairs of neighbours in the transcripts, fitted on these items.

    scikit-learn's defaults otherwise: smoothed inverse document frequency, rows of length one.

    Args:
        items: benign and harmful questions together.

    Returns:
        [items, terms] in float64.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer  # seconds, and seldom needed

    words = r"\b\w+\b"  # scikit-learn's own pattern drops words of one letter
    vectoriser = TfidfVectorizer(ngram_range=(1, 2), token_pattern=words)
    vectors = vectoriser.fit_transform([item.text for item in items])
    return torch.from_numpy(vectors.toarray())


def _own_audio(model: LALM) -> Encode:
    """Mean over time of what the language model is given for a clip: the audio tower's output
    behind its projector.

    Raises:
        ModelError: the model is a black box.
    """
    network = opened(model, "has no audio encoder to look into")

    def encode(items: Sequence[AlignmentItem]) -> Tensor:
        rows = network.features([item.clip for item in items])
        return torch.stack([row.float().mean(dim=0).cpu() for row in rows])

    return encode
