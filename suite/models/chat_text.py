"""Conversations as chat templates take them, and the system turns that these add unasked."""

from __future__ import annotations

from typing import Any

from greaves.base.conversation import Conversation
from greaves.base.errors import ModelError


def chat_turns(conversation: Conversation, clip: str | None = None) -> list[dict[str, Any]]:
    """System turn (where there is one) and user turn, the clip before the text.

    Args:
        conversation: one turn.
        clip: the audio token, for templates that take text only; None for those that take parts.
    """
    turns: list[dict[str, Any]] = []
    if conversation.system is not None:
        turns.append({"role": "system", "content": conversation.system})
    if clip is not None:
        heard = "" if conversation.clip is None else clip
        return [*turns, {"role": "user", "content": heard + (conversation.text or "")}]
    content: list[dict[str, str]] = []
    if conversation.clip is not None:
        content.append({"type": "audio", "audio_url": conversation.clip})
    if conversation.text is not None:
        content.append({"type": "text", "text": conversation.text})
    return [*turns, {"role": "user", "content": content}]


def split_system(text: str, marks: tuple[str, str] | None) -> tuple[str | None, str]:
    """The system turn at the head of chat text, None where there is none, and what follows it.

    Several templates put one in by themselves, with a sentence of their makers or today's date: a
    condition that nobody chose, and one that changes overnight.
    """
    if marks is None or not text.startswith(marks[0]):
        return None, text
    start, end = len(marks[0]), text.index(marks[1], len(marks[0]))
    return text[start:end], text[end + len(marks[1]) :]


NONE, TEMPLATE = "none", "template"


def check_system(system: object) -> None:
    """Raise ModelError unless `system` is a value of the option: none, template or a text."""
    if system is not None and not (isinstance(system, str) and system.strip()):
        raise ModelError("option 'system' is none, template or a text", do="write: system: none")
