"""Norms through torch's own function are those of transformers."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from transformers.models.granite.modeling_granite import GraniteRMSNorm
from transformers.models.qwen2.modeling_qwen2 import Qwen2RMSNorm

from greaves.align.training.lean import lean_norms


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_values_and_gradients_stay(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    norm = Qwen2RMSNorm(24, eps=1e-6).to(dtype)
    nn.init.normal_(norm.weight)
    x = torch.randn(3, 5, 24, dtype=dtype, requires_grad=True)
    expected = norm(x)
    (wanted,) = torch.autograd.grad((expected.float() ** 2).sum(), x)
    with lean_norms(nn.ModuleList([norm])) as count:
        found = norm(x)
        (gradient,) = torch.autograd.grad((found.float() ** 2).sum(), x)
    assert (count, found.dtype) == (1, dtype)
    close = {"rtol": 1e-6, "atol": 1e-6} if dtype is torch.float32 else {"rtol": 2e-2, "atol": 3e-2}
    torch.testing.assert_close(found, expected, **close)
    torch.testing.assert_close(gradient, wanted, **close)
    assert torch.equal(norm(x), expected)


def test_norms_of_another_build_are_left_alone() -> None:
    with lean_norms(nn.ModuleList([GraniteRMSNorm(8), nn.LayerNorm(8)])) as count:
        assert count == 0
