"""What a training method brings: its examples, and the loss on what the network makes of them.

The scored positions of an example are the last ones of its input, as many as its target has rows:
one for RRS and for the first-token baselines, one per response token for supervised fine-tuning.
"""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import torch
from torch import Tensor

from greaves.base.conversation import Conversation
from greaves.base.errors import TrainingError

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
        rejected: the other half of a pair, where this example is the reply that is preferred. Both
            always share a micro-batch, and count as one example of `batch_size`.
    """

    conversation: Conversation
    target: Tensor
    reply: tuple[int, ...] = ()
    rejected: Example | None = None

    @property
    def rows(self) -> tuple[Example, ...]:
        """The inputs that it becomes: itself, and after it the reply that is rejected."""
        return (self,) if self.rejected is None else (replace(self, rejected=None), self.rejected)

    def turned(self, change: Callable[[Conversation], Conversation]) -> Example:
        """The same example with its conversations changed, those of a pair alike."""
        rejected = self.rejected and self.rejected.turned(change)
        return replace(self, conversation=change(self.conversation), rejected=rejected)


@dataclass(frozen=True)
class Scored:
    """What the network makes of the scored positions of a micro-batch, row after row.

    Attributes:
        states: [positions, hidden_size] after the final norm, which is what the output head reads.
        targets: [positions, ...] of the examples.
        head: output head.
        layers: decoder layer -> its states, [positions, hidden_size]; see `layer`.
        before: the same of the frozen model, if it was asked for; see `frozen`.
        suffix: [rows, most positions of a row] true where a row has a scored position.
        paired: rows alternate between a pair's preferred and its rejected reply.
    """

    states: Tensor
    targets: Tensor
    head: OutputHead
    layers: Mapping[int, Tensor] = field(default_factory=dict)
    before: Scored | None = None
    suffix: Tensor = field(default_factory=lambda: torch.ones(0, 0))
    paired: bool = False

    @property
    def frozen(self) -> Scored:
        """What the model makes of the same positions without the adapter; carries no gradients.

        Raises:
            TrainingError: the objective did not ask for it.
        """
        if self.before is None:
            what = "the loss reads the frozen model, which its objective did not ask for"
            raise TrainingError(what, do="make it with Objective(..., frozen=True)")
        return self.before

    def layer(self, number: int) -> Tensor:
        """[positions, hidden_size] what a decoder layer puts out, counted from 1.

        The last layer's are `states`, as in `LALM.representations`.

        Raises:
            TrainingError: the objective did not ask for it.
        """
        if number not in self.layers:
            what = f"the loss reads layer {number}, which its objective did not ask for"
            raise TrainingError(what, do=f"make it with Objective(..., layers=({number},))")
        return self.layers[number]

    def per_row(self, values: Tensor) -> Tensor:
        """[positions] summed over each row's positions: [rows]."""
        return values.new_zeros(self.suffix.shape).masked_scatter(self.suffix, values).sum(dim=1)

    def pairs(self, values: Tensor) -> tuple[Tensor, Tensor]:
        """[positions] summed over each reply's positions: [pairs] preferred, [pairs] rejected.

        Raises:
            TrainingError: the examples are not pairs.
        """
        if not self.paired:
            what = "the loss compares pairs of replies, and the examples are not pairs"
            raise TrainingError(what, do="give each Example the reply that is `rejected`")
        preferred, rejected = self.per_row(values).view(-1, 2).unbind(dim=1)
        return preferred, rejected


