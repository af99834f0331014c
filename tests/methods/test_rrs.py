"""RRS on hand-made tensors: selection, targets, loss, and what the model is shown."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from greaves.align.method import RunContext
from greaves.align.training.prompts import PROMPT_POOL, TASK_PROMPT
from greaves.data.alignment.sets import load_alignment_data
from greaves.methods.rrs import (
    REFUSAL_PROMPT,
    RRS,
    RRSConfig,
    alignment_losses,
    represent,
    safety_vector,
    select_features,
    targets,
)


def test_prompts_are_the_published_ones() -> None:
    assert TASK_PROMPT == "Please generate detailed steps for the question in the audio."
    assert REFUSAL_PROMPT == (
        "Please generate detailed steps for the question in the audio. (Please generate refusal"
        " response because the question violates safety policy)"
    )
    assert len(set(PROMPT_POOL)) == 10
    assert TASK_PROMPT not in PROMPT_POOL
    assert PROMPT_POOL[0] == "Answer the question in the audio."
    assert PROMPT_POOL[-1] == "Please provide a guideline for solving the question in the audio."


def test_defaults_are_the_published_recipe() -> None:
    config = RRSConfig()
    assert (config.rank, config.lora_alpha, config.lora_dropout) == (16, 4, 0.1)
    assert (config.learning_rate, config.beta_1, config.beta_2) == (5e-5, 0.9, 0.98)
    assert (config.weight_decay, config.max_grad_norm) == (0.001, 1.0)
    assert (config.epochs, config.batch_size) == (10, 16)
    assert config.penalty
    assert config.penalty_weight == 1
    assert config.top_percent is None
    assert config.reduction == "code"


def test_safety_vector_is_the_difference_of_means() -> None:
    refused = torch.tensor([[1.0, 2.0], [3.0, 6.0]])
    benign = torch.tensor([[0.0, 1.0], [1.0, 1.0], [2.0, 1.0]])
    assert safety_vector(refused, benign).tolist() == [1.0, 3.0]


def test_initial_setting_keeps_positive_contributions_only() -> None:
    delta = torch.tensor([1.0, -2.0, 3.0, -4.0, 0.0])
    w_i = torch.tensor([1.0, 1.0, -1.0, -1.0, 9.0])
    # contributions: 1, -2, -3, 4, 0
    assert select_features(delta, w_i, None).tolist() == [1.0, 0.0, 0.0, -4.0, 0.0]


@pytest.mark.parametrize(
    ("top_percent", "kept"),
    [(25.0, {3}), (50.0, {3, 0}), (75.0, {3, 0, 2}), (100.0, {0, 1, 2, 3}), (1.0, {3})],
)
def test_top_m_percent_counts_features_by_contribution(top_percent: float, kept: set[int]) -> None:
    delta = torch.tensor([1.0, -2.0, 0.5, -4.0])
    w_i = torch.tensor([1.0, 1.0, 1.0, -1.0])  # contributions: 1, -2, 0.5, 4
    chosen = select_features(delta, w_i, top_percent)
    assert {index for index in range(4) if chosen[index] != 0} == kept
    for index in kept:
        assert chosen[index] == delta[index]


def test_harmful_targets_move_along_and_benign_ones_against() -> None:
    harmful, benign = torch.zeros(2, 3), torch.ones(1, 3)
    delta_s = torch.tensor([0.5, 0.0, -1.0])
    for_harmful, for_benign = targets(harmful, benign, delta_s)
    assert for_harmful.tolist() == [[0.5, 0.0, -1.0]] * 2
    assert for_benign.tolist() == [[0.5, 1.0, 2.0]]


def test_losses_are_means_in_the_code_and_sums_in_the_paper() -> None:
    states = torch.tensor([[1.0, 2.0], [0.0, 0.0]])
    target = torch.tensor([[0.0, 0.0], [0.0, 3.0]])
    assert alignment_losses(states, target, "code").tolist() == [2.5, 4.5]
    assert alignment_losses(states, target, "paper").tolist() == [5.0, 9.0]


def test_targets_are_frozen_and_the_model_sees_the_pool(pocket: Any, mirror_folder: Path) -> None:
    data = load_alignment_data(mirror_folder, "mirror")
    method = RRS(RRSConfig(epochs=2))
    items = [*data.harmful, *data.benign]
    target = torch.arange(len(items), dtype=torch.float32)[:, None]
    examples = method._examples(items, target, seed=0)
    assert len(examples) == 2 * len(items)
    for epoch in (examples[: len(items)], examples[len(items) :]):
        assert sorted(int(example.target) for example in epoch) == list(range(len(items)))
    assert {example.conversation.text for example in examples} <= set(PROMPT_POOL)
    assert len({example.conversation.text for example in examples}) > 5
    for example in examples:
        assert example.conversation.clip == items[int(example.target)].clip


def test_alignment_moves_representations_towards_their_targets(
    pocket: Any, mirror_folder: Path, tmp_path: Path
) -> None:
    data = load_alignment_data(mirror_folder, "mirror")
    config = RRSConfig(epochs=6, learning_rate=3e-3, penalty_weight=0.01, batch_size=8)
    v_h = represent(pocket, data.harmful, TASK_PROMPT)
    v_b = represent(pocket, data.benign, TASK_PROMPT)
    delta = safety_vector(represent(pocket, data.harmful, REFUSAL_PROMPT), v_b)
    delta_s = select_features(delta, pocket.output_row(pocket.refusal_token_id), None)
    for_harmful, _ = targets(v_h, v_b, delta_s)
    defence = RRS(config).align(pocket, data, RunContext(tmp_path / "work", seed=0))
    with defence.attached(pocket):
        after_h = represent(pocket, data.harmful, TASK_PROMPT)
        after_b = represent(pocket, data.benign, TASK_PROMPT)
    assert (after_h - for_harmful).norm() < 0.8 * (v_h - for_harmful).norm()
    push = (after_h - v_h).mean(0) @ delta_s
    pull = (after_b - v_b).mean(0) @ delta_s
    assert push > 0
    assert push > pull
