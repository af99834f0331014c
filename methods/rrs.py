"""RRS: Reshaping Representation Space to Balance the Safety and Over-rejection in LALMs (2025).

The method in three moves (section 4 of the paper):

1. a safety vector delta: the way a refusal instruction moves harmful questions, away from benign
   ones, in the space of last-layer representations; of it only the features are kept that push the
   output head towards the refusal token "I";
2. frozen targets: harmful questions are to move along the kept part, benign ones against it;
3. LoRA fine-tuning towards the targets under ten other prompts, with a penalty on leaving theta_0.

Symbols as in the paper: V(x) is the representation of x (last prompt position, after the final
norm, [hidden_size]); h harmful and b benign audio; t the task prompt, t~ the same with a refusal
instruction (`REFUSAL_PROMPT`), T the pool of training prompts.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from greaves.align.defence import Defence
from greaves.align.method import AlignmentMethod, Requirements, RunContext, register_method
from greaves.align.training.config import FineTuningConfig
from greaves.align.training.fine_tuning import fine_tune
from greaves.align.training.objective import Example, Objective, Scored
from greaves.align.training.processes import computed_once
from greaves.align.training.prompts import TASK_PROMPT, under_pool
from greaves.base.conversation import Conversation
from greaves.data.alignment.sets import AlignmentData, AlignmentItem
from greaves.models.contract import LALM
from greaves.models.pocket.prompts import REFUSAL_PROMPT


class RRSConfig(FineTuningConfig):
    """Config of RRS: the fine-tuning recipe and two choices of its own.

    Attributes:
        top_percent: m, share of the features of delta that are kept, in percent of hidden_size.
            None keeps all with a positive contribution (the paper's initial setting, about 51 %);
            12.5 and 25 are its ablations.
        reduction: "code" averages squared differences over batch and dimensions, as the released
            code does; "paper" sums them, as the paper writes.
    """

    top_percent: float | None = Field(None, gt=0, le=100)
    reduction: Literal["code", "paper"] = "code"


def safety_vector(refused_harmful: Tensor, benign: Tensor) -> Tensor:
    """delta = mean_n(V~(h_n)) - mean_n(V(b_n)).

    Equal to the paper's mean over pairs where both sides are equally many.

    Args:
        refused_harmful: [harmful, hidden_size], V~(h): harmful audio under t~.
        benign: [benign, hidden_size], V(b): benign audio under t.

    Returns:
        [hidden_size].
    """
    return refused_harmful.mean(dim=0) - benign.mean(dim=0)


def select_features(delta: Tensor, refusal_row: Tensor, top_percent: float | None) -> Tensor:
    """delta_s: delta where it pushes towards the refusal token, 0 elsewhere.

    contribution_p = w_I[p] * delta[p]; kept are the top m % of the contributions, or all positive
    ones.

    Args:
        delta: [hidden_size] the safety vector.
        refusal_row: [hidden_size] w_I, the output head's row of the refusal token.
        top_percent: m, or None for all positive contributions.

    Returns:
        [hidden_size].
    """
    contribution = refusal_row * delta
    if top_percent is None:
        keep = contribution > 0
    else:
        count = max(1, round(delta.numel() * top_percent / 100))
        keep = torch.zeros_like(delta, dtype=torch.bool)
        keep[contribution.topk(count).indices] = True
    return torch.where(keep, delta, torch.zeros_like(delta))


def targets(harmful: Tensor, benign: Tensor, delta_s: Tensor) -> tuple[Tensor, Tensor]:
    """Frozen targets: V(h) + delta_s and V(b) - delta_s, shaped like V(h) and V(b)."""
    return harmful + delta_s, benign - delta_s


def alignment_losses(representations: Tensor, target: Tensor, reduction: str) -> Tensor:
    """Squared distance of each representation from its target, both [batch, hidden_size].

    Returns:
        [batch] the mean ("code") or the sum ("paper") over dimensions; a step takes the mean or
        the sum of these in turn.
    """
    squared = (representations.float() - target.float()) ** 2
    return squared.mean(-1) if reduction == "code" else squared.sum(-1)


@register_method("rrs")
class RRS(AlignmentMethod[RRSConfig]):
    """Moves harmful and benign representations apart along a safety vector (RRS paper)."""

    version: ClassVar[str] = "2"
    Config = RRSConfig
    requires: ClassVar[Requirements] = Requirements(data="mirror", weights=True, gradients=True)

    def align(self, model: LALM, data: AlignmentData | None, context: RunContext) -> Defence:
        data = self.enough(data, "RRS")
        vectors = computed_once(
            context.folder / "representations.safetensors",
            lambda: {
                "V(h)": represent(model, data.harmful, TASK_PROMPT),
                "V~(h)": represent(model, data.harmful, REFUSAL_PROMPT),
                "V(b)": represent(model, data.benign, TASK_PROMPT),
            },
        )
        delta = safety_vector(vectors["V~(h)"], vectors["V(b)"])
        w_i = model.output_row(model.refusal_token_id).to(delta)
        delta_s = select_features(delta, w_i, self.config.top_percent)
        target = torch.cat(targets(vectors["V(h)"], vectors["V(b)"], delta_s))
        adapter, notes = fine_tune(
            model,
            self._examples([*data.harmful, *data.benign], target, context.seed),
            Objective(self._losses, "mean" if self.config.reduction == "code" else "sum"),
            self.config,
            context,
        )
        positive = (w_i * delta > 0).float().mean().item()
        notes |= {
            "norm_delta": round(delta.norm().item(), 4),
            "norm_delta_s": round(delta_s.norm().item(), 4),
            "positive_contributions_percent": round(100 * positive, 1),
        }
        return Defence((adapter,), notes)

    def _examples(self, items: Sequence[AlignmentItem], target: Tensor, seed: int) -> list[Example]:
        return [
            Example(conversation, target[index : index + 1])
            for index, conversation in under_pool(items, self.config.epochs, seed)
        ]

    def _losses(self, scored: Scored) -> Tensor:
        return alignment_losses(scored.states, scored.targets, self.config.reduction)


def represent(
    model: LALM, items: Sequence[AlignmentItem], prompt: str, batch_size: int = 32
) -> Tensor:
    """V: representations of spoken questions under one prompt, [items, hidden_size]."""
    asked = [Conversation(text=prompt, clip=item.clip) for item in items]
    starts = range(0, len(asked), batch_size)
    parts = [model.representations(asked[at : at + batch_size])[:, 0] for at in starts]
    return torch.cat(parts)
