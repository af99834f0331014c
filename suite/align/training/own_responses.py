"""What the vanilla model itself says to alignment questions, as token ids.

Supervised baselines learn from it: for benign questions they are to leave the model as it was.
It is asked once and kept in the method's folder, so a killed run does not ask again, and where
several processes train together only the first one asks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from greaves.align.method import RunContext
from greaves.align.training.cross_entropy import response_ids
from greaves.align.training.processes import computed_once
from greaves.align.training.prompts import TASK_PROMPT
from greaves.base.conversation import Conversation, Sampling
from greaves.base.seeds import sample_seed
from greaves.data.alignment.sets import AlignmentItem
from greaves.models.contract import LALM, Generated

Ids = tuple[int, ...]

SPARE = 8
"""Tokens to ask for beyond those that are wanted: the last one may be half a letter."""

BATCH = 32
"""Questions at a time; does not change what is said beyond ties in floating point."""


def own_responses(
    model: LALM,
    items: Sequence[AlignmentItem],
    sampling: Sampling,
    context: RunContext,
    name: str,
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
    model: LALM,
    items: Sequence[AlignmentItem],
    sampling: Sampling,
    context: RunContext,
    name: str,
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
