"""The shape of the pocket LALM, a real Qwen2-Audio, a thousand times smaller; its tokenizer."""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path

import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from torch import nn
from transformers import (
    GenerationConfig,
    PreTrainedTokenizerFast,
    Qwen2AudioConfig,
    Qwen2AudioForConditionalGeneration,
    WhisperFeatureExtractor,
)
from transformers.models.qwen2_audio import Qwen2AudioProcessor
from transformers.models.whisper.modeling_whisper import sinusoids

SECONDS = 4
"""Longest clip that the encoder takes; the feature extractor pads every clip to it."""

HOP = 200
"""Samples between two mel frames at 16 kHz: 80 frames, 20 audio tokens a second."""

MEL_BINS = 80
MEL_FRAMES = SECONDS * 16_000 // HOP
HIDDEN_SIZE = 192

PAD = "<|endoftext|>"
TURN_START = "<|im_start|>"
TURN_END = "<|im_end|>"
AUDIO_BEGIN = "<|audio_bos|>"
AUDIO_END = "<|audio_eos|>"
AUDIO = "<|AUDIO|>"
SPECIAL_TOKENS = (PAD, TURN_START, TURN_END, AUDIO_BEGIN, AUDIO_END, AUDIO)

CHAT_TEMPLATE = Path(__file__).with_name("weights") / "chat_template.jinja"
"""Qwen2-Audio's template, without the system turn that it adds when none is given."""


def build_tokenizer(texts: Iterable[str]) -> PreTrainedTokenizerFast:
    """Makes the byte-level tokenizer that has one token for every word that occurs in `texts`.

    Any other word falls back to its bytes, so any text can be encoded and decoded. It pads on the
    left and has Qwen's special tokens and chat template.
    """
    split = pre_tokenizers.ByteLevel(add_prefix_space=False)
    pieces = {piece for text in texts for piece, _ in split.pre_tokenize_str(text)}
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    entries = [*alphabet, *sorted(pieces - set(alphabet))]
    vocabulary = {piece: number for number, piece in enumerate(entries)}
    # No merges: a known word is looked up whole, an unknown one stays bytes.
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[], ignore_merges=True))
    tokenizer.pre_tokenizer = split
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(
        [AddedToken(token, special=True, normalized=False) for token in SPECIAL_TOKENS]
    )
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token=TURN_END,
        pad_token=PAD,
        additional_special_tokens=[TURN_START, AUDIO_BEGIN, AUDIO_END, AUDIO],
        padding_side="left",
        model_max_length=512,
        clean_up_tokenization_spaces=False,
    )
    fast.chat_template = CHAT_TEMPLATE.read_text(encoding="utf-8")
    return fast


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

    Returns:
        The model in float32, in evaluation mode, its weights drawn with `seed`.
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
