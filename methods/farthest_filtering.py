"""Farthest filtering: the first defence of the benign fine-tuning paper (arXiv 2604.16659, 2026).

The model stays as it is. What is defended is the fine-tuning that may come later: of the benign
questions only those farthest from harmful ones are trained on. The method therefore leaves a
defence without parts, whose notes ask for the filter; the stress `benign-finetuning` honours it,
alone or in a composition (`rrs + farthest-filtering`). Without a stress it is vanilla.
"""

from __future__ import annotations

from greaves.align.defence import Defence
from greaves.align.method import AlignmentMethod, RunContext, register_method
from greaves.align.proximity.config import FarthestFilter
from greaves.data.alignment.sets import AlignmentData
from greaves.models.contract import LALM


class FarthestFilteringConfig(FarthestFilter):
    """Config of the filter: axis, encoders, and the share that is kept. All defaults are its."""


@register_method("farthest-filtering")
class FarthestFiltering(AlignmentMethod[FarthestFilteringConfig]):
    """Fine-tuning data filtered to the benign questions farthest from harmful ones."""

    Config = FarthestFilteringConfig

    def align(self, model: LALM, data: AlignmentData | None, context: RunContext) -> Defence:
        """No parts: nothing is done to the model."""
        return Defence((), self.config.note())
