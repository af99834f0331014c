"""Transcripts as TF-IDF vectors: a text encoder that needs no download."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from sklearn.feature_extraction.text import TfidfVectorizer
from torch import Tensor

from greaves.data.alignment.sets import AlignmentItem


def tf_idf(items: Sequence[AlignmentItem]) -> Tensor:
    """Weights of single words and of pairs of neighbours, fitted on these very items.

    scikit-learn's defaults otherwise: smoothed inverse document frequency, rows of length one.

    Args:
        items: benign and harmful questions together.

    Returns:
        [items, terms] in float64.
    """
    words = r"\b\w+\b"  # scikit-learn's own pattern drops words of one letter
    vectoriser = TfidfVectorizer(ngram_range=(1, 2), token_pattern=words)
    vectors = vectoriser.fit_transform([item.text for item in items])
    return torch.from_numpy(vectors.toarray())
