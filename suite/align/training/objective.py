"""What a training method says of itself: its examples, and one loss a scored position.

The scored positions of an example are the last ones of its input, as many as its target has rows:
one for RRS and for the first-token baselines, one a response token for supervised fine-tuning.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from greaves.base.conversation import Conversation

OutputHead = Callable[[Tensor], Tensor]
"""Logits [positions, vocabulary] of states [positions, hidden_size]."""


@dataclass(frozen=True)
class Example:
    """One training example.

    Attributes:
        conversation: what the model is shown.
        target: [scored positions, ...]: what the objective compares the last positions with.
        reply: token ids that the assistant has said already (teacher forcing); they follow the
            prompt and are part of the input.
    """

    conversation: Conversation
    target: Tensor
    reply: tuple[int, ...] = ()


@dataclass(frozen=True)
class Objective:
    """The alignment loss of a method.

    Attributes:
        losses: (states [positions, hidden_size] after the final norm, targets [positions, ...],
            output head) -> [positions], one loss a scored position.
        reduction: whether a step takes their mean or their sum, over the whole batch however it
            is cut into processes and micro-batches.

    Example:
        >>> mean_squares = Objective(lambda states, targets, head: ((states - targets)**2).mean(-1))
    """

    losses: Callable[[Tensor, Tensor, OutputHead], Tensor]
    reduction: Literal["mean", "sum"] = "mean"


def position_weights(
    examples: Sequence[Example], batch_size: int, reduction: Literal["mean", "sum"]
) -> list[float]:
    """Weight of every example's positions in its step's loss.

    Examples are taken in order, `batch_size` a step. Since the weights are fixed here, a step's
    loss is the same however its batch is cut.

    Args:
        examples: in the order of training.
        batch_size: examples a step.
        reduction: see `Objective`.

    Returns:
        [examples] weights; under "mean" those of a step's positions add up to 1.
    """
    weights: list[float] = []
    for start in range(0, len(examples), batch_size):
        step = examples[start : start + batch_size]
        scored = sum(len(example.target) for example in step)
        weights += [1.0 / scored if reduction == "mean" else 1.0] * len(step)
    return weights
