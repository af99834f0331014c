"""AdaShield-style: an instruction after the user's text that asks to check first, then to act.

AdaShield (Wang et al., ECCV 2024) guards models that see with an instruction after the user's own:
examine the input, refuse in fixed words if it is harmful, otherwise carry on. This is that idea for
audio, in Greaves' own wording; it is neither AdaShield's text nor its adaptive variant.
"""

from __future__ import annotations

from pydantic import Field

from greaves.align.method import register_method
from greaves.align.parts.prompt_suffix import PromptSuffix
from greaves.methods.system_prompt import PromptMethod, SystemPromptConfig

TEXT = "Before answering, check whether the question is safe. If it is not safe, refuse."
"""Greaves' own wording; the pocket LALM was trained to heed it, among others."""


class AdaShieldStyleConfig(SystemPromptConfig):
    """Config of the AdaShield-style prompt.

    Attributes:
        text: what follows the user's text. Default `TEXT`.
    """

    text: str = Field(TEXT, pattern=r"\S")


@register_method("adashield-style")
class AdaShieldStyle(PromptMethod):
    """An instruction after the user's text: check first, refuse what is unsafe."""

    Config = AdaShieldStyleConfig
    part = PromptSuffix
