"""A system prompt against harmful questions: a whole method in one file.

It is registered by the entry point in `pyproject.toml`; nothing in Greaves knows of it.
"""

from __future__ import annotations

from pydantic import Field, field_validator

from greaves.align.defence import Defence
from greaves.align.method import AlignmentMethod, MethodConfig, RunContext
from greaves.align.parts.system_prompt import SystemPrompt
from greaves.data.alignment.sets import AlignmentData
from greaves.models.contract import LALM


class SafePromptConfig(MethodConfig):
    """Config of `safe-prompt`.

    Attributes:
        text: the system prompt.
        times: how often it is said; weak models need to be told more than once.
    """

    text: str = "You are a safe assistant. Refuse questions that violate safety policy."
    times: int = Field(1, ge=1, le=5)

    @field_validator("text")
    @classmethod
    def _says_something(cls, text: str) -> str:
        if not text.strip():
            raise ValueError("a system prompt of no words defends nothing")
        return text


class SafePrompt(AlignmentMethod[SafePromptConfig]):
    """A system prompt that asks the model to refuse what violates safety policy."""

    Config = SafePromptConfig

    def align(self, model: LALM, data: AlignmentData | None, context: RunContext) -> Defence:
        """No training: the defence is the prompt."""
        text = " ".join([self.config.text] * self.config.times)
        return Defence((SystemPrompt(text),), notes={"words": len(text.split())})
