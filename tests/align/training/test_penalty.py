"""The penalty equals the naive ||s B A||_F^2 and never builds a d x d matrix."""

from __future__ import annotations

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from greaves.align.training.penalty import gram_penalty, lora_factors, penalty


def factors(
    out: int, inner: int, rank: int, dtype: torch.dtype
) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    b = torch.randn(out, rank, generator=generator, dtype=dtype, requires_grad=True)
    a = torch.randn(rank, inner, generator=generator, dtype=dtype, requires_grad=True)
    return b, a


def test_hand_computed_value() -> None:
    b = torch.tensor([[1.0], [2.0]])
    a = torch.tensor([[3.0, 0.0, 4.0]])
    # s B A = 0.5 * [[3, 0, 4], [6, 0, 8]]: squares 0.25 * (9 + 16 + 36 + 64)
    assert gram_penalty(b, a, 0.5).item() == pytest.approx(31.25)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_value_and_gradient_equal_the_naive_form(dtype: torch.dtype) -> None:
    b, a = factors(96, 64, 8, dtype)
    ours = gram_penalty(b, a, 0.25)
    naive = (0.25 * b @ a).pow(2).sum()
    torch.testing.assert_close(ours, naive, rtol=1e-6, atol=0)
    for mine, theirs in zip(
        torch.autograd.grad(ours, (b, a)), torch.autograd.grad(naive, (b, a)), strict=True
    ):
        error = (mine - theirs).norm() / theirs.norm()
        assert error < 1e-6


def test_gradient_at_the_start_of_training_is_zero_not_nan() -> None:
    b, a = factors(16, 16, 4, torch.float64)
    b = torch.zeros_like(b).requires_grad_()
    gradient_b, gradient_a = torch.autograd.grad(gram_penalty(b, a, 1.0), (b, a))
    assert gradient_b.abs().max() == 0
    assert gradient_a.abs().max() == 0


class _LargestTensor(TorchDispatchMode):
    elements = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        out = func(*args, **(kwargs or {}))
        if isinstance(out, torch.Tensor):
            self.elements = max(self.elements, out.numel())
        return out


def test_no_d_by_d_matrix_is_built_forward_or_backward() -> None:
    b, a = factors(256, 192, 4, torch.float32)
    with _LargestTensor() as largest:
        gram_penalty(b, a, 1.0).backward()
    assert 0 < largest.elements <= max(b.numel(), a.numel())


def test_the_sum_runs_over_every_lora_module() -> None:
    from peft import LoraConfig, get_peft_model

    network = torch.nn.Sequential(torch.nn.Linear(6, 5), torch.nn.Linear(5, 4))
    wrapped = get_peft_model(network, LoraConfig(r=2, lora_alpha=1, target_modules=["0", "1"]))
    naive = torch.zeros(())
    for index, (b, a, scaling) in enumerate(lora_factors(wrapped)):
        torch.nn.init.constant_(b, 0.1 * (index + 1))
        assert scaling == 0.5
        naive = naive + (scaling * b @ a).pow(2).sum()
    assert naive > 0
    torch.testing.assert_close(penalty(lora_factors(wrapped)), naive)
