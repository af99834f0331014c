"""Text encoders: transcripts, mean-pooled; the paper's is all-MiniLM-L6-v2.

Mean pooling over the tokens that are not padding is what sentence-transformers does for that model,
so the library is not needed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from transformers import AutoModel, AutoTokenizer

from greaves.align.proximity.source import Source
from greaves.data.alignment.sets import AlignmentItem

BATCH = 32


def sentences(source: Source, device: torch.device) -> Callable[[Sequence[AlignmentItem]], Tensor]:
    """An encoder of texts: [items, hidden_size] in float32."""
    tokenizer = AutoTokenizer.from_pretrained(source.place, **source.options)
    network = source.load(AutoModel, device)
    longest = tokenizer.model_max_length
    longest = min(longest, getattr(network.config, "max_position_embeddings", longest))

    @torch.no_grad()
    def encode(items: Sequence[AlignmentItem]) -> Tensor:
        rows: list[Tensor] = []
        for start in range(0, len(items), BATCH):
            texts = [item.text for item in items[start : start + BATCH]]
            tokens = tokenizer(
                texts, padding=True, truncation=True, max_length=longest, return_tensors="pt"
            ).to(device)
            states = network(**tokens).last_hidden_state
            mask = tokens["attention_mask"][..., None].to(states)
            rows.append(((states * mask).sum(dim=1) / mask.sum(dim=1)).cpu())
        return torch.cat(rows)

    return encode
