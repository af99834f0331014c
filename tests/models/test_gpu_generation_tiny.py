"""The full-size generation benchmark runs from end to end, in its tiny form on a CPU."""

from __future__ import annotations

import json
from pathlib import Path

import gpu_generation
import pytest
import torch
from generation_costs import decode_bytes, response_flops
from random_lalm import REAL


def test_it_answers_the_protocol_and_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OUT", str(tmp_path))
    figures = gpu_generation.main(["--tiny"])
    assert figures["responses"] == 3 * 4 * 5
    assert figures["new_tokens"] == 3 * 4 * 5 * 4
    assert 0 < figures["share_of_matmul_rate"] < 1
    assert 0 < figures["share_of_bandwidth"] < 1
    assert json.loads((tmp_path / "gpu_generation.json").read_text()) == json.loads(
        json.dumps(figures)
    )


def test_a_response_of_the_7b_model_needs_what_was_counted_by_hand() -> None:
    # Weights: 32 x (4 x 4096^2 + 3 x 4096 x 11008) = 6.476e9 and a head of 0.639e9. One prompt of
    # 101 tokens, 1 response of 1 token: 100 prefilled and 1 decoded position, one head.
    assert response_flops(REAL, [101], 1, 1) == pytest.approx(
        2 * (101 * 6.476e9 + 0.639e9 + 32 * 4096 * (100**2 + 2 * 101)), rel=1e-3
    )
    # The weights once a step, in bf16, and 2 x 32 x 4096 x 2 bytes of cache a position and row.
    assert decode_bytes(REAL, [100, 50], 5, 2, 2) == pytest.approx(
        2 * 2 * 7.115e9 + 524_288 * 5 * (100 + 101 + 50 + 51), rel=1e-3
    )


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_it_says_so() -> None:
    with pytest.raises(SystemExit, match="no GPU is visible here"):
        gpu_generation.main([])
