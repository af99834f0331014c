"""First-generation Qwen-Audio, tensor by tensor: its config, its names, and the native ones."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from transformers import Qwen2AudioConfig

from greaves.base.errors import ModelError
from greaves.models.conversion.qwen_audio_tokens import AUDIO, AUDIO_START, SPECIAL_TOKENS, STOPS

MARKERS = "transformer.audio.audio_bos_eos_token.weight"
"""[2, hidden_size]: what the original puts at `<audio>` and `</audio>` in place of their rows."""

EMBEDDINGS = "language_model.model.embed_tokens.weight"


class _Original(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class AudioTower(_Original):
    """`audio` of the original config; fixed values are those that the native classes compute."""

    n_mels: int = Field(ge=1)
    n_ctx: Literal[1500]
    n_state: int = Field(ge=1)
    n_head: int = Field(ge=1)
    n_layer: int = Field(ge=1)
    output_dim: int
    avg_pool: Literal[True]
    add_audio_bos_eos_token: Literal[True]
    audio_start_id: int


class OriginalConfig(_Original):
    """`config.json` of a first-generation Qwen-Audio checkpoint, as far as weights depend on it.

    Attributes:
        seq_length: tokens up to which it computes plain attention; beyond, it rescales.
        intermediate_size: twice the width of each MLP.
    """

    model_type: Literal["qwen"]
    vocab_size: int = Field(ge=1)
    hidden_size: int = Field(ge=1)
    intermediate_size: int = Field(ge=2, multiple_of=2)
    num_hidden_layers: int = Field(ge=1)
    num_attention_heads: int = Field(ge=1)
    kv_channels: int
    seq_length: int = Field(ge=1)
    layer_norm_epsilon: float = Field(gt=0)
    rotary_emb_base: float = Field(gt=0)
    rotary_pct: float = Field(default=1.0, ge=1.0, le=1.0)
    no_bias: Literal[True]
    scale_attn_weights: Literal[True] = True
    tie_word_embeddings: Literal[False]
    audio: AudioTower

    @model_validator(mode="after")
    def _sizes_fit(self) -> OriginalConfig:
        if self.kv_channels * self.num_attention_heads != self.hidden_size:
            raise ValueError("kv_channels x num_attention_heads is not hidden_size")
        if self.audio.n_state % self.audio.n_head:
            raise ValueError("audio.n_state is not a multiple of audio.n_head")
        if self.audio.output_dim != self.hidden_size:
            raise ValueError("audio.output_dim is not hidden_size")
        if self.base_tokens < 256 or self.base_tokens + len(SPECIAL_TOKENS) > self.vocab_size:
            raise ValueError("audio.audio_start_id leaves no room for the other special tokens")
        return self

    @property
    def base_tokens(self) -> int:
        """Number of tokens before the special ones; 151,643 in the full model."""
        return self.audio.audio_start_id - SPECIAL_TOKENS.index(AUDIO_START)

    def token_id(self, special_token: str) -> int:
        """Id of a special token."""
        return self.base_tokens + SPECIAL_TOKENS.index(special_token)

    def native(self, dtype: str) -> Qwen2AudioConfig:
        """The config of the same model in transformers.

        Args:
            dtype: of the weights, e.g. "bfloat16".
        """
        tower = self.audio
        return Qwen2AudioConfig(
            architectures=["Qwen2AudioForConditionalGeneration"],
            dtype=dtype,
            audio_token_index=self.token_id(AUDIO),
            tie_word_embeddings=False,
            audio_config={
                "model_type": "qwen2_audio_encoder",
                "num_mel_bins": tower.n_mels,
                "d_model": tower.n_state,
                "encoder_layers": tower.n_layer,
                "encoder_attention_heads": tower.n_head,
                "encoder_ffn_dim": 4 * tower.n_state,
                "max_source_positions": tower.n_ctx,
            },
            text_config={
                "model_type": "qwen2",
                "vocab_size": self.vocab_size,
                "hidden_size": self.hidden_size,
                "intermediate_size": self.intermediate_size // 2,
                "num_hidden_layers": self.num_hidden_layers,
                "num_attention_heads": self.num_attention_heads,
                "num_key_value_heads": self.num_attention_heads,
                "max_position_embeddings": self.seq_length,
                "rms_norm_eps": self.layer_norm_epsilon,
                "rope_parameters": {"rope_type": "default", "rope_theta": self.rotary_emb_base},
                "tie_word_embeddings": False,
                "bos_token_id": None,
                "eos_token_id": [self.token_id(token) for token in STOPS],
                "pad_token_id": self.token_id(STOPS[0]),
            },
        )


def read_config(folder: Path) -> OriginalConfig:
    """The config of a source folder.

    Raises:
        ModelError: there is none, or it is of another model; the line names the field.
    """
    path = folder / "config.json"
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        do = "fetch the checkpoint: hf download Qwen/Qwen-Audio-Chat --local-dir SRC"
        raise ModelError("there is no config.json", where=str(folder), do=do) from None
    except (OSError, ValueError) as error:
        raise ModelError(f"not JSON ({error})", where=str(path)) from None
    if not isinstance(content, dict) or content.get("model_type") != "qwen":
        kind = content.get("model_type") if isinstance(content, dict) else None
        done = "it is native already" if kind == "qwen2_audio" else "give its original folder"
        what = f"model_type is {kind!r}, not 'qwen' of first-generation Qwen-Audio"
        raise ModelError(what, where=str(path), do=done)
    try:
        return OriginalConfig.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        said = first["msg"].removeprefix("Value error, ")
        do = "only first-generation Qwen-Audio is converted"
        raise ModelError(f"{field}: {said}" if field else said, where=str(path), do=do) from None


@dataclass(frozen=True)
class Rule:
    """What becomes of one original tensor.

    Attributes:
        shape: its shape.
        natives: name in the native checkpoint; three names cut it in equal chunks along dim 0.
    """

    shape: tuple[int, ...]
    natives: tuple[str, ...]


def rules(config: OriginalConfig) -> dict[str, Rule]:
    """Every tensor of the original -> what becomes of it.

    Native names are those of Qwen2-Audio on the hub, which transformers maps when it loads.
    """
    hidden, half = config.hidden_size, config.intermediate_size // 2
    table = {
        "transformer.wte.weight": Rule((config.vocab_size, hidden), (EMBEDDINGS,)),
        "transformer.ln_f.weight": Rule((hidden,), ("language_model.model.norm.weight",)),
        "lm_head.weight": Rule((config.vocab_size, hidden), ("language_model.lm_head.weight",)),
    }
    for number in range(config.num_hidden_layers):
        old, new = f"transformer.h.{number}", f"language_model.model.layers.{number}"
        attention = [f"{new}.self_attn.{name}_proj" for name in "qkv"]
        for kind, width in (("weight", (hidden,)), ("bias", ())):
            table[f"{old}.attn.c_attn.{kind}"] = Rule(
                (3 * hidden, *width), tuple(f"{name}.{kind}" for name in attention)
            )
        for source, shape, target in (
            ("attn.c_proj", (hidden, hidden), "self_attn.o_proj"),
            ("mlp.w1", (half, hidden), "mlp.up_proj"),
            ("mlp.w2", (half, hidden), "mlp.gate_proj"),
            ("mlp.c_proj", (hidden, half), "mlp.down_proj"),
            ("ln_1", (hidden,), "input_layernorm"),
            ("ln_2", (hidden,), "post_attention_layernorm"),
        ):
            table[f"{old}.{source}.weight"] = Rule(shape, (f"{new}.{target}.weight",))
    return table | _audio_rules(config)


def _audio_rules(config: OriginalConfig) -> dict[str, Rule]:
    tower, hidden = config.audio, config.hidden_size
    width = tower.n_state
    old, new = "transformer.audio", "audio_tower"
    table = {
        MARKERS: Rule((2, hidden), ()),
        f"{old}.positional_embedding": Rule(
            (tower.n_ctx, width), (f"{new}.embed_positions.weight",)
        ),
    }

    def layer(source: str, shape: tuple[int, ...], target: str, *, bias: bool = True) -> None:
        table[f"{old}.{source}.weight"] = Rule(shape, (f"{target}.weight",))
        if bias:
            table[f"{old}.{source}.bias"] = Rule(shape[:1], (f"{target}.bias",))

    layer("conv1", (width, tower.n_mels, 3), f"{new}.conv1")
    layer("conv2", (width, width, 3), f"{new}.conv2")
    layer("ln_post", (width,), f"{new}.layer_norm")
    layer("proj", (hidden, width), "multi_modal_projector.linear")
    for number in range(tower.n_layer):
        block, target = f"blocks.{number}", f"{new}.layers.{number}"
        layer(f"{block}.attn.query", (width, width), f"{target}.self_attn.q_proj")
        layer(f"{block}.attn.key", (width, width), f"{target}.self_attn.k_proj", bias=False)
        layer(f"{block}.attn.value", (width, width), f"{target}.self_attn.v_proj")
        layer(f"{block}.attn.out", (width, width), f"{target}.self_attn.out_proj")
        layer(f"{block}.attn_ln", (width,), f"{target}.self_attn_layer_norm")
        layer(f"{block}.mlp.0", (4 * width, width), f"{target}.fc1")
        layer(f"{block}.mlp.2", (width, 4 * width), f"{target}.fc2")
        layer(f"{block}.mlp_ln", (width,), f"{target}.final_layer_norm")
    return table
