"""Cross-entropy on response tokens: what all supervised fine-tuning (SFT) minimises."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from greaves.align.training.objective import Example, Objective, OutputHead
from greaves.base.conversation import Conversation
from greaves.models.contract import LALM
from greaves.models.transformers_lalm import opened


def token_losses(states: Tensor, tokens: Tensor, head: OutputHead) -> Tensor:
    """-log p(token) at every scored position.

    Args:
        states: [positions, hidden_size] what the output head reads.
        tokens: [positions] ids of the tokens that come next.
        head: output head.

    Returns:
        [positions] in nats, in float32.
    """
    return functional.cross_entropy(head(states).float(), tokens, reduction="none")


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


def response_ids(model: LALM, text: str) -> tuple[int, ...]:
    """Token ids of a whole response, the end of the assistant's turn included.

    Raises:
        ModelError: the model is a black box.
    """
    own = opened(model, "cannot be fine-tuned: its tokens are not at hand")
    return tuple(own.response_ids(text))
