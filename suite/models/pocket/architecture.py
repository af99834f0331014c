"""The shape of the pocket LALM: a real Qwen2-Audio, a thousand times smaller."""

from __future__ import annotations

import math

import torch
from torch import nn
from transformers import (
    GenerationConfig,
    PreTrainedTokenizerFast,
    Qwen2AudioConfig,
    Qwen2AudioForConditionalGeneration,
    WhisperFeatureExtractor,
)
from transformers.models.qwen2_audio import Qwen2AudioProcessor

from greaves.models.pocket.tokenizer import AUDIO, PAD, TURN_END

SECONDS = 4
"""Longest clip that the encoder takes; the feature extractor pads every clip to it."""

HOP = 200
"""Samples between two mel frames at 16 kHz: 80 frames, 20 audio tokens a second."""

MEL_BINS = 80
MEL_FRAMES = SECONDS * 16_000 // HOP
HIDDEN_SIZE = 192


def feature_extractor() -> WhisperFeatureExtractor:
    """Log-mel features [mel bins 80, frames 320] of a clip of up to 4 s at 16 kHz."""
    return WhisperFeatureExtractor(
        feature_size=MEL_BINS,
        sampling_rate=16_000,
        hop_length=HOP,
        chunk_length=SECONDS,
        n_fft=400,
        return_attention_mask=True,
    )


def build_processor(tokenizer: PreTrainedTokenizerFast) -> Qwen2AudioProcessor:
    """The processor that turns chat text and clips into model input, audio tokens expanded."""
    return Qwen2AudioProcessor(
        feature_extractor=feature_extractor(),
        tokenizer=tokenizer,
        chat_template=tokenizer.chat_template,
    )


def build_model(
    tokenizer: PreTrainedTokenizerFast, seed: int
) -> Qwen2AudioForConditionalGeneration:
    """A pocket LALM with untrained weights.

    Token embeddings are random unit vectors that stay frozen: audio features and output rows are
    trained against them. The sinusoidal positions of the encoder are filled in, for transformers
    leaves them to the checkpoint.

    Args:
        tokenizer: the pocket tokenizer.
        seed: of the initial weights.

    Returns:
        The model in float32, in evaluation mode.
    """
    end, pad = (int(i) for i in tokenizer.convert_tokens_to_ids([TURN_END, PAD]))
    config = Qwen2AudioConfig(
        audio_config={
            "model_type": "qwen2_audio_encoder",
            "num_mel_bins": MEL_BINS,
            "d_model": 176,
            "encoder_layers": 4,
            "encoder_attention_heads": 4,
            "encoder_ffn_dim": 640,
            "max_source_positions": MEL_FRAMES // 2,
        },
        text_config={
            "model_type": "qwen2",
            "vocab_size": len(tokenizer),
            "hidden_size": HIDDEN_SIZE,
            "num_hidden_layers": 5,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "intermediate_size": 512,
            "max_position_embeddings": 512,
            "rms_norm_eps": 1e-6,
            "tie_word_embeddings": False,
            "bos_token_id": None,
            "eos_token_id": end,
            "pad_token_id": pad,
        },
        audio_token_index=int(tokenizer.convert_tokens_to_ids(AUDIO)),
    )
    torch.manual_seed(seed)
    model = Qwen2AudioForConditionalGeneration(config)
    audio_tower = model.model.audio_tower
    with torch.no_grad():
        rows = torch.randn(len(tokenizer), HIDDEN_SIZE)
        rows /= rows.norm(dim=-1, keepdim=True)
        model.get_input_embeddings().weight.copy_(rows)
        model.get_output_embeddings().weight.copy_(rows)
        positions = sinusoids(MEL_FRAMES // 2, audio_tower.config.d_model)
        audio_tower.embed_positions.weight.copy_(positions)
        for module in audio_tower.modules():
            if isinstance(module, nn.Conv1d):
                nn.init.kaiming_uniform_(module.weight, a=math.sqrt(5))
    model.generation_config = GenerationConfig(
        eos_token_id=end, pad_token_id=pad, do_sample=False, max_new_tokens=48
    )
    model.eval()
    return model


def sinusoids(length: int, channels: int) -> torch.Tensor:
    """Whisper's sinusoidal positions, shape [length, channels]."""
    step = math.log(10_000) / (channels // 2 - 1)
    inverse = torch.exp(-step * torch.arange(channels // 2))
    angles = torch.arange(length)[:, None] * inverse[None, :]
    return torch.cat([angles.sin(), angles.cos()], dim=1)