@dataclass(frozen=True)
class Objective:
    """The alignment loss of a method.

    Attributes:
        losses: what a micro-batch costs, one number per scored position or per example.
        reduction: whether a step takes their mean or their sum, over the whole batch however it
            is cut into processes and micro-batches.
        per: what there is one number for: a scored position, or an example (a pair is one).
        layers: decoder layers, counted from 1, whose states `losses` reads.
        frozen: whether it reads what the model makes of the same positions without the adapter.

    Example:
        >>> squares = Objective(lambda scored: ((scored.states - scored.targets) ** 2).mean(-1))
        >>> drift = Objective(
        ...     lambda scored: (scored.layer(8) - scored.frozen.layer(8)).norm(dim=-1),
        ...     layers=(8,),
        ...     frozen=True,
        ... )
    """

    losses: Callable[[Scored], Tensor]
    reduction: Literal["mean", "sum"] = "mean"
    per: Literal["position", "example"] = "position"
    layers: tuple[int, ...] = ()
    frozen: bool = False

    def __post_init__(self) -> None:
        if _takes_three(self.losses):
            warnings.warn(
                f"objective {self.name!r}: a loss takes one `Scored` instead of (states, targets,"
                " head) from the next release on",
                DeprecationWarning,
                stacklevel=3,
            )
            old: Callable[..., Tensor] = self.losses
            new = lambda scored: old(scored.states, scored.targets, scored.head)  # noqa: E731
            new.__qualname__ = self.name
            object.__setattr__(self, "losses", new)

    @property
    def name(self) -> str:
        """What messages call it: the name of its loss."""
        inner = getattr(self.losses, "func", self.losses)  # of a functools.partial
        return str(getattr(inner, "__qualname__", type(inner).__name__))

    def __call__(self, scored: Scored) -> Tensor:
        """The losses of a micro-batch, [positions] or [examples] in float32.

        Raises:
            TrainingError: they are something else, or do not depend on the adapter.
        """
        found: Any = self.losses(scored)
        rows = len(scored.suffix) // (2 if scored.paired else 1)
        wanted, unit = [rows], "example"
        if self.per == "position":
            wanted, unit = [len(scored.states)], "scored position"
        if not isinstance(found, Tensor) or list(found.shape) != wanted:
            shape = getattr(found, "shape", None)
            is_ = type(found).__name__ if shape is None else f"of shape {list(shape)}"
            raise TrainingError(
                f"the loss of objective {self.name!r} is {is_}, not of shape {wanted}: one number"
                f" per {unit}",
                do="take no mean or sum over them: the objective's `reduction` does, or choose"
                " another `per`",
            )
        if torch.is_grad_enabled() and not found.requires_grad:
            what = f"the loss of objective {self.name!r} does not depend on what is trained"
            raise TrainingError(
                what, do="compute it from the states, without detach() or no_grad()"
            )
        losses: Tensor = found.float()
        return losses


def _takes_three(losses: Callable[..., Tensor]) -> bool:
    """Whether it is called as (states, targets, head), the form of the first release."""
    try:
        parameters = inspect.signature(losses).parameters.values()
    except (TypeError, ValueError):
        return False
    needed = (one for one in parameters if one.default is one.empty)
    return sum(one.kind in (one.POSITIONAL_ONLY, one.POSITIONAL_OR_KEYWORD) for one in needed) == 3


def step_weights(examples: Sequence[Example], batch_size: int, objective: Objective) -> list[float]:
    """Weight of each number that an example gives, in its step's loss.

    Examples are taken in order, `batch_size` a step. Since the weights are fixed here, a step's
    loss is the same however its batch is cut.

    Args:
        examples: in the order of training.
        batch_size: examples a step.
        objective: says which numbers there are, and whether their mean or sum is taken.

    Returns:
        [examples] weights; under "mean" those of a step's numbers add up to 1.
    """
    weights: list[float] = []
    for start in range(0, len(examples), batch_size):
        step = examples[start : start + batch_size]
        numbers = sum(numbers_of(example, objective) for example in step)
        weights += [1.0 / numbers if objective.reduction == "mean" else 1.0] * len(step)
    return weights


def numbers_of(example: Example, objective: Objective) -> int:
    """How many losses an example gives."""
    if objective.per == "example":
        return 1
    return sum(len(row.target) for row in example.rows)


def check(examples: Sequence[Example], objective: Objective, decoder_layers: int) -> None:
    """Raises TrainingError if examples, objective and model do not fit together."""
    if len({example.rejected is None for example in examples}) > 1:
        what = "some examples are pairs of replies and others are not"
        raise TrainingError(what, do="give all of them a `rejected` reply, or none")
    wrong = [layer for layer in objective.layers if not 1 <= layer <= decoder_layers]
    if wrong:
        has = f"the model has {decoder_layers} (counted from 1)"
        raise TrainingError(f"objective {objective.name!r} reads layer {wrong[0]}, {has}")
