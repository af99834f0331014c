"""Conversations as chat templates take them, and the system turns that these add unasked."""

from __future__ import annotations

from typing import Any

from greaves.base.conversation import Conversation
from greaves.base.errors import ModelError


def chat_turns(conversation: Conversation) -> list[dict[str, Any]]:
    """System turn (where there is one) and user turn, the clip before the text."""
    content: list[dict[str, str]] = []
    if conversation.clip is not None:
        content.append({"type": "audio", "audio_url": conversation.clip})
    if conversation.text is not None:
        content.append({"type": "text", "text": conversation.text})
    turns: list[dict[str, Any]] = [{"role": "user", "content": content}]
    if conversation.system is not None:
        turns.insert(0, {"role": "system", "content": conversation.system})
    return turns


def plain_turns(conversation: Conversation, clip: str) -> list[dict[str, Any]]:
    """The same for templates that take text only: `clip`, the audio token, in front of it."""
    heard = "" if conversation.clip is None else clip
    turns = [{"role": "user", "content": heard + (conversation.text or "")}]
    if conversation.system is not None:
        turns.insert(0, {"role": "system", "content": conversation.system})
    return turns


def without_default_system(text: str, opening: str, closing: str) -> str:
    """Chat text without the system turn at its head, which the template put in by itself.

    Several templates do, with a sentence of their makers or today's date: a condition that nobody
    chose, and one that changes overnight.
    """
    if not text.startswith(opening):
        return text
    return text[text.index(closing, len(opening)) + len(closing) :]


def default_system(text: str, opening: str, closing: str) -> str | None:
    """What the system turn at the head of chat text says; None where there is no such turn."""
    if not text.startswith(opening):
        return None
    return text[len(opening) : text.index(closing, len(opening))]


NONE, TEMPLATE = "none", "template"


def check_system(system: object) -> None:
    """Raise ModelError unless `system` is a value of the option: none, template or a text."""
    if system is None or (isinstance(system, str) and system.strip()):
        return
    raise ModelError("option 'system' is none, template or a text", do="write: system: none")
