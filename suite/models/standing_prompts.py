"""Prompts that defences attach to a model: they stand around every conversation while they do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from greaves.base.conversation import Conversation
from greaves.models.contract import LALM


class StandingPrompts(LALM):
    """What attached system prompts and suffixes mean to any model that takes conversations."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._system: list[str] = []
        self._suffixes: list[str] = []

    @contextmanager
    def attach_system_prompt(self, text: str) -> Iterator[None]:
        """See `LALM.attach_system_prompt`."""
        self._system.append(text)
        try:
            yield
        finally:
            self._system.pop()

    @contextmanager
    def attach_prompt_suffix(self, text: str) -> Iterator[None]:
        """See `LALM.attach_prompt_suffix`."""
        self._suffixes.append(text)
        try:
            yield
        finally:
            self._suffixes.pop()

    def standing_prompts(self) -> tuple[str | None, str | None]:
        """The system prompt, and the text after the user's words, that are attached now."""
        bare = self._under_prompts(Conversation())
        return bare.system, bare.text

    def _under_prompts(self, conversation: Conversation) -> Conversation:
        for text in self._system:
            conversation = conversation.with_system(text)
        for text in self._suffixes:
            conversation = conversation.with_suffix(text)
        return conversation
