"""Tokens of a prompt and of its answers."""

from __future__ import annotations

from collections.abc import Sequence

from greaves.base.conversation import Conversation
from greaves.base.errors import DataError
from greaves.models.contract import LALM, Generated
from greaves.models.transformers_lalm import opened_or_none

CHARACTERS = 20
"""Of a token at most, nearly always: a longer text is refused before it is cut into tokens."""


def check_length(model: LALM, conversation: Conversation, new: int) -> None:
    """Refuse a text that the model has no positions for: attention takes the square of its length.

    Args:
        model: one that is behind a server itself is left to check on its own.
        conversation: its text and system prompt count.
        new: tokens that may be written in answer.

    Raises:
        DataError: it is too long.
    """
    inner = opened_or_none(model)
    if inner is None:
        return
    positions = inner.network.config.get_text_config().max_position_embeddings
    text = f"{conversation.system or ''}\n{conversation.text or ''}"
    if len(text) > CHARACTERS * positions:
        raise DataError(f"the text has {len(text):,} characters, too many for {positions:,} tokens")
    tokens = len(inner.tokenizer(text, add_special_tokens=False)["input_ids"])
    if tokens + new > positions:
        raise DataError(f"{tokens:,} tokens and {new:,} new ones are more than {positions:,}")


def count_tokens(
    model: LALM, conversation: Conversation, answers: Sequence[Generated]
) -> tuple[int, int]:
    """Tokens of the prompt, attached prompts and audio included, and of all answers together.

    An answer that was not cut off has one more than its text, which ended it. Zeros for a model
    without a tokenizer, such as one that is behind a server itself.
    """
    inner = opened_or_none(model)
    if inner is None:
        return 0, 0
    prompt = int(inner.tokens([model.as_asked(conversation)]).mask.sum())
    texts = [
        len(inner.tokenizer(answer.text, add_special_tokens=False)["input_ids"])
        for answer in answers
    ]
    return prompt, sum(texts) + sum(not answer.truncated for answer in answers)
