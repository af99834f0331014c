"""A standing system prompt."""

from __future__ import annotations

from dataclasses import dataclass

from greaves.align.part import TextPart
from greaves.base.conversation import Conversation


@dataclass(frozen=True)
class SystemPrompt(TextPart):
    """A text in the system turn of every conversation, after one that is there already."""

    kind = "system-prompt"

    def conversation(self, conversation: Conversation) -> Conversation:
        return conversation.with_system(self.text)
