"""A fast step is the plain loop's step: loss and LoRA gradients, in float32 without dropout."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from plain_loop import plain_loss, whole_inputs
from random_lalm import TINY, noise_clips, random_lalm, step_flops
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from greaves.align.training.config import FineTuningConfig
from greaves.align.training.lean import lean_lora
from greaves.align.training.network import AlignmentNetwork
from greaves.align.training.objective import Objective
from greaves.align.training.penalty import gram_penalty, lora_factors, penalty
from greaves.base.conversation import Conversation
from greaves.methods.rrs import alignment_losses
from greaves.models.transformers_lalm import TransformersLALM

OBJECTIVE = Objective(lambda scored: alignment_losses(scored.states, scored.targets, "code"))
QUESTIONS = ("Answer the question in the audio.", "Reply.", "What was said?", "Go on, please.")


def with_lora(lalm: TransformersLALM, seed: int = 5) -> AlignmentNetwork:
    """Every projection with LoRA, B away from 0."""
    torch.manual_seed(seed)
    network = AlignmentNetwork(lalm, OBJECTIVE, FineTuningConfig(lora_dropout=0))
    for b, _, _ in lora_factors(network):
        nn.init.normal_(b, std=0.02)
    return network


def our_inputs(lalm: TransformersLALM, turns: list[Conversation]) -> dict[str, Any]:
    tokens, rows = lalm.tokens(turns), len(turns)
    return {
        "ids": tokens.ids,
        "mask": tokens.mask,
        "audio": tokens.audio,
        "scored": torch.ones(rows, dtype=torch.long),
        "keep": 1,
        "weights": torch.full((rows,), 1 / rows),
    }


@pytest.mark.parametrize("which", ["pocket", "random"])
def test_loss_and_gradients_of_a_step(which: str, pocket: Any, tmp_path: Path) -> None:
    lalm = pocket if which == "pocket" else random_lalm(TINY)
    clips = noise_clips(tmp_path, 4, seconds=(0.5, 3.5), seed=1)
    turns = [Conversation(text=t, clip=c) for t, c in zip(QUESTIONS, clips, strict=True)]
    targets = torch.randn(4, lalm.network.config.get_text_config().hidden_size)
    network = with_lora(lalm)
    try:
        expected = plain_loss(
            lalm,
            network,
            whole_inputs(lalm, turns),
            targets,
            lambda states, wanted: alignment_losses(states, wanted, "code"),
        )
        expected.backward()
        wanted = {n: p.grad for n, p in network.named_parameters() if p.grad is not None}
        network.zero_grad(set_to_none=True)
        with lean_lora(network) as lean:
            loss = network(targets=targets, **our_inputs(lalm, turns))
            loss.backward()
        gradients = {n: p.grad for n, p in network.named_parameters() if p.grad is not None}
    finally:
        network.unload()
        lalm.network.requires_grad_(False)
    assert lean == len(wanted) // 2 == 7 * lalm.decoder_layers
    torch.testing.assert_close(loss, expected, rtol=1e-5, atol=0)
    for name, gradient in gradients.items():
        scale = wanted[name].abs().max()
        assert (gradient - wanted[name]).abs().max() <= 1e-5 * scale, name


def test_modules_of_one_shape_taken_at_once_are_penalised_as_one_by_one() -> None:
    factors = list(lora_factors(with_lora(random_lalm(TINY))))
    assert len({(b.shape, a.shape) for b, a, _ in factors}) < len(factors)
    one_by_one = sum(gram_penalty(b, a, scaling) for b, a, scaling in factors)
    torch.testing.assert_close(penalty(factors), one_by_one, rtol=1e-6, atol=0)
    assert penalty([]).item() == 0


def test_the_flops_counted_are_those_torch_counts(tmp_path: Path) -> None:
    lalm = random_lalm(TINY, dtype=torch.bfloat16)
    clips = noise_clips(tmp_path, 2, seconds=(1, 1), seed=1)
    turns = [Conversation(text="Go on.", clip=clip) for clip in clips]
    network = with_lora(lalm)
    inputs = our_inputs(lalm, turns)
    with FlopCounterMode(display=False) as counter, lean_lora(network):
        network(targets=torch.randn(2, TINY.hidden), **inputs).backward()
    lengths = inputs["mask"].sum(dim=1).tolist()
    squares = sum(n * n for n in lengths) * TINY.hidden  # torch counts no causal half
    extra = 2 * 3 * (TINY.layers - 1) * squares
    assert counter.get_total_flops() == pytest.approx(step_flops(TINY, lengths) + extra, rel=0.03)
