"""SFT-Shallow on Mirror: cross-entropy on the first response token (baseline of RRS, 2025).

A harmful question's first token is to be the refusal token "I"; a benign one's is to stay what the
vanilla model itself begins its response with. Nothing else carries loss: the harmful and benign
questions of a Mirror pair differ in one to three words, and so does the one token.

The vanilla model is asked every benign question once, spoken, under the task prompt t, by greedy
decoding unless `response_temperature` says otherwise. The paper does not say under which prompt,
nor how its responses were drawn.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from pydantic import Field

from greaves.align.defence import Defence
from greaves.align.method import AlignmentMethod, Requirements, RunContext, register_method
from greaves.align.training.config import FineTuningConfig
from greaves.align.training.fine_tuning import fine_tune
from greaves.align.training.objective import Example
from greaves.align.training.prompts import under_pool
from greaves.align.training.supervised import CROSS_ENTROPY, SPARE, continuation, own_responses
from greaves.base.conversation import Sampling
from greaves.data.alignment.sets import AlignmentData, AlignmentItem
from greaves.models.contract import LALM


class SFTShallowConfig(FineTuningConfig):
    """Config of SFT-Shallow: the fine-tuning recipe and one choice of its own.

    Attributes:
        response_temperature: of the vanilla model's own response to a benign question; 0 is greedy
            decoding. What the authors used is unknown.
    """

    response_temperature: float = Field(0.0, ge=0, allow_inf_nan=False)


@register_method("sft-shallow-mirror")
class SFTShallowMirror(AlignmentMethod[SFTShallowConfig]):
    """Supervised fine-tuning on the first token, on Mirror (baseline of the RRS paper)."""

    Config = SFTShallowConfig
    requires: ClassVar[Requirements] = Requirements(data="mirror", weights=True, gradients=True)

    def align(self, model: LALM, data: AlignmentData | None, context: RunContext) -> Defence:
        data = self.enough(data, "SFT-Shallow")
        first = self._first_tokens(model, data, context)
        examples = self._examples([*data.harmful, *data.benign], first, context.seed)
        adapter, notes = fine_tune(model, examples, CROSS_ENTROPY, self.config, context)
        refused = first[len(data.harmful) :].count(model.refusal_token_id)
        return Defence((adapter,), {**notes, "benign_targets_that_refuse": refused})

    def _first_tokens(self, model: LALM, data: AlignmentData, context: RunContext) -> list[int]:
        """[harmful + benign] the token that each question's response is to begin with."""
        sampling = Sampling(1, self.config.response_temperature, max_new_tokens=1 + SPARE)
        own = own_responses(model, data.benign, sampling, context, "benign")
        return [model.refusal_token_id] * len(data.harmful) + [ids[0] for [ids] in own]

    def _examples(
        self, items: Sequence[AlignmentItem], first: Sequence[int], seed: int
    ) -> list[Example]:
        return [
            continuation(conversation, [first[index]])
            for index, conversation in under_pool(items, self.config.epochs, seed)
        ]
