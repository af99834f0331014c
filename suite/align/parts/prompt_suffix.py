"""A standing text after the user's own."""

from __future__ import annotations

from dataclasses import dataclass

from greaves.align.part import TextPart
from greaves.base.conversation import Conversation


@dataclass(frozen=True)
class PromptSuffix(TextPart):
    """A text after the user's own text in every conversation."""

    kind = "prompt-suffix"

    def conversation(self, conversation: Conversation) -> Conversation:
        return conversation.with_suffix(self.text)
