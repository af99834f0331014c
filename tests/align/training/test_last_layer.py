"""States of the last positions equal a plain forward pass, whatever is left out on the way."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch import Tensor, nn
from transformers import (
    GraniteConfig,
    GraniteModel,
    LlamaConfig,
    LlamaModel,
    Qwen2Config,
    Qwen2Model,
    Qwen3Config,
    Qwen3Model,
)
from transformers.models.qwen2_5_omni.configuration_qwen2_5_omni import Qwen2_5OmniTextConfig
from transformers.models.qwen2_5_omni.modeling_qwen2_5_omni import Qwen2_5OmniThinkerTextModel

from greaves.align.training.last_layer import can_pack, last_states
from greaves.align.training.packing import PackedRows
from greaves.base.conversation import Conversation
from greaves.models.decoder import Batch

PROJECTIONS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
SHAPE: dict[str, Any] = {
    "vocab_size": 32,
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 48,
    "pad_token_id": 0,
}
ROPE = {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [2, 1, 1]}
DECODERS: dict[str, Callable[[], Any]] = {
    "qwen2": lambda: Qwen2Model(Qwen2Config(**SHAPE)),
    "llama": lambda: LlamaModel(LlamaConfig(**SHAPE)),
    "qwen3": lambda: Qwen3Model(Qwen3Config(**SHAPE, head_dim=8)),
    "omni": lambda: Qwen2_5OmniThinkerTextModel._from_config(
        Qwen2_5OmniTextConfig(**SHAPE, rope_parameters=ROPE)
    ),
    "granite": lambda: GraniteModel(GraniteConfig(**SHAPE, residual_multiplier=0.5)),
}


def with_lora(decoder: nn.Module, dropout: float = 0.0) -> Any:
    """LoRA on every projection, with B away from 0 so that A has gradients."""
    lora = LoraConfig(
        r=4, lora_dropout=dropout, target_modules=PROJECTIONS, init_lora_weights=False
    )
    return get_peft_model(decoder, lora)


def padded(*lengths: int, seed: int = 1) -> Batch:
    """A left-padded batch of noise."""
    longest = max(lengths)
    mask = torch.tensor([[0] * (longest - n) + [1] * n for n in lengths])
    noise = torch.randn(*mask.shape, 32, generator=torch.Generator().manual_seed(seed))
    positions = (mask.cumsum(-1) - 1).clamp(min=0)
    return Batch(torch.zeros_like(mask), noise, mask, positions)


def plain(decoder: Any, batch: Batch, keep: int) -> Tensor:
    states = decoder(
        inputs_embeds=batch.embeds,
        attention_mask=batch.mask,
        position_ids=batch.positions,
        use_cache=False,
    ).last_hidden_state
    return states[:, -keep:]


def states_and_gradients(
    network: Any, states_of: Callable[[], Tensor]
) -> tuple[Tensor, dict[str, Tensor]]:
    network.zero_grad(set_to_none=True)
    states = states_of()
    (states.float() ** 3).mean().backward()
    return states.detach(), {
        name: weight.grad for name, weight in network.named_parameters() if weight.grad is not None
    }


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


@pytest.mark.parametrize("lengths", [(9, 4, 6), (5, 5), (7,)])
@pytest.mark.parametrize("keep", [1, 3])
@pytest.mark.parametrize("name", DECODERS)
def test_equal_to_a_plain_forward_pass(name: str, keep: int, lengths: tuple[int, ...]) -> None:
    decoder = DECODERS[name]()
    network = with_lora(decoder).train()
    batch = padded(*lengths)
    states, gradients = states_and_gradients(network, lambda: last_states(decoder, batch, keep))
    expected, wanted = states_and_gradients(network, lambda: plain(decoder, batch, keep))
    torch.testing.assert_close(states, expected, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(gradients, wanted, rtol=1e-5, atol=1e-6)
    assert len(gradients) == 2 * 7 * 3


def test_every_family_but_granite_takes_the_short_way() -> None:
    assert {name: can_pack(make()) for name, make in DECODERS.items()} == {
        "qwen2": True,
        "llama": True,
        "qwen3": True,
        "omni": True,
        "granite": False,
    }


def test_gradient_checkpointing_takes_the_plain_way_and_stays_right() -> None:
    decoder = DECODERS["qwen2"]()
    network = with_lora(decoder).train()
    batch = padded(6, 3)
    _, wanted = states_and_gradients(network, lambda: plain(decoder, batch, 1))
    decoder.gradient_checkpointing_enable()
    assert not can_pack(decoder)
    _, gradients = states_and_gradients(network, lambda: last_states(decoder, batch, 1))
    torch.testing.assert_close(gradients, wanted, rtol=1e-5, atol=1e-6)


def test_under_bf16_autocast_it_stays_within_bf16() -> None:
    decoder = DECODERS["qwen2"]()
    network = with_lora(decoder).train()
    batch = padded(9, 4, 6)
    with torch.autocast("cpu", torch.bfloat16):
        states, _ = states_and_gradients(network, lambda: last_states(decoder, batch, 1))
    expected, _ = states_and_gradients(network, lambda: plain(decoder, batch, 1))
    torch.testing.assert_close(states.float(), expected, rtol=2e-2, atol=2e-2)


def test_dropout_acts_on_the_last_layer_too() -> None:
    decoder = DECODERS["qwen2"]()
    network = with_lora(decoder, dropout=0.5).train()
    first, again = (last_states(decoder, padded(6, 3), 1) for _ in range(2))
    assert not torch.equal(first, again)
    network.eval()
    torch.testing.assert_close(
        last_states(decoder, padded(6, 3), 1), plain(decoder, padded(6, 3), 1)
    )


def test_a_row_shorter_than_keep_does_not_spoil_the_others() -> None:
    decoder = DECODERS["qwen2"]()
    batch = padded(2, 6)
    states = last_states(decoder, batch, 4)
    expected = plain(decoder, batch, 4)
    torch.testing.assert_close(states[0, -2:], expected[0, -2:], rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(states[1], expected[1], rtol=1e-5, atol=1e-6)
    assert states.isfinite().all()


def test_the_decoder_is_left_as_it_was_even_after_an_error() -> None:
    decoder = DECODERS["qwen2"]()
    before = plain(decoder, padded(6, 3), 2)
    decoder.norm.register_forward_pre_hook(_fail)
    with pytest.raises(ArithmeticError):
        last_states(decoder, padded(6, 3), 2)
    decoder.norm._forward_pre_hooks.clear()
    assert torch.equal(plain(decoder, padded(6, 3), 2), before)
    assert decoder.config._attn_implementation == "sdpa"


def _fail(*_: Any) -> None:
    raise ArithmeticError


def test_equal_to_the_representations_of_the_pocket_lalm(pocket: Any) -> None:
    turns = [Conversation(text=text) for text in ("Hello.", "Say the words you hear, please.")]
    states = last_states(pocket.network.get_decoder(), pocket.batch(turns), 1)
    torch.testing.assert_close(states, pocket.representations(turns), rtol=1e-5, atol=1e-5)


def test_packing_and_parting_are_inverse() -> None:
    mask = torch.tensor([[0, 0, 1], [1, 1, 1], [0, 1, 1]])
    rows = PackedRows.of(mask)
    packed = rows.pack(torch.arange(9.0).view(3, 3)[..., None, None])
    assert packed.flatten().tolist() == [2, 3, 4, 5, 7, 8]
    apart = rows.apart(packed.transpose(1, 2))
    assert apart[:, 0, :, 0].tolist() == [[2, 0, 0], [3, 4, 5], [7, 8, 0]]
    assert torch.equal(rows.together(apart.transpose(1, 2)), packed)
    assert rows.last(2).tolist() == [0, 0, 2, 3, 4, 5]
