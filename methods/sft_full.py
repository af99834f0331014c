"""SFT-Full: supervised fine-tuning on whole safe responses (baseline of the RRS paper, 2025).

Data are Basic: harmful questions with a safe response, benign questions with a response, both from
BeaverTails' safe split. Cross-entropy on every token of the response, the end of the turn included;
the prompt carries no loss. LoRA, recipe, penalty term and prompt pool are those of RRS.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from greaves.align.defence import Defence
from greaves.align.method import AlignmentMethod, Requirements, RunContext, register_method
from greaves.align.training.config import FineTuningConfig
from greaves.align.training.fine_tuning import fine_tune
from greaves.align.training.objective import Example
from greaves.align.training.prompts import under_pool
from greaves.align.training.supervised import CROSS_ENTROPY, continuation, response_ids, response_of
from greaves.base.errors import DataError
from greaves.data.alignment.sets import AlignmentData, AlignmentItem
from greaves.models.contract import LALM


@register_method("sft-full")
class SFTFull(AlignmentMethod[FineTuningConfig]):
    """Supervised fine-tuning on whole safe responses (baseline of the RRS paper)."""

    Config = FineTuningConfig
    requires: ClassVar[Requirements] = Requirements(data="basic", weights=True, gradients=True)

    def align(self, model: LALM, data: AlignmentData | None, context: RunContext) -> Defence:
        if data is None or not data.items:
            raise DataError("SFT-Full needs alignment data")
        examples = self._examples(model, data.items, context.seed)
        adapter, notes = fine_tune(model, examples, CROSS_ENTROPY, self.config, context)
        return Defence((adapter,), notes)

    def _examples(self, model: LALM, items: Sequence[AlignmentItem], seed: int) -> list[Example]:
        responses = [response_ids(model, response_of(item, "sft-full")) for item in items]
        return [
            continuation(conversation, responses[index])
            for index, conversation in under_pool(items, self.config.epochs, seed)
        ]
