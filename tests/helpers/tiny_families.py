"""Checkpoints of the real architectures, a million times smaller, with random weights.

Everything that loads one is real: `save_pretrained` wrote the weights, the tokenizer files have the
families' own special tokens, and the chat templates are shortened from the published ones (tools,
images and videos left out), their default system prompts kept.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from peft import LoraConfig
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import (
    AudioFlamingo3Config,
    AudioFlamingo3ForConditionalGeneration,
    AudioFlamingo3Processor,
    Gemma3nAudioFeatureExtractor,
    Gemma3nConfig,
    GenerationConfig,
    GraniteSpeechConfig,
    GraniteSpeechForConditionalGeneration,
    Phi4MultimodalConfig,
    Phi4MultimodalFeatureExtractor,
    Phi4MultimodalForCausalLM,
    PreTrainedTokenizerFast,
    Qwen2_5OmniConfig,
    Qwen2_5OmniForConditionalGeneration,
    Qwen2AudioConfig,
    Qwen2AudioForConditionalGeneration,
    Qwen3OmniMoeThinkerConfig,
    Qwen3OmniMoeThinkerForConditionalGeneration,
    VoxtralConfig,
    VoxtralForConditionalGeneration,
    WhisperFeatureExtractor,
)
from transformers.models.qwen2_audio import Qwen2AudioProcessor

from greaves.models.families.gemma3n import HearingGemma

CHATML = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
SECONDS, FRAMES, MEL = 4, 400, 16

TEXT = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 2048,
}


def whisper(seconds: int = SECONDS) -> WhisperFeatureExtractor:
    return WhisperFeatureExtractor(
        feature_size=MEL, chunk_length=seconds, return_attention_mask=True
    )


def tokenizer(special: tuple[str, ...], end: str, pad: str) -> PreTrainedTokenizerFast:
    """Byte-level BPE without merges: 256 bytes and the special tokens."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    made = Tokenizer(models.BPE(vocab={piece: n for n, piece in enumerate(alphabet)}, merges=[]))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    made.add_special_tokens([AddedToken(token, special=True) for token in special])
    return PreTrainedTokenizerFast(
        tokenizer_object=made,
        eos_token=end,
        pad_token=pad,
        extra_special_tokens=list(special),
        clean_up_tokenization_spaces=False,
    )


def save(network: Any, folder: Path, *, end: int, pad: int, seed: int) -> None:
    """Random weights that neither fade nor burst on their way, written as a checkpoint.

    Not every seed gives a network whose first dozen tokens depend on what it hears.
    """
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in network.named_parameters():
        if parameter.ndim < 2:
            if name.endswith("bias"):
                parameter.data.normal_(0, 0.1, generator=generator)
            continue
        fan_in = 1 if "embed" in name and "proj" not in name else parameter[0].numel()
        parameter.data.normal_(0, fan_in**-0.5, generator=generator)
    network.generation_config = GenerationConfig(eos_token_id=end, pad_token_id=pad)
    network.save_pretrained(str(folder))


def add_adapter(network: Any, folder: Path, targets: str) -> None:
    """A LoRA adapter of random factors, written as peft does; the bare weights are saved before."""
    network.add_adapter(LoraConfig(r=4, lora_alpha=8, target_modules=targets))
    generator = torch.Generator().manual_seed(15)
    for name, parameter in network.named_parameters():
        if "lora_" in name:
            parameter.data.normal_(0, 0.3, generator=generator)
    folder.mkdir(exist_ok=True)
    with TemporaryDirectory() as saved:
        network.save_pretrained(saved)
        for path in Path(saved).glob("adapter_*"):
            (folder / path.name).write_bytes(path.read_bytes())


# -- Qwen2-Audio ---------------------------------------------------------------------------------

