"""Rows of a padded batch laid end to end, so that no padding passes through the language model.

The linear layers see [1, tokens, hidden_size] with the real tokens only. Attention alone needs the
rows apart: it gets them padded on the right, where the causal rule by itself keeps every real token
from seeing padding, so no mask is ever built and the fused kernels for causal attention apply.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AttentionInterface
from transformers.integrations.sdpa_attention import repeat_kv, sdpa_attention_forward

ATTENTION = "greaves_packed"
"""Name under which transformers finds `packed_attention`."""


@dataclass(frozen=True)
class PackedRows:
    """Where each token of a packed batch belongs.

    Attributes:
        lengths: [batch] real tokens of each row.
        tokens: [tokens] index of each real token in the padded batch, flattened; rows in order.
        slots: [tokens] index of each real token in the same batch padded on the right, flattened.
    """

    lengths: tuple[int, ...]
    tokens: Tensor
    slots: Tensor

    @classmethod
    def of(cls, mask: Tensor) -> PackedRows:
        """Read them off a mask, [batch, length] with 1 on tokens and 0 on padding."""
        real = mask.bool()
        lengths = tuple(real.sum(dim=1).tolist())
        row, _ = real.nonzero(as_tuple=True)
        within = (real.cumsum(dim=1) - 1)[real]
        return cls(lengths, real.flatten().nonzero()[:, 0], row * max(lengths) + within)

    @cached_property
    def even(self) -> bool:
        """All rows are equally long: packing is a view."""
        return len(set(self.lengths)) == 1

    def pack(self, padded: Tensor) -> Tensor:
        """[batch, length, ...] of the padded batch to [1, tokens, ...]."""
        return padded.flatten(0, 1).index_select(0, self.tokens)[None]

    def apart(self, packed: Tensor) -> Tensor:
        """[1, heads, tokens, head_dim] to [batch, heads, longest, head_dim], padded on the right.

        The padding holds zeros.
        """
        batch, longest = len(self.lengths), max(self.lengths)
        states = packed[0].transpose(0, 1)
        if not self.even:
            empty = states.new_zeros(batch * longest, *states.shape[1:])
            states = empty.index_copy(0, self.slots, states)
        return states.reshape(batch, longest, *states.shape[1:]).transpose(1, 2)

    def together(self, states: Tensor) -> Tensor:
        """[batch, longest, heads, head_dim], padded on the right, to [1, tokens, ...]."""
        flat = states.flatten(0, 1)
        return (flat if self.even else flat.index_select(0, self.slots))[None]

    def last(self, keep: int) -> Tensor:
        """[batch * keep] packed index of each row's last `keep` tokens, in order.

        A row shorter than `keep` repeats its first token.
        """
        lengths = torch.tensor(self.lengths, device=self.tokens.device)
        ends = lengths.cumsum(0)[:, None]
        wanted = ends + torch.arange(-keep, 0, device=ends.device)
        return wanted.maximum(ends - lengths[:, None]).flatten()

    def seen_by_last(self, keep: int) -> Tensor:
        """[batch, 1, keep, longest] true where one of the last `keep` tokens sees a token."""
        lengths = torch.tensor(self.lengths, device=self.tokens.device)
        places = (lengths[:, None] + torch.arange(-keep, 0, device=lengths.device)).clamp(min=0)
        tokens = torch.arange(max(self.lengths), device=lengths.device)
        return (tokens <= places[..., None])[:, None]


def packed_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    packed_rows: PackedRows,
    **options: Any,
) -> tuple[Tensor, None]:
    """Causal attention within each row of a packed batch; an attention function of transformers.

    Args:
        module: the attention module; transformers reads its number of key-value groups.
        query: [1, heads, tokens, head_dim].
        key: [1, key-value heads, tokens, head_dim], and so `value`.
        attention_mask: not used; None from transformers, which knows no mask for this function.
        packed_rows: which tokens form a row.
        options: scaling and dropout.

    Returns:
        [1, tokens, heads, head_dim], and None for the attention weights.
    """
    query, key, value = (packed_rows.apart(states) for states in (query, key, value))
    if value.device.type == "cpu" and value.dtype == torch.bfloat16:
        query, key = query.to(value.dtype), key.to(value.dtype)  # rotary positions widen them
        states = _written_out(query, key, value, options["scaling"], options["dropout"])
    else:
        options["is_causal"] = True
        states, _ = sdpa_attention_forward(module, query, key, value, None, **options)
    return packed_rows.together(states), None


def _written_out(query: Tensor, key: Tensor, value: Tensor, scaling: float, p: float) -> Tensor:
    """Causal attention by matrix products; in bf16 twice as fast as torch's fused CPU kernel."""
    batch, heads, length, _ = query.shape
    groups = heads // key.shape[1]
    key, value = repeat_kv(key, groups), repeat_kv(value, groups)
    query, key, value = (states.flatten(0, 1) for states in (query, key, value))
    future = query.new_full((length, length), float("-inf")).triu(1)
    future = future.expand(batch * heads, -1, -1)
    scores = torch.baddbmm(future, query, key.transpose(1, 2), alpha=scaling)
    weights = nn.functional.dropout(scores.softmax(dim=-1), p)
    return (weights @ value).view(batch, heads, length, -1).transpose(1, 2)


AttentionInterface.register(ATTENTION, packed_attention)


@contextmanager
def attention_within_rows(decoder: nn.Module) -> Iterator[None]:
    """Let `decoder` use `packed_attention` until the context is left."""
    config: Any = decoder.config
    before = config._attn_implementation
    config._attn_implementation = ATTENTION
    try:
        yield
    finally:
        config._attn_implementation = before
