"""What a converted Qwen-Audio reads and writes with: tokenizer, processor, ends of a response."""

from __future__ import annotations

from pathlib import Path

from transformers import (
    GenerationConfig,
    PreTrainedTokenizerFast,
    Qwen2AudioProcessor,
    WhisperFeatureExtractor,
)

from greaves.base.errors import ModelError
from greaves.models.conversion.qwen_audio_tokens import (
    AUDIO,
    AUDIO_END,
    AUDIO_START,
    CHAT_TEMPLATE,
    END_OF_TEXT,
    SPECIAL_TOKENS,
    STOPS,
    TURN_END,
    TURN_START,
)
from greaves.models.conversion.qwen_audio_weights import OriginalConfig
from greaves.models.conversion.tiktoken_bpe import byte_level_bpe, read_ranks

RANKS = "qwen.tiktoken"
"""File of the base tokens in a source folder."""

PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}|"
    r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
"""Pieces that Qwen cuts on their own."""


def base_tokens(source: Path, config: OriginalConfig) -> list[bytes] | None:
    """The tokens before the special ones, in the order of their ids; None without their file.

    Raises:
        ModelError: the file is broken, or their number is not that of the config.
    """
    path = source / RANKS
    if not path.exists():
        return None
    tokens = read_ranks(path)
    if len(tokens) != config.base_tokens:
        raise ModelError(
            f"{len(tokens):,} tokens, by config.json (audio_start_id) {config.base_tokens:,}",
            where=str(path),
            do="fetch both again",
        )
    return tokens


def save_stops(config: OriginalConfig, folder: Path) -> None:
    """Write the generation config: what ends a response, and nothing about sampling."""
    stops = [config.token_id(token) for token in STOPS]
    GenerationConfig(eos_token_id=stops, pad_token_id=stops[0]).save_pretrained(folder)


def save_processor(config: OriginalConfig, tokens: list[bytes] | None, folder: Path) -> None:
    """Write the processor with its tokenizer and chat template; without tokens, the mel alone."""
    extractor = WhisperFeatureExtractor(
        feature_size=config.audio.n_mels, return_attention_mask=True
    )
    if tokens is None:
        extractor.save_pretrained(folder)
        return
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=byte_level_bpe(tokens, PATTERN, SPECIAL_TOKENS),
        eos_token=END_OF_TEXT,
        pad_token=END_OF_TEXT,
        additional_special_tokens=[TURN_START, TURN_END, AUDIO, AUDIO_START, AUDIO_END],
        padding_side="left",
        model_max_length=config.seq_length,
        clean_up_tokenization_spaces=False,
    )
    Qwen2AudioProcessor(
        feature_extractor=extractor,
        tokenizer=tokenizer,
        chat_template=CHAT_TEMPLATE,
        audio_token=AUDIO,
        audio_bos_token=AUDIO_START,
        audio_eos_token=AUDIO_END,
    ).save_pretrained(folder)
