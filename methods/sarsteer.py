"""SARSteer: Safe-Ablated Refusal Steering (arXiv 2510.17633, 2025), a defence at inference time.

The method in three moves:

1. a refusal direction d_l for every decoder layer l: what the words "I cannot assist with that."
   after the task prompt change in the hidden states of harmful questions;
2. safe-space ablation: the principal directions U of safe questions' hidden states are taken out of
   it, v_l = d_l - lambda U U^T d_l, so that safe questions are moved less;
3. steering: every forward pass adds alpha v_l to the last position's output of every layer l.

Symbols as in the paper: d_l, U, v_l, k, lambda, alpha; t, the task prompt of the authors' code.
Hidden states are the layers' own outputs at the last prompt position, [hidden_size] per layer; the
last layer's are taken before the final norm, which is where the vector is added.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import ClassVar, Literal

import torch
from pydantic import ConfigDict, Field, field_validator
from torch import Tensor

from greaves.align.defence import Defence
from greaves.align.method import (
    AlignmentMethod,
    MethodConfig,
    Requirements,
    RunContext,
    register_method,
)
from greaves.align.parts.steering import Steering
from greaves.align.training.prompts import TASK_PROMPT
from greaves.base.conversation import Conversation
from greaves.base.errors import ModelError
from greaves.data.alignment.sets import AlignmentData, AlignmentItem
from greaves.models.contract import LALM

REFUSAL = " I cannot assist with that."
"""What the user's text goes on with in the refused form of a question."""


Source = Literal["text", "audio"]


class SARSteerConfig(MethodConfig):
    """Config of SARSteer; the defaults are the authors', the same for all models.

    Attributes:
        source: "text" takes d_l from written questions, as the paper does; "audio" from the spoken
            ones, as the released code does.
        safe_source: the same for U; None takes what `source` says. Default None.
        alpha: strength of steering. Default 0.1.
        lambda_: share of the safe space that is taken out, written `lambda` in recipes. Default 1;
            0 is the ablation without safe-space ablation.
        k: principal directions of the safe space. Default 10.
        items: harmful and safe questions each, drawn by the seed. Default 100.
        layers: layers that are steered, counted from 1; None steers all.
        batch_size: questions at a time; does not change results beyond rounding.
    """

    model_config = ConfigDict(populate_by_name=True)

    source: Source = "text"
    safe_source: Source | None = None
    alpha: float = Field(0.1, allow_inf_nan=False)
    lambda_: float = Field(1.0, alias="lambda", allow_inf_nan=False)
    k: int = Field(10, ge=1)
    items: int = Field(100, ge=2)
    layers: tuple[int, ...] | None = Field(None, min_length=1)
    batch_size: int = Field(32, ge=1)

    @field_validator("layers")
    @classmethod
    def _counted_from_one(cls, layers: tuple[int, ...] | None) -> tuple[int, ...] | None:
        if layers and (min(layers) < 1 or len(set(layers)) < len(layers)):
            raise ValueError("layers are counted from 1 and each is named once")
        return layers


def refusal_direction(refused: Tensor, plain: Tensor) -> Tensor:
    """d_l = mean over harmful questions of (hidden state with the refusal - without it).

    Args:
        refused: [harmful, hidden_size] at layer l, the refusal after the task prompt.
        plain: [harmful, hidden_size] the same questions under the task prompt alone.

    Returns:
        [hidden_size].
    """
    return (refused - plain).mean(dim=0)


def safe_space(safe: Tensor, k: int) -> Tensor:
    """U: the top k principal directions of safe questions' hidden states, by centred SVD.

    Args:
        safe: [safe, hidden_size] hidden states at layer l.
        k: directions wanted; there are fewer where the centred states span fewer.

    Returns:
        [hidden_size, at most k], orthonormal columns.
    """
    centred = (safe - safe.mean(dim=0)).double()
    _, strengths, directions = torch.linalg.svd(centred, full_matrices=False)
    floor = strengths[0] * max(centred.shape) * torch.finfo(safe.dtype).eps
    rank = int((strengths > floor).sum())
    space: Tensor = directions[: min(k, rank)].T
    return space


def ablate(direction: Tensor, space: Tensor, share: float) -> Tensor:
    """v_l = d_l - lambda U U^T d_l.

    Args:
        direction: [hidden_size] d_l.
        space: [hidden_size, k] U.
        share: lambda; at 1 the result is orthogonal to U.

    Returns:
        [hidden_size].
    """
    wide = direction.double()
    return (wide - share * (space @ (space.T @ wide))).to(direction.dtype)


@register_method("sarsteer")
class SARSteer(AlignmentMethod[SARSteerConfig]):
    """Steers every layer towards refusal, but not within the space of safe questions (SARSteer)."""

    version: ClassVar[str] = "1"
    Config = SARSteerConfig
    requires: ClassVar[Requirements] = Requirements(
        data="mirror", weights=True, points=frozenset({"layers"})
    )

    def align(self, model: LALM, data: AlignmentData | None, context: RunContext) -> Defence:
        data = self.enough(data, "SARSteer", benign=2)
        layers = self.config.layers or tuple(range(1, model.decoder_layers + 1))
        if max(layers) > model.decoder_layers:
            has = f"{model.name} has {model.decoder_layers}"
            what = f"sarsteer: layer {max(layers)} is to be steered, {has}"
            raise ModelError(what, do="change `layers`")
        harmful = chosen(data.harmful, self.config.items, context.seed)
        safe = chosen(data.benign, self.config.items, context.seed)
        source, safe_source = self.config.source, self.config.safe_source or self.config.source
        refusing = (TASK_PROMPT, TASK_PROMPT + REFUSAL)
        plain, refused = self._hidden(model, harmful, source, *refusing)
        (calm,) = self._hidden(model, safe, safe_source, TASK_PROMPT)
        vectors, shares = {}, {}
        for layer in layers:
            at = layer - 1
            d = refusal_direction(refused[:, at], plain[:, at])
            v = ablate(d, safe_space(calm[:, at], self.config.k), self.config.lambda_)
            vectors[layer] = v
            shares[str(layer)] = round((v.norm() / d.norm()).item(), 4)
        notes = {"harmful": len(harmful), "safe": len(safe), "norm_v_over_norm_d": shares}
        return Defence((Steering(vectors, self.config.alpha),), notes)

    def _hidden(
        self, model: LALM, items: Sequence[AlignmentItem], source: Source, *prompts: str
    ) -> Tensor:
        """[prompts, items, decoder_layers, hidden_size], one batched pass per prompt form."""
        size = self.config.batch_size
        items = sorted(items, key=lambda item: len(item.text))  # less padding; sums do not mind
        turns = [[turn(item, source, prompt) for item in items] for prompt in prompts]
        starts = range(0, len(items), size)
        found = [model.layer_outputs(*(own[at : at + size] for own in turns)) for at in starts]
        return torch.cat(found, dim=1).cpu()


def turn(item: AlignmentItem, source: Source, prompt: str) -> Conversation:
    """A question under a prompt: spoken, or written as in AIAH's text-only mode."""
    if source == "audio":
        return Conversation(text=prompt, clip=item.clip)
    return Conversation(text=f"The audio content is: {item.text} {prompt}")


def chosen(items: Sequence[AlignmentItem], count: int, seed: int) -> list[AlignmentItem]:
    """At most `count` of the items, drawn by the seed, in their own order."""
    drawn = random.Random(f"items of seed {seed}").sample(range(len(items)), min(count, len(items)))
    return [items[index] for index in sorted(drawn)]
