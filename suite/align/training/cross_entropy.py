"""Cross-entropy on response tokens: what all supervised fine-tuning (SFT) minimises."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor
from torch.nn import functional

from greaves.align.training.objective import Example, Objective, Scored
from greaves.base.conversation import Conversation
from greaves.base.errors import DataError
from greaves.data.alignment.sets import AlignmentItem
from greaves.models.contract import LALM
from greaves.models.transformers_lalm import opened


def token_losses(scored: Scored) -> Tensor:
    """-log p(token) of the target token at every scored position: [positions] in nats, float32."""
    logits = scored.head(scored.states).float()
    return functional.cross_entropy(logits, scored.targets, reduction="none")


CROSS_ENTROPY = Objective(token_losses, "mean")
"""A step's loss is the mean over all its scored tokens, so a long response weighs more than a short
one. That is how HF Trainer trains language models; what the RRS authors did is unknown."""


def continuation(
    conversation: Conversation, learnt: Sequence[int], said: Sequence[int] = ()
) -> Example:
    """An example that carries loss on the tokens `learnt`, and on nothing before them.

    Args:
        conversation: the prompt: no loss.
        learnt: token ids, at least one; each is predicted from all tokens before it.
        said: token ids between prompt and `learnt`: part of the input, no loss.
    """
    return Example(conversation, torch.tensor(learnt), reply=(*said, *learnt[:-1]))


def preference(
    conversation: Conversation, preferred: Sequence[int], rejected: Sequence[int]
) -> Example:
    """A pair of replies to one conversation, as token ids, for losses such as DPO's."""
    pair = continuation(conversation, preferred), continuation(conversation, rejected)
    return replace(pair[0], rejected=pair[1])


def response_of(item: AlignmentItem, method: str) -> str:
    """The response that a question is to be answered by.

    Raises:
        DataError: the set gives none.
    """
    if not item.response:
        raise DataError(
            f"question {item.id!r} has no `response` to learn",
            do=f"give {method} a Basic set, in which every question has one",
        )
    return item.response


def response_ids(model: LALM, text: str) -> tuple[int, ...]:
    """Token ids of a whole response, the end of the assistant's turn included.

    Raises:
        ModelError: the model is a black box.
    """
    own = opened(model, "cannot be fine-tuned: its tokens are not at hand")
    return tuple(own.response_ids(text))