QWEN2_AUDIO_TEMPLATE = (
    "{% set audio_count = namespace(value=0) %}{% for message in messages %}"
    "{% if loop.first and message['role'] != 'system' %}"
    "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n{% endif %}"
    "<|im_start|>{{ message['role'] }}\n"
    "{% if message['content'] is string %}{{ message['content'] }}<|im_end|>\n{% else %}"
    "{% for content in message['content'] %}"
    "{% if 'audio' in content or 'audio_url' in content or message['type'] == 'audio' %}"
    "{% set audio_count.value = audio_count.value + 1 %}"
    "Audio {{ audio_count.value }}: <|audio_bos|><|AUDIO|><|audio_eos|>\n"
    "{% elif 'text' in content %}{{ content['text'] }}{% endif %}{% endfor %}<|im_end|>\n"
    "{% endif %}{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def qwen2_audio(folder: Path) -> None:
    special = (*CHATML, "<|audio_bos|>", "<|audio_eos|>", "<|AUDIO|>")
    words = tokenizer(special, "<|im_end|>", "<|endoftext|>")
    processor = Qwen2AudioProcessor(whisper(), words, chat_template=QWEN2_AUDIO_TEMPLATE)
    processor.save_pretrained(folder)
    end, pad, audio = words.convert_tokens_to_ids(["<|im_end|>", "<|endoftext|>", "<|AUDIO|>"])
    config = Qwen2AudioConfig(
        audio_config={
            "model_type": "qwen2_audio_encoder",
            "num_mel_bins": MEL,
            "d_model": 32,
            "encoder_layers": 2,
            "encoder_attention_heads": 2,
            "encoder_ffn_dim": 48,
            "max_source_positions": FRAMES // 2,
        },
        text_config={"model_type": "qwen2", "vocab_size": len(words), **TEXT},
        audio_token_index=audio,
    )
    save(Qwen2AudioForConditionalGeneration(config), folder, end=end, pad=pad, seed=13)


# -- Qwen2.5-Omni: a whole checkpoint, Talker and vocoder included --------------------------------

OMNI_TEMPLATE = (
    "{% for message in messages %}{% if loop.first and message['role'] != 'system' %}"
    "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n{% endif %}"
    "<|im_start|>{{ message['role'] }}\n"
    "{% if message['content'] is string %}{{ message['content'] }}<|im_end|>\n{% else %}"
    "{% for content in message['content'] %}"
    "{% if 'audio' in content or 'audio_url' in content or content['type'] == 'audio' %}"
    "<|audio_bos|><|AUDIO|><|audio_eos|>"
    "{% elif 'text' in content %}{{ content['text'] }}{% endif %}{% endfor %}<|im_end|>\n"
    "{% endif %}{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
OMNI_MARKS = ("<|vision_bos|>", "<|vision_eos|>", "<|IMAGE|>", "<|VIDEO|>")


def qwen2_5_omni(folder: Path) -> None:
    marks = ("<|audio_bos|>", "<|audio_eos|>", "<|AUDIO|>", *OMNI_MARKS)
    words = tokenizer((*CHATML, *marks), "<|im_end|>", "<|endoftext|>")
    words.save_pretrained(folder)
    # As on the hub: the template lies in a JSON file of its own.
    (folder / "chat_template.json").write_text(json.dumps({"chat_template": OMNI_TEMPLATE}))
    whisper(8).save_pretrained(folder)
    ids = dict(zip(words.all_special_tokens, words.all_special_ids, strict=True))
    rope = {"rope_type": "default", "rope_theta": 10_000.0, "mrope_section": [2, 1, 1]}
    thinker = {
        "audio_config": {
            "num_mel_bins": MEL,
            "d_model": 32,
            "encoder_layers": 2,
            "encoder_attention_heads": 2,
            "encoder_ffn_dim": 48,
            "max_source_positions": 100,
            "n_window": 50,
            "output_dim": TEXT["hidden_size"],
        },
        "vision_config": {
            "depth": 1,
            "hidden_size": 32,
            "intermediate_size": 32,
            "num_heads": 2,
            "fullatt_block_indexes": [0],
            "out_hidden_size": TEXT["hidden_size"],
        },
        "text_config": {"vocab_size": len(words), "rope_parameters": rope, **TEXT},
        "audio_token_index": ids["<|AUDIO|>"],
        "image_token_index": ids["<|IMAGE|>"],
        "video_token_index": ids["<|VIDEO|>"],
        "audio_start_token_id": ids["<|audio_bos|>"],
        "audio_end_token_id": ids["<|audio_eos|>"],
        "vision_start_token_id": ids["<|vision_bos|>"],
        "vision_end_token_id": ids["<|vision_eos|>"],
    }
    talker = {
        "vocab_size": 64,
        "embedding_size": TEXT["hidden_size"],
        "head_dim": 8,
        "rope_parameters": rope,
        "pad_token_id": 0,
        **{f"tts_text_{mark}_token_id": 1 for mark in ("start", "end", "pad")},
        **{f"tts_codec_{mark}_token_id": 1 for mark in ("start", "end", "pad", "mask")},
        **{f"vision_{mark}_token_id": 1 for mark in ("start", "end")},
        **{f"audio_{mark}_token_id": 1 for mark in ("start", "end")},
        **TEXT,
    }
    vocoder = {
        "dit_config": {
            **{"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "head_dim": 8},
            **{"mel_dim": 16, "emb_dim": 16, "enc_dim": 16, "num_embeds": 16, "enc_emb_dim": 16},
            "enc_channels": [16, 16, 16, 16, 48],
            **{"enc_attention_channels": 8, "enc_se_channels": 8},
            **{"look_ahead_layers": [0], "look_backward_layers": [0]},
        },
        "bigvgan_config": {
            "mel_dim": 16,
            "upsample_initial_channel": 32,
            "resblock_kernel_sizes": [3],
            "resblock_dilation_sizes": [[1, 3, 5]],
            "upsample_rates": [2],
            "upsample_kernel_sizes": [4],
        },
    }
    config = Qwen2_5OmniConfig(
        thinker_config=thinker, talker_config=talker, token2wav_config=vocoder
    )
    network = Qwen2_5OmniForConditionalGeneration(config)
    save(network, folder, end=ids["<|im_end|>"], pad=ids["<|endoftext|>"], seed=15)


# -- Qwen3-Omni ----------------------------------------------------------------------------------

OMNI3_TEMPLATE = (
    "{%- if messages[0].role == 'system' %}"
    "{%- if messages[0].content is string %}"
    "{{- '<|im_start|>system\\n' + messages[0].content + '<|im_end|>\\n' }}"
    "{%- else %}{%- for content in messages[0].content %}{%- if 'text' in content %}"
    "{{- '<|im_start|>system\\n' + content.text + '<|im_end|>\\n' }}"
    "{%- endif %}{%- endfor %}{%- endif %}{%- endif %}"
    "{%- for message in messages %}{%- if message.role == 'user' %}"
    "{{- '<|im_start|>user\\n' }}{%- for content in message.content %}"
    "{%- if content.type == 'audio' %}{{- '<|audio_start|><|audio_pad|><|audio_end|>' }}"
    "{%- else %}{{- content.text }}{%- endif %}{%- endfor %}{{- '<|im_end|>\\n' }}"
    "{%- endif %}{%- endfor %}"
    "{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}"
)
OMNI3_MARKS = ("<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>")


def qwen3_omni(folder: Path) -> None:
    marks = ("<|audio_start|>", "<|audio_end|>", "<|audio_pad|>", *OMNI3_MARKS)
    words = tokenizer((*CHATML, *marks), "<|im_end|>", "<|endoftext|>")
    words.save_pretrained(folder)
    (folder / "chat_template.jinja").write_text(OMNI3_TEMPLATE)
    whisper(8).save_pretrained(folder)
    ids = dict(zip(words.all_special_tokens, words.all_special_ids, strict=True))
    config = Qwen3OmniMoeThinkerConfig(
        audio_config={
            "num_mel_bins": MEL,
            "d_model": 32,
            "encoder_layers": 2,
            "encoder_attention_heads": 2,
            "encoder_ffn_dim": 48,
            "max_source_positions": 100,
            "downsample_hidden_size": 8,
            "output_dim": TEXT["hidden_size"],
        },
        vision_config={
            "depth": 1,
            "hidden_size": 32,
            "intermediate_size": 32,
            "num_heads": 2,
            "deepstack_visual_indexes": [],
            "num_position_embeddings": 16,
            "out_hidden_size": TEXT["hidden_size"],
        },
        text_config={
            "vocab_size": len(words),
            "head_dim": 8,
            "rope_parameters": {
                "rope_type": "default",
                "rope_theta": 10_000.0,
                "mrope_section": [2, 1, 1],
                "mrope_interleaved": True,
            },
            "num_experts": 4,
            "num_experts_per_tok": 2,
            "moe_intermediate_size": 16,
            **TEXT,
        },
        audio_token_id=ids["<|audio_pad|>"],
        image_token_id=ids["<|image_pad|>"],
        video_token_id=ids["<|video_pad|>"],
        audio_start_token_id=ids["<|audio_start|>"],
        vision_start_token_id=ids["<|vision_start|>"],
        vision_end_token_id=ids["<|vision_end|>"],
    )
    network = Qwen3OmniMoeThinkerForConditionalGeneration(config)
    save(network, folder, end=ids["<|im_end|>"], pad=ids["<|endoftext|>"], seed=15)


# -- Voxtral -------------------------------------------------------------------------------------

TEKKEN = [
    *("<unk>", "<s>", "</s>", "[INST]", "[/INST]", "[AVAILABLE_TOOLS]", "[/AVAILABLE_TOOLS]"),
    *("[TOOL_RESULTS]", "[/TOOL_RESULTS]", "[TOOL_CALLS]", "[IMG]", "<pad>", "[IMG_BREAK]"),
    *("[IMG_END]", "[PREFIX]", "[MIDDLE]", "[SUFFIX]", "[SYSTEM_PROMPT]", "[/SYSTEM_PROMPT]"),
    *("[TOOL_CONTENT]", "<SPECIAL_20>", "<SPECIAL_21>", "<SPECIAL_22>", "<SPECIAL_23>"),
    *("[AUDIO]", "[BEGIN_AUDIO]"),
]


def voxtral(folder: Path) -> None:
    tekken = {
        "config": {
            "pattern": r"[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+",
            "num_vocab_tokens": 256,
            "default_vocab_size": 300,
            "default_num_special_tokens": 44,
            "version": "v11",
        },
        "special_tokens": [
            {"rank": rank, "token_str": token, "is_control": True}
            for rank, token in enumerate(TEKKEN)
        ],
        "vocab": [
            {"rank": n, "token_bytes": base64.b64encode(bytes([n])).decode(), "token_str": None}
            for n in range(256)
        ],
    }
    (folder / "tekken.json").write_text(json.dumps(tekken))
    whisper().save_pretrained(folder)
    config = VoxtralConfig(
        audio_config={
            "model_type": "voxtral_encoder",
            "num_mel_bins": MEL,
            "hidden_size": 32,
            "intermediate_size": 128,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "max_source_positions": FRAMES // 2,
        },
        text_config={"model_type": "llama", "vocab_size": 300, "head_dim": 8, **TEXT},
        audio_token_id=TEKKEN.index("[AUDIO]"),
    )
    save(VoxtralForConditionalGeneration(config), folder, end=2, pad=11, seed=14)


# -- Audio Flamingo 3 ----------------------------------------------------------------------------

FLAMINGO_TEMPLATE = (
    "{% if messages[0]['role'] != 'system' %}"
    "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n{% endif %}"
    "{% for m in messages if m['content'] is not none %}<|im_start|>{{ m['role'] }}\n"
    "{% if m['content'] is string %}{{ m['content'] }}{% else %}"
    "{% set audio = namespace(found=False) %}{% set text_buf = namespace(v='') %}"
    "{% for c in m['content'] %}{% if c.get('type') == 'audio' or 'audio' in c %}"
    "{% set audio.found = True %}{% elif c.get('type') == 'text' or 'text' in c %}"
    "{% set text_buf.v = text_buf.v + c['text'] %}{% endif %}{% endfor %}"
    "{% if audio.found %}{{ '<sound>' }}{% endif %}{{ text_buf.v }}{% endif %}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def audio_flamingo_3(folder: Path) -> None:
    words = tokenizer((*CHATML, "<sound>"), "<|im_end|>", "<|endoftext|>")
    AudioFlamingo3Processor(
        whisper(), words, chat_template=FLAMINGO_TEMPLATE, max_audio_len=12
    ).save_pretrained(folder)
    end, pad, audio = words.convert_tokens_to_ids(["<|im_end|>", "<|endoftext|>", "<sound>"])
    config = AudioFlamingo3Config(
        audio_config={
            "model_type": "audioflamingo3_encoder",
            "num_mel_bins": MEL,
            "hidden_size": 32,
            "intermediate_size": 48,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "max_source_positions": FRAMES // 2,
        },
        text_config={"model_type": "qwen2", "vocab_size": len(words), **TEXT},
        audio_token_id=audio,
    )
    save(AudioFlamingo3ForConditionalGeneration(config), folder, end=end, pad=pad, seed=13)


# -- Granite Speech: with a speech adapter of its own --------------------------------------------

GRANITE_TEMPLATE = (
    "{%- if messages[0]['role'] == 'system' %}"
    "{%- set system_message = messages[0]['content'] %}{%- set loop_messages = messages[1:] %}"
    '{%- else %}{%- set system_message = "Knowledge Cutoff Date: April 2024.\nToday\'s Date: " + '
    "strftime_now('%B %d, %Y') + \".\nYou are Granite, developed by IBM.\" %}"
    "{%- set loop_messages = messages %}{%- endif %}"
    "{{- '<|start_of_role|>system<|end_of_role|>' + system_message + '<|end_of_text|>\n' }}"
    "{%- for message in loop_messages %}"
    "{{- '<|start_of_role|>' + message['role'] + '<|end_of_role|>' + message['content'] + "
    "'<|end_of_text|>\n' }}"
    "{%- if loop.last and add_generation_prompt %}"
    "{{- '<|start_of_role|>assistant<|end_of_role|>' }}{%- endif %}{%- endfor %}"
)


def granite_speech(folder: Path) -> None:
    special = ("<|end_of_text|>", "<|start_of_role|>", "<|end_of_role|>", "<|audio|>", "<pad>")
    words = tokenizer(special, "<|end_of_text|>", "<pad>")
    words.chat_template = GRANITE_TEMPLATE
    words.save_pretrained(folder)
    settings = {
        "feature_extractor_type": "GraniteSpeechFeatureExtractor",
        "melspec_kwargs": {"n_fft": 512, "win_length": 400, "hop_length": 160, "n_mels": MEL},
        "projector_downsample_rate": 5,
        "projector_window_size": 15,
        "sampling_rate": 16_000,
    }
    (folder / "preprocessor_config.json").write_text(json.dumps(settings))
    end, audio, pad = words.convert_tokens_to_ids(["<|end_of_text|>", "<|audio|>", "<pad>"])
    config = GraniteSpeechConfig(
        text_config={
            "model_type": "granite",
            "vocab_size": len(words),
            "embedding_multiplier": 0.3,
            "logits_scaling": 2.0,
            "residual_multiplier": 1.5,
            "attention_multiplier": 0.2,
            "pad_token_id": pad,
            **TEXT,
        },
        encoder_config={
            "input_dim": 2 * MEL,
            "num_layers": 2,
            "hidden_dim": 32,
            "feedforward_mult": 2,
            "num_heads": 2,
            "context_size": 20,
            "max_pos_emb": 32,
            "output_dim": 8,
        },
        projector_config={
            "model_type": "blip_2_qformer",
            "hidden_size": 32,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "intermediate_size": 32,
            "encoder_hidden_size": 32,
            "vocab_size": 8,
        },
        audio_token_index=audio,
    )
    network = GraniteSpeechForConditionalGeneration(config)
    save(network, folder, end=end, pad=pad, seed=12)
    add_adapter(network, folder, r".*language_model.*\.(q_proj|v_proj)")


# -- Phi-4-multimodal: the speech adapter in a folder of its own ----------------------------------

PHI4_TEMPLATE = (
    "{% for message in messages %}"
    "{{ '<|' + message['role'] + '|>' + message['content'] + '<|end|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% else %}{{ eos_token }}{% endif %}"
)


def phi4_multimodal(folder: Path) -> None:
    roles = ("<|system|>", "<|user|>", "<|assistant|>")
    special = ("<|endoftext|>", "<|end|>", *roles, "<|audio|>", "<|image|>")
    words = tokenizer(special, "<|endoftext|>", "<|endoftext|>")
    words.chat_template = PHI4_TEMPLATE
    words.save_pretrained(folder)
    Phi4MultimodalFeatureExtractor(feature_size=MEL).save_pretrained(folder)
    ids = dict(zip(words.all_special_tokens, words.all_special_ids, strict=True))
    end, pad = ids["<|end|>"], ids["<|endoftext|>"]
    config = Phi4MultimodalConfig(
        audio_config={
            "hidden_size": 32,
            "intermediate_size": 32,
            "num_blocks": 2,
            "num_attention_heads": 2,
            "ext_pw_out_channel": 32,
            "depthwise_separable_out_channel": 32,
            "nemo_conv_channels": 16,
            "input_size": MEL,
            "audio_token_id": ids["<|audio|>"],
        },
        vision_config={
            "hidden_size": 16,
            "intermediate_size": 16,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "image_size": 28,
            "crop_size": 28,
            "image_token_id": ids["<|image|>"],
        },
        vocab_size=len(words),
        bos_token_id=pad,
        eos_token_id=[pad, end],
        pad_token_id=pad,
        original_max_position_embeddings=2048,
        **TEXT,
    )
    network = Phi4MultimodalForCausalLM(config)
    save(network, folder, end=end, pad=pad, seed=12)
    add_adapter(network, folder / "speech-lora", r".*layers\.\d+\.self_attn\.(qkv_proj|o_proj)")


# -- Gemma 3n ------------------------------------------------------------------------------------

GEMMA_TEMPLATE = (
    "{{ bos_token }}"
    "{%- if messages[0]['role'] == 'system' -%}"
    "{%- if messages[0]['content'] is string -%}"
    "{%- set first_user_prefix = messages[0]['content'] + '\n\n' -%}"
    "{%- else -%}{%- set first_user_prefix = messages[0]['content'][0]['text'] + '\n\n' -%}"
    "{%- endif -%}{%- set loop_messages = messages[1:] -%}"
    "{%- else -%}{%- set first_user_prefix = '' -%}{%- set loop_messages = messages -%}"
    "{%- endif -%}"
    "{%- for message in loop_messages -%}"
    "{{ '<start_of_turn>' + message['role'] + '\n' + (first_user_prefix if loop.first else '') }}"
    "{%- if message['content'] is string -%}{{ message['content'] | trim }}"
    "{%- elif message['content'] is iterable -%}{%- for item in message['content'] -%}"
    "{%- if item['type'] == 'audio' -%}{{ '<audio_soft_token>' }}"
    "{%- elif item['type'] == 'text' -%}{{ item['text'] | trim }}{%- endif -%}{%- endfor -%}"
    "{%- endif -%}{{ '<end_of_turn>\n' }}{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{'<start_of_turn>model\n'}}{%- endif -%}"
)


def gemma3n(folder: Path) -> None:
    """Ids in Gemma's order: words, then the vision vocabulary, then the audio vocabulary."""
    marks = ("<pad>", "<eos>", "<bos>", "<start_of_turn>", "<end_of_turn>", "<start_of_audio>")
    vision = ("<end_of_image>", "<image_soft_token>")
    words = tokenizer((*marks, *vision, "<end_of_audio>", "<audio_soft_token>"), "<eos>", "<pad>")
    words.bos_token = "<bos>"
    words.chat_template = GEMMA_TEMPLATE
    words.save_pretrained(folder)
    Gemma3nAudioFeatureExtractor(feature_size=MEL, fft_overdrive=False).save_pretrained(folder)
    ids = {token: words.convert_tokens_to_ids(token) for token in (*marks, *vision)}
    see, hear = ids["<end_of_image>"], words.convert_tokens_to_ids("<end_of_audio>")
    config = Gemma3nConfig(
        text_config={
            "vocab_size": len(words),
            "vocab_size_per_layer_input": see,
            "hidden_size_per_layer_input": 8,
            "layer_types": ["sliding_attention", "full_attention"] * 2,
            "sliding_window": 64,
            "num_kv_shared_layers": 2,
            "activation_sparsity_pattern": [0.5, 0.0, 0.0, 0.0],
            "altup_num_inputs": 2,
            "laurel_rank": 4,
            "head_dim": 8,
            **TEXT,
            "num_hidden_layers": 4,
        },
        audio_config={
            "vocab_size": 2,
            "vocab_offset": hear,
            "input_feat_size": MEL,
            "hidden_size": 32,
            "conf_num_attention_heads": 2,
            "conf_num_hidden_layers": 2,
            "sscp_conv_channel_size": [8, 4],
        },
        vision_config={"hidden_size": 16, "vocab_size": 2, "vocab_offset": see},
        audio_token_id=hear + 1,
        eoa_token_id=hear,
        boa_token_id=ids["<start_of_audio>"],
        image_token_id=ids["<image_soft_token>"],
        eoi_token_id=see,
        boi_token_id=see,
    )
    network = HearingGemma(config)
    save(network, folder, end=ids["<end_of_turn>"], pad=ids["<pad>"], seed=11)


FAMILIES: dict[str, Callable[[Path], None]] = {
    "qwen2-audio": qwen2_audio,
    "qwen2.5-omni": qwen2_5_omni,
    "qwen3-omni": qwen3_omni,
    "voxtral": voxtral,
    "audio-flamingo-3": audio_flamingo_3,
    "granite-speech": granite_speech,
    "phi-4-multimodal": phi4_multimodal,
    "gemma-3n": gemma3n,
}
"""Registered name -> what writes a tiny checkpoint of it into a folder."""
