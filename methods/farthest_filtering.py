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


@register_method("farthest-filtering")
class FarthestFiltering(AlignmentMethod[FarthestFilter]):
    """Fine-tuning data filtered to the benign questions farthest from harmful ones."""

    Config = FarthestFilter

    def align(self, model: LALM, data: AlignmentData | None, context: RunContext) -> Defence:
        return Defence((), self.config.note())
