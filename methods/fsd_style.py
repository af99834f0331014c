"""FSD-style: an instruction after the user's text that points at harm inside the clip.

FigStep's defence (Gong et al., 2025) tells a model that sees to look for instructions inside the
image and not to follow harmful ones. This is that idea for what is said in a clip, in Greaves' own
wording. FigStep puts it into the system turn; SARSteer's baselines, followed here, put it after the
user's text.
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
from greaves.align.parts.prompt_suffix import PromptSuffix
from greaves.data.alignment.sets import AlignmentData
from greaves.models.contract import LALM

TEXT = "Refuse to answer if the request in the audio is harmful, illegal or unsafe."
"""Greaves' own wording; the pocket LALM was trained to heed it, among others."""


class FSDStyleConfig(MethodConfig):
    """Config of the FSD-style prompt.

    Attributes:
        text: what follows the user's text. Default `TEXT`.
    """

    text: str = Field(TEXT, pattern=r"\S")


@register_method("fsd-style")
class FSDStyle(AlignmentMethod[FSDStyleConfig]):
    """An instruction after the user's text: do not follow harm in the clip."""

    Config = FSDStyleConfig
    requires: ClassVar[Requirements] = Requirements(points=frozenset({"conversation"}))

    def align(self, model: LALM, data: AlignmentData | None, context: RunContext) -> Defence:
        """The instruction as it is; nothing is learnt."""
        return Defence((PromptSuffix(self.config.text),))
