"""The model as released: what every other method is compared with."""

from __future__ import annotations

from greaves.align.defence import Defence
from greaves.align.method import AlignmentMethod, MethodConfig, RunContext, register_method
from greaves.data.alignment.sets import AlignmentData
from greaves.models.contract import LALM


@register_method("vanilla")
class Vanilla(AlignmentMethod[MethodConfig]):
    """The model as released, no defence at all."""

    def align(self, model: LALM, data: AlignmentData | None, context: RunContext) -> Defence:
        return Defence()
