"""The lean pass of LoRA modules is peft's own, only with fewer detours."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch import Tensor, nn

from greaves.align.training.lean import keep_mask, lean_lora


def small(dropout: float = 0.0, **options: Any) -> Any:
    """Two projections with LoRA; B is away from 0."""
    torch.manual_seed(0)
    body = nn.Sequential(nn.Linear(24, 40), nn.Tanh(), nn.Linear(40, 8, bias=False))
    lora = LoraConfig(r=4, lora_alpha=6, lora_dropout=dropout, target_modules=["0", "2"], **options)
    network = get_peft_model(body, lora)
    for name, weight in network.named_parameters():
        if "lora_B" in name:
            nn.init.normal_(weight)
    return network.train()


def run(network: Any, x: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
    network.zero_grad(set_to_none=True)
    x.grad = None
    out = network(x)
    (out.float() ** 2).sum().backward()
    gradients = {n: p.grad for n, p in network.named_parameters() if p.grad is not None}
    return out.detach(), gradients | ({} if x.grad is None else {"x": x.grad})


@pytest.mark.parametrize("wants_x", [True, False])
def test_outputs_and_gradients_are_those_of_peft(wants_x: bool) -> None:
    network = small()
    x = torch.randn(2, 5, 24, requires_grad=wants_x)
    expected, wanted = run(network, x)
    with lean_lora(network) as count:
        out, gradients = run(network, x)
        assert network(x).grad_fn.name() == "_LowRankUpdateBackward"
    assert count == 2
    torch.testing.assert_close(out, expected, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(gradients, wanted, rtol=1e-5, atol=1e-5)
    assert ("x" in gradients) == wants_x
    again, _ = run(network, x)
    assert torch.equal(again, expected)


def test_a_bf16_model_keeps_factors_and_their_gradients_in_float32() -> None:
    network = small()
    x = torch.randn(3, 24)
    expected, wanted = run(network, x)
    for name, weight in network.named_parameters():
        if "lora" not in name:
            weight.data = weight.data.bfloat16()
    with lean_lora(network):
        out, gradients = run(network, x.bfloat16())
    assert out.dtype is torch.bfloat16
    assert {g.dtype for g in gradients.values()} == {torch.float32}
    torch.testing.assert_close(out.float(), expected, rtol=3e-2, atol=3e-2)
    for name, gradient in gradients.items():
        assert (gradient - wanted[name]).norm() < 2e-2 * wanted[name].norm()


def test_the_gradient_belongs_to_the_entries_that_dropout_kept() -> None:
    network = small(dropout=0.4).double()
    x = torch.randn(3, 24, dtype=torch.float64, requires_grad=True)

    def seeded(rows: Tensor) -> Tensor:
        torch.manual_seed(7)
        result: Tensor = network(rows)
        return result

    with lean_lora(network):
        assert torch.autograd.gradcheck(seeded, (x,))
        assert not torch.equal(network(x), network(x))
        network.eval()
        assert torch.equal(network(x), network(x))


def test_dropout_keeps_the_mean() -> None:
    torch.manual_seed(0)
    mask, kept = keep_mask(torch.empty(1000, 1001), 0.1)
    assert kept == pytest.approx(0.9, abs=1e-5)
    assert mask.float().mean().item() == pytest.approx(kept, abs=2e-3)
    columns = mask.float().view(-1, 1001).mean(dim=0)
    assert columns.std().item() == pytest.approx((0.9 * 0.1 / 1000) ** 0.5, rel=0.15)
    first, second = mask[:, :-1].float(), mask[:, 1:].float()
    assert abs(torch.corrcoef(torch.stack([first.flatten(), second.flatten()]))[0, 1]) < 5e-3


def test_the_same_seed_drops_the_same_entries() -> None:
    torch.manual_seed(3)
    first, _ = keep_mask(torch.empty(7, 9), 0.5)
    torch.manual_seed(3)
    again, _ = keep_mask(torch.empty(7, 9), 0.5)
    assert torch.equal(first, again)


def test_other_kinds_of_lora_are_left_alone() -> None:
    with lean_lora(small(use_dora=True)) as count:
        assert count == 0
    network = small()
    next(network.parameters()).ds_id = 0  # what ZeRO-3 leaves on its parameters
    with lean_lora(network) as count:
        assert count == 0


def test_a_disabled_adapter_stays_disabled() -> None:
    network = small()
    x = torch.randn(3, 24)
    with network.disable_adapter():
        expected = network(x)
    with lean_lora(network), network.disable_adapter():
        assert torch.equal(network(x), expected)
