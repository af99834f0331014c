"""Qwen2-Audio of any size with random weights, its processor, clips of noise: nothing is fetched.

Also what a training step of it must compute, in FLOPs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import torch
from transformers import (
    GenerationConfig,
    Qwen2AudioConfig,
    Qwen2AudioForConditionalGeneration,
    WhisperFeatureExtractor,
)
from transformers.models.qwen2_audio import Qwen2AudioProcessor

from greaves.models.families.qwen2_audio import Qwen2Audio
from greaves.models.pocket.architecture import AUDIO, PAD, TURN_END, build_tokenizer

RATE = 16_000


@dataclass(frozen=True)
class Shape:
    """Sizes of a Qwen2-Audio.

    Attributes:
        hidden, layers, heads, mlp: hidden_size, decoder layers, attention heads and
            intermediate_size of the language model; as many key-value heads as heads.
        vocabulary: rows of the output head.
        encoder, encoder_layers, encoder_heads: d_model, layers and heads of the audio tower, which
            hears 30 s in 128 mel bins; its MLP is 4 d_model wide.
    """

    hidden: int
    layers: int
    heads: int
    mlp: int
    vocabulary: int
    encoder: int
    encoder_layers: int
    encoder_heads: int


REAL = Shape(4096, 32, 32, 11_008, 156_032, 1280, 32, 20)
"""Qwen2-Audio-7B."""

MID = Shape(512, 8, 4, 1376, 151_936, 384, 6, 6)
"""MLP : hidden_size, head and MLP : d_model as in Qwen2-Audio-7B; a head too large for its size."""

PROP = Shape(512, 8, 4, 1376, 5504, 192, 3, 3)
"""MID's language model with encoder and vocabulary shrunk until their shares of a plain step's
FLOPs are those of Qwen2-Audio-7B at sequences of about 231 (26 % and 3.4 %)."""

TINY = Shape(32, 2, 2, 48, 512, 16, 1, 2)


def random_lalm(
    shape: Shape,
    *,
    words: Sequence[str] = (),
    device: str = "cpu",
    dtype: torch.dtype = torch.float32,
    seed: int = 0,
) -> Qwen2Audio:
    """A LALM of this shape; weights are drawn on the device.

    Args:
        shape: sizes.
        words: texts whose words are one token each, about what Qwen's tokenizer makes of them;
            everything else is one token a byte.
        device: where it is built.
        dtype: of the weights.
        seed: of the weights.
    """
    tokenizer = build_tokenizer(words)
    end, pad = (int(i) for i in tokenizer.convert_tokens_to_ids([TURN_END, PAD]))
    config = Qwen2AudioConfig(
        audio_config={
            "model_type": "qwen2_audio_encoder",
            "d_model": shape.encoder,
            "encoder_layers": shape.encoder_layers,
            "encoder_attention_heads": shape.encoder_heads,
            "encoder_ffn_dim": 4 * shape.encoder,
        },
        text_config={
            "model_type": "qwen2",
            "vocab_size": max(shape.vocabulary, len(tokenizer)),
            "hidden_size": shape.hidden,
            "num_hidden_layers": shape.layers,
            "num_attention_heads": shape.heads,
            "num_key_value_heads": shape.heads,
            "intermediate_size": shape.mlp,
            "max_position_embeddings": 8192,
            "rms_norm_eps": 1e-5,
            "bos_token_id": None,
            "eos_token_id": end,
            "pad_token_id": pad,
            "tie_word_embeddings": False,
        },
        audio_token_index=int(tokenizer.convert_tokens_to_ids(AUDIO)),
    )
    torch.manual_seed(seed)
    with torch.device(device):
        network = Qwen2AudioForConditionalGeneration._from_config(config, dtype=dtype)
    network.generation_config = GenerationConfig(eos_token_id=end, pad_token_id=pad)
    processor = Qwen2AudioProcessor(
        feature_extractor=WhisperFeatureExtractor(feature_size=128, return_attention_mask=True),
        tokenizer=tokenizer,
        chat_template=tokenizer.chat_template,
    )
    return Qwen2Audio(
        "random", network, processor, fingerprint=f"{shape}-{dtype}-{seed}", revision="random"
    )


def noise_clips(folder: Path, count: int, *, seconds: tuple[float, float], seed: int) -> list[str]:
    """WAV files of noise, evenly spread over a range of lengths."""
    folder.mkdir(parents=True, exist_ok=True)
    draw = np.random.default_rng(seed)
    paths = []
    for number in range(count):
        samples = draw.standard_normal(round(RATE * draw.uniform(*seconds)), dtype=np.float32)
        paths.append(str(folder / f"{number:05d}.wav"))
        soundfile.write(paths[-1], samples / 8, RATE)
    return paths


def step_flops(shape: Shape, lengths: Sequence[int], rank: int = 16) -> float:
    """FLOPs of one LoRA step that computes nothing it does not need; 2 a multiply-add.

    Counted: all matrix products of forward and backward, with causal attention at half the square,
    no gradients of frozen weights or of the first layer's input, the last layer's queries, output
    projection and MLP for the last position only. Not counted: norms, rotary positions, penalty,
    optimiser, and the recomputation inside a fused attention kernel.

    Args:
        shape: sizes.
        lengths: real tokens of each row.
        rank: LoRA r on all seven projections of each layer.
    """
    d, f, tokens, rows = shape.hidden, shape.mlp, sum(lengths), len(lengths)
    full = shape.layers - 1
    projections = full * tokens * (4 * d * d + 3 * d * f)
    projections += tokens * 2 * d * d + rows * (2 * d * d + 3 * d * f)
    first = tokens * 3 * d * d  # its input has no gradient
    lora = full * tokens * rank * (8 * d + 3 * (d + f))
    lora += rank * (tokens * 4 * d + rows * (4 * d + 3 * (d + f)))
    attention = full * sum(n * n for n in lengths) * d + 2 * tokens * d
    return 2.0 * (2 * projections - first + 3 * lora + 3 * attention)
