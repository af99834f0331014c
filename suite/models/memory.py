"""What a checkpoint needs in memory, from its configuration alone: nothing is loaded.

Weights, key-value cache and LoRA are counted exactly; activations of fine-tuning are an estimate.
"""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from greaves.models.adapters import projections
from greaves.models.loading import check_files, one_line, pretrained
from greaves.models.transformers_lalm import TransformersLALM

BYTES = 2
"""Of a number in bfloat16, in which models run on a GPU."""

TRAINED_BYTES = 16
"""A trained number in float32: itself, its gradient, and AdamW's two moments."""

ROW, RESPONSE = 256, 128
"""Tokens assumed of a prompt with a clip of about 8 s, and of a response."""


@dataclass(frozen=True)
class Memory:
    """Bytes and counts for one model in bfloat16.

    Attributes:
        parameters: of the whole network.
        decoder_parameters: of its language model, without the output head.
        weights: bytes of all weights.
        cache_per_1000_tokens: bytes of keys and values of one row of 1,000 tokens.
        cache_of_a_batch: the same of 16 questions x 5 samples of ROW + RESPONSE tokens.
        lora_parameters: of the published recipe's adapter (r = 16 on every projection).
        lora: bytes of its float32 numbers, gradients and AdamW moments.
        activations: rough bytes kept for the backward pass of 16 rows of ROW tokens.
        answering: bytes to answer with a batch of 16 x 5.
        fine_tuning: bytes to fine-tune with RRS's recipe, the whole batch at once.
    """

    parameters: int
    decoder_parameters: int
    weights: int
    cache_per_1000_tokens: int
    cache_of_a_batch: int
    lora_parameters: int
    lora: int
    activations: int
    answering: int
    fine_tuning: int


def memory_of_checkpoint(family: type[TransformersLALM], folder: Path) -> Memory:
    """Memory that the checkpoint in `folder` needs; its weights are not read.

    Raises:
        ModelError: the folder holds no checkpoint of this family.
    """
    check_files(folder)
    with one_line(f"not a {family.architecture} checkpoint", folder), torch.device("meta"):
        config = pretrained(family.network_class.config_class, folder)
        network = family.network_class(config)
    return memory_of_network(network, family.lora_targets)


def memory_of_network(network: Any, lora_targets: tuple[str, ...], rank: int = 16) -> Memory:
    """Memory that a network needs, wherever its weights are; "meta" will do."""
    config, decoder = network.config.get_text_config(), network.get_decoder()
    parameters = _count(network)
    linear = [network.get_submodule(name) for name in projections(network, lora_targets)]
    lora = sum(rank * (one.in_features + one.out_features) for one in linear)
    weights, cache = BYTES * parameters, 16 * 5 * _cache(config, decoder, ROW + RESPONSE)
    activations = 16 * ROW * len(decoder.layers) * BYTES * _kept_per_token(config)
    return Memory(
        parameters=parameters,
        decoder_parameters=_count(decoder),
        weights=weights,
        cache_per_1000_tokens=_cache(config, decoder, 1000),
        cache_of_a_batch=cache,
        lora_parameters=lora,
        lora=TRAINED_BYTES * lora,
        activations=activations,
        answering=weights + cache,
        fine_tuning=weights + TRAINED_BYTES * lora + activations,
    )


def _count(module: nn.Module) -> int:
    return sum(one.numel() for one in module.parameters())


def _cache(config: Any, decoder: Any, tokens: int) -> int:
    """Bytes of one row's keys and values; layers with a window keep no more than that, and layers
    that share those of others keep none."""
    layers = len(decoder.layers) - (getattr(config, "num_kv_shared_layers", 0) or 0)
    kinds = (getattr(config, "layer_types", None) or ["full_attention"] * layers)[:layers]
    window = getattr(config, "sliding_window", None) or tokens
    kept = sum(min(tokens, window) if kind == "sliding_attention" else tokens for kind in kinds)
    return 2 * BYTES * _key_size(config) * kept


def _head_size(config: Any) -> int:
    own: int | None = getattr(config, "head_dim", None)
    return own or int(config.hidden_size // config.num_attention_heads)


def _key_size(config: Any) -> int:
    heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    return int(heads * _head_size(config))


def _kept_per_token(config: Any) -> int:
    """Numbers a decoder layer keeps of each token: what enters and leaves its two norms, queries,
    attention's result twice (before and after being laid side by side), keys and values of all
    heads, and gate, up, activation and product of the MLP (of each expert that is asked)."""
    wide = config.num_attention_heads * _head_size(config)
    inner = config.intermediate_size
    if getattr(config, "num_experts_per_tok", None):
        inner = config.num_experts_per_tok * config.moe_intermediate_size
    inner = inner if isinstance(inner, int) else max(inner)
    return int(6 * config.hidden_size + 4 * wide + 4 * _key_size(config) + 4 * inner)


def family_of(target: Any) -> type[TransformersLALM] | None:
    """The family that a registered loader loads, or says that it returns; None if neither."""
    hint = getattr(target, "family", None)
    if hint is None:
        hint = inspect.get_annotations(target, eval_str=True).get("return")
    is_family = isinstance(hint, type) and issubclass(hint, TransformersLALM)
    return hint if is_family else None
