"""States after the final norm of the last positions only, at the price of what they need.

Two things are left out, and neither changes the result: padding (rows are packed, see `packing`),
and what the last decoder layer would compute for positions that nobody reads. Keys and values of
that layer are needed everywhere; queries, attention rows, output projection and MLP only where
states are kept.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

from torch import Tensor, nn
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from greaves.align.training.lean import forwards
from greaves.align.training.packing import PackedRows, attention_within_rows
from greaves.models.decoder import Batch

PRE_NORM_LAYERS = frozenset(
    {
        "LlamaDecoderLayer",  # Voxtral
        "MistralDecoderLayer",
        "Qwen2DecoderLayer",  # Qwen2-Audio, Audio Flamingo 3
        "Qwen2_5OmniDecoderLayer",
        "Qwen3DecoderLayer",
        "Qwen3OmniMoeThinkerTextDecoderLayer",
    }
)
"""Layer classes of transformers of one and the same build: h += attention(norm(h)), then
h += mlp(norm(h)), with rotary positions and projections called q, k, v and o."""


def last_states(decoder: nn.Module, batch: Batch, keep: int) -> Tensor:
    """See `layer_states`: [batch, keep, hidden_size] after the final norm."""
    return layer_states(decoder, batch, keep)[0]


def layer_states(
    decoder: nn.Module, batch: Batch, keep: int, layers: Collection[int] = ()
) -> tuple[Tensor, dict[int, Tensor]]:
    """States at the last `keep` positions of each row, after the final norm and after layers.

    Equal to a plain forward pass cut to its last positions, values and gradients, up to rounding;
    decoders of other builds than `PRE_NORM_LAYERS` get just that. Modules are called, never
    bypassed, so LoRA, autocast and DeepSpeed ZeRO work as in a plain pass.

    Args:
        decoder: the language model, `network.get_decoder()`.
        batch: inputs padded on the left.
        keep: positions wanted of each row. Where a row has fewer tokens, the positions before its
            first token hold values without a meaning.
        layers: decoder layers whose outputs are wanted, counted from 1. The last one's is taken
            after the final norm.

    Returns:
        [batch, keep, hidden_size] after the final norm; and the same after each of `layers`.
    """
    found: dict[int, Tensor] = {}
    modules: Any = decoder.layers
    inner = {number: modules[number - 1] for number in layers if number < len(modules)}
    if not can_pack(decoder):
        with _kept(inner, lambda states: states[:, -keep:], found):
            output = decoder(**batch.inputs(), use_cache=False)
        final: Tensor = output.last_hidden_state[:, -keep:]
    else:
        rows = PackedRows.of(batch.mask)
        shape, last = (len(rows.lengths), keep, -1), rows.last(keep)
        with (
            attention_within_rows(decoder),
            _trimmed(modules[-1], rows, keep),
            _kept(inner, lambda states: states[0, last].view(shape), found),
        ):
            output = decoder(
                inputs_embeds=rows.pack(batch.embeds),
                position_ids=rows.pack(batch.positions),
                packed_rows=rows,
                use_cache=False,
            )
        final = output.last_hidden_state.view(shape)
    return final, {number: found.get(number, final) for number in layers}


@contextmanager
def _kept(
    layers: Mapping[int, nn.Module], cut: Callable[[Tensor], Tensor], found: dict[int, Tensor]
) -> Iterator[None]:
    """Put what layers hand on, cut to the positions wanted, into `found`."""

    def keeper(number: int) -> Callable[..., None]:
        def keep(_layer: nn.Module, _inputs: Any, output: Any) -> None:
            found[number] = cut(output[0] if isinstance(output, tuple) else output)

        return keep

    with ExitStack() as stack:
        for number, layer in layers.items():
            stack.callback(layer.register_forward_hook(keeper(number)).remove)
        yield


def can_pack(decoder: nn.Module) -> bool:
    """Whether this decoder's layers are known, see every earlier token, and run only once a step.

    Gradient checkpointing runs them again in the backward pass, when the rows are forgotten.
    """
    layers: Any = decoder.layers
    config: Any = decoder.config
    kinds = set(getattr(config, "layer_types", None) or ["full_attention"])
    window = getattr(config, "sliding_window", None)
    return (
        {type(layer).__name__ for layer in layers} <= PRE_NORM_LAYERS
        and kinds == {"full_attention"}
        and (window is None or hasattr(config, "layer_types"))
        and not any(layer.gradient_checkpointing and layer.training for layer in layers)
    )


@contextmanager
def _trimmed(layer: Any, rows: PackedRows, keep: int) -> Iterator[None]:
    """Let the last layer work for the kept positions only until the context is left."""
    kept, seen = rows.last(keep), rows.seen_by_last(keep)
    attention = layer.self_attn
    rotate = sys.modules[type(attention).__module__].apply_rotary_pos_emb

    def attend(
        hidden_states: Tensor, position_embeddings: tuple[Tensor, Tensor], **_: Any
    ) -> tuple[Tensor, None]:
        def heads(states: Tensor, norm: str | None = None) -> Tensor:
            apart = states.view(1, states.shape[1], -1, attention.head_dim)
            if norm is not None and hasattr(attention, norm):
                apart = getattr(attention, norm)(apart)
            return apart.transpose(1, 2)

        asking = hidden_states[:, kept]
        query = heads(attention.q_proj(asking), "q_norm")
        key = heads(attention.k_proj(hidden_states), "k_norm")
        value = heads(attention.v_proj(hidden_states))
        cos, sin = position_embeddings
        query, _ = rotate(query, query, cos[:, kept], sin[:, kept])
        _, key = rotate(key, key, cos, sin)
        query = query.view(-1, len(rows.lengths), keep, attention.head_dim).transpose(0, 1)
        states, _ = sdpa_attention_forward(
            attention,
            query,
            rows.apart(key),
            rows.apart(value),
            seen,
            dropout=attention.attention_dropout if attention.training else 0.0,
            scaling=attention.scaling,
        )
        return attention.o_proj(states.flatten(2).flatten(0, 1)[None]), None

    def forward(hidden_states: Tensor, **options: Any) -> Tensor:
        attended, _ = attention(hidden_states=layer.input_layernorm(hidden_states), **options)
        states = hidden_states[:, kept] + attended
        moved: Tensor = states + layer.mlp(layer.post_attention_layernorm(states))
        return moved

    with forwards({attention: attend, layer: forward}):
        yield
