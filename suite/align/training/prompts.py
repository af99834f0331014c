"""Under which prompts alignment data are put to a model (RRS paper, section 4)."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

from greaves.align.training.fine_tuning import schedule
from greaves.base.conversation import Conversation
from greaves.data.alignment.sets import AlignmentItem
from greaves.models.pocket import prompts

TASK_PROMPT = prompts.STEPS_PROMPT
"""t: the prompt of what the vanilla model is asked, and of AIAH's audio-text mode."""

PROMPT_POOL = prompts.PROMPT_POOL
"""T: the fine-tuned model sees a prompt t' drawn from here, per sample and step."""


def under_pool(
    items: Sequence[AlignmentItem], epochs: int, seed: int
) -> Iterator[tuple[int, Conversation]]:
    """All epochs end to end: which item comes next, and its clip under a prompt drawn from T.

    Args:
        items: alignment data; every epoch takes each item once, in a fresh random order.
        epochs: passes over them.
        seed: of order and prompts.

    Yields:
        (index into `items`, what the model is shown).
    """
    chooser = random.Random(f"prompts of seed {seed}")
    for index in schedule(len(items), epochs, seed):
        yield index, Conversation(text=chooser.choice(PROMPT_POOL), clip=items[index].clip)
