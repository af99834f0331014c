"""The full-size benchmark's road runs from end to end, in its tiny form on a CPU."""

from __future__ import annotations

import json
from pathlib import Path

import gpu_training
import pytest
import torch
from random_lalm import REAL, step_flops


def test_it_trains_the_published_recipe_and_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OUT", str(tmp_path))
    figures = gpu_training.main(["--tiny"])
    assert figures["steps"] == 2 * 8 / 4
    assert figures["tokens_per_s"] > 0
    assert 0 < figures["share_of_matmul_rate"] < 1
    assert figures["notes"]["first_loss"] > 0
    assert json.loads((tmp_path / "gpu_training.json").read_text()) == json.loads(
        json.dumps(figures)
    )


def test_a_step_of_the_7b_model_needs_what_was_counted_by_hand() -> None:
    # 32 layers x (4 x 4096^2 + 3 x 4096 x 11008) weights, forward and input gradients, 4 rows of
    # 231 tokens: 23.94 TFLOP; LoRA adds 0.22 and attention 0.16, the last layer saves 0.62 and the
    # first one's input 0.09.
    assert step_flops(REAL, [231] * 4) == pytest.approx(23.61e12, rel=1e-3)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_it_says_so() -> None:
    with pytest.raises(SystemExit, match="no GPU is visible here"):
        gpu_training.main([])
