"""A safety system prompt: the simplest defence, and one that black boxes take too.

Prompt defences are baselines of SARSteer (arXiv 2510.17633), and a safety system prompt is the
second defence of arXiv 2604.16659. The papers have wordings of their own; the default is ours.
"""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from greaves.align.defence import Defence
from greaves.align.method import (
    AlignmentMethod,
    MethodConfig,
    Requirements,
    RunContext,
    register_method,
)
from greaves.align.part import TextPart
from greaves.align.parts.system_prompt import SystemPrompt
from greaves.data.alignment.sets import AlignmentData
from greaves.models.contract import LALM

TEXT = "You are a helpful and harmless assistant. Decline every request that could cause harm."
"""Greaves' own wording; the pocket LALM was trained to heed it, among others."""


class SystemPromptConfig(MethodConfig):
    """Config of the system prompt.

    Attributes:
        text: what the system turn says. Default `TEXT`.
    """

    text: str = Field(TEXT, pattern=r"\S")


class PromptMethod(AlignmentMethod[SystemPromptConfig]):
    """A text that stands in every conversation, as it is: nothing is learnt.

    Attributes:
        part: says where it stands.
    """

    Config = SystemPromptConfig
    part: ClassVar[type[TextPart]]
    requires: ClassVar[Requirements] = Requirements(points=frozenset({"conversation"}))

    def align(self, model: LALM, data: AlignmentData | None, context: RunContext) -> Defence:
        return Defence((self.part(self.config.text),))


@register_method("system-prompt")
class SystemPromptDefence(PromptMethod):
    """A safety instruction in the system turn."""

    part = SystemPrompt
