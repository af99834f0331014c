"""Supervised fine-tuning (SFT): cross-entropy on response tokens, and where responses come from.

A set may bring them. For benign questions the baselines learn what the vanilla model itself says,
to leave it as it was: it is asked once and kept in the method's folder, so a killed run does not
ask again, and where several processes train together only the first one asks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor
from torch.nn import functional

from greaves.align.method import RunContext
from greaves.align.training.objective import Example, Objective, Scored
from greaves.align.training.processes import computed_once
from greaves.align.training.prompts import TASK_PROMPT
from greaves.base.conversation import Conversation, Sampling
from greaves.base.errors import DataError
from greaves.base.seeds import sample_seed
from greaves.data.alignment.sets import AlignmentItem
from greaves.models.contract import LALM, Generated
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
        what = f"question {item.id!r} has no `response` to learn"
        raise DataError(what, do=f"give {method} a Basic set, in which every question has one")
    return item.response


def response_ids(model: LALM, text: str) -> tuple[int, ...]:
    """Token ids of a whole response, the end of the assistant's turn included.

    Raises:
        ModelError: the model is a black box.
    """
    own = opened(model, "cannot be fine-tuned: its tokens are not at hand")
    return tuple(own.response_ids(text))


Ids = tuple[int, ...]

SPARE = 8
"""Tokens to ask for beyond those that are wanted: the last one may be half a letter."""

BATCH = 32
"""Questions at a time; does not change what is said beyond ties in floating point."""


def own_responses(
    model: LALM, items: Sequence[AlignmentItem], sampling: Sampling, context: RunContext, name: str
) -> list[list[Ids]]:
    """Ask the model every question, spoken, under the task prompt t.

    The prompt is t once per question, whatever prompts of the pool T the question is trained under;
    whether the RRS authors did so is unknown.

    Args:
        model: without any defence on it.
        items: the questions.
        sampling: `n` responses a question; `seed` is replaced by the run's.
        context: folder, seed and progress.
        name: of the file in the folder.

    Returns:
        [items][samples] token ids of the texts, tokenised anew. The end of the assistant's turn is
        the last of them, unless the text ran into `max_new_tokens`.

    Raises:
        ModelError: the model is a black box.
    """
    sampling = replace(sampling, seed=context.seed)
    found = computed_once(
        context.folder / f"{name}.safetensors",
        lambda: _ragged(_asked(model, items, sampling, context, name)),
    )
    parts = torch.split(found["ids"], found["lengths"].tolist())
    flat = [tuple(part.tolist()) for part in parts]
    return [flat[start : start + sampling.n] for start in range(0, len(flat), sampling.n)]


def _asked(
    model: LALM, items: Sequence[AlignmentItem], sampling: Sampling, context: RunContext, name: str
) -> list[Ids]:
    """[items x samples] token ids."""
    said: list[Ids] = []
    for start in range(0, len(items), BATCH):
        part = items[start : start + BATCH]
        answers = model.respond(
            [Conversation(text=TASK_PROMPT, clip=item.clip) for item in part],
            sampling,
            [
                [sample_seed(sampling.seed, name, item.id, sample) for sample in range(sampling.n)]
                for item in part
            ],
        )
        said += [_ids(model, one) for own in answers for one in own]
        context.report(start + len(part), len(items), "the model's own responses")
    return said


def _ids(model: LALM, said: Generated) -> Ids:
    ids = response_ids(model, said.text)
    return ids[:-1] if said.truncated and len(ids) > 1 else ids


def _ragged(rows: Sequence[Ids]) -> dict[str, Tensor]:
    """Rows of different lengths as safetensors can hold them."""
    return {
        "ids": torch.tensor([token for row in rows for token in row], dtype=torch.long),
        "lengths": torch.tensor([len(row) for row in rows], dtype=torch.long),
    }
