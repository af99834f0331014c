"""The model as released: what every other method is compared with."""

from __future__ import annotations

from greaves.alignment_data.sets import AlignmentData
from greaves.defence import Defence
from greaves.method import AlignmentMethod, MethodConfig, RunContext
from greaves.models.base import LALM
from greaves.registry import register_method


@register_method("vanilla")
class Vanilla(AlignmentMethod[MethodConfig]):
    """The model as released, no defence at all."""

    def align(self, model: LALM, data: AlignmentData | None, context: RunContext) -> Defence:
        """A defence of no parts."""
        return Defence()
