"""The fine-tuning recipe that training methods share, as the RRS paper has it (section 4)."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from greaves.align.method import MethodConfig


class FineTuningConfig(MethodConfig):
    """The fine-tuning recipe of the RRS paper; every default is the published one.

    Attributes:
        rank: LoRA r.
        lora_alpha: LoRA alpha; the update is scaled by lora_alpha / rank.
        lora_dropout: dropout in front of A.
        learning_rate: AdamW's at its peak.
        scheduler: how the learning rate falls to 0.
        warm_up: share of the steps, rounded up, in which it rises from 0 to its peak.
        beta_1, beta_2: AdamW betas.
        weight_decay: AdamW's.
        max_grad_norm: gradient clipping.
        epochs: passes over the alignment data.
        batch_size: examples a step, over all processes and accumulated micro-batches.
        length_buckets: examples of similar length share a step, which saves padding; the order
            stays random and seeded. False takes them as they come, as the released code does.
        penalty: whether ||theta - theta_0||^2 is added ("w/o Penalty Term" is false).
        penalty_weight: its weight; 1 in the paper. The alignment loss of the released code is a
            mean over few or many dimensions, so this is the knob that depends on the model's size.
    """

    rank: int = Field(16, ge=1)
    lora_alpha: float = Field(4, gt=0)
    lora_dropout: float = Field(0.1, ge=0, lt=1)
    learning_rate: float = Field(5e-5, gt=0)
    scheduler: Literal["linear", "cosine"] = "linear"
    warm_up: float = Field(0.0, ge=0, lt=1)
    beta_1: float = Field(0.9, ge=0, lt=1)
    beta_2: float = Field(0.98, ge=0, lt=1)
    weight_decay: float = Field(0.001, ge=0)
    max_grad_norm: float = Field(1.0, gt=0)
    epochs: int = Field(10, ge=1)
    batch_size: int = Field(16, ge=1)
    length_buckets: bool = True
    penalty: bool = True
    penalty_weight: float = Field(1.0, ge=0)
