"""SFT-Deep: learning to turn back from a harmful response (Qi et al., ICLR 2025; baseline of RRS).

Data are Mirror. For a harmful question, 0 to 10 tokens of a harmful response are prefilled, drawn
anew each time, and the refusal follows: the loss is on the refusal alone. For a benign question it
is ordinary cross-entropy on the vanilla model's own response.

Where the paper is silent:

- the harmful response is the item's own `response` where the set gives one. Otherwise it is the
  vanilla model's: of `tries` sampled responses the first that does not begin with the refusal token
  "I", which is the rule by which RRS itself tells a refusal, and no judge. Where all begin with it,
  nothing is prefilled.
- the number of prefilled tokens is uniform. (Qi et al. prefill nothing half of the time, and up to
  100 tokens otherwise.)
- the refusal is one text, `refusal`, tokenised as at the beginning of a turn.
- the vanilla model is asked under the task prompt t, once per question.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import ClassVar

from pydantic import Field

from greaves.align.defence import Defence
from greaves.align.method import AlignmentMethod, Requirements, RunContext, register_method
from greaves.align.training.config import FineTuningConfig
from greaves.align.training.fine_tuning import fine_tune
from greaves.align.training.objective import Example
from greaves.align.training.prompts import under_pool
from greaves.align.training.supervised import (
    CROSS_ENTROPY,
    SPARE,
    Ids,
    continuation,
    own_responses,
    response_ids,
)
from greaves.base.conversation import Sampling
from greaves.data.alignment.sets import AlignmentData, AlignmentItem
from greaves.models.contract import LALM

REFUSAL = "I cannot help with that, because it could cause harm."
"""Greaves' own wording; the authors' is unknown."""


class SFTDeepConfig(FineTuningConfig):
    """Config of SFT-Deep: the fine-tuning recipe and how examples are made.

    Attributes:
        max_prefill: most tokens of the harmful response that are prefilled. Default 10 (RRS paper).
        refusal: what is learnt after them. Default `REFUSAL`.
        tries: sampled responses (temperature 1) among which a harmful one is looked for.
        response_temperature: of the vanilla model's own response to a benign question; 0 is greedy
            decoding. What the authors used is unknown.
        response_tokens: most tokens of that response; a longer one is learnt up to there, without
            an end. What the authors used is unknown.
    """

    max_prefill: int = Field(10, ge=0)
    refusal: str = Field(REFUSAL, min_length=1)
    tries: int = Field(8, ge=1)
    response_temperature: float = Field(0.0, ge=0, allow_inf_nan=False)
    response_tokens: int = Field(128, ge=1)


@register_method("sft-deep")
class SFTDeep(AlignmentMethod[SFTDeepConfig]):
    """Supervised fine-tuning on refusals after a harmful beginning (baseline of the RRS paper)."""

    Config = SFTDeepConfig
    requires: ClassVar[Requirements] = Requirements(data="mirror", weights=True, gradients=True)

    def align(self, model: LALM, data: AlignmentData | None, context: RunContext) -> Defence:
        data = self.enough(data, "SFT-Deep")
        config = self.config
        beginnings = self._beginnings(model, data.harmful, context)
        sampling = Sampling(1, config.response_temperature, max_new_tokens=config.response_tokens)
        own = [ids for [ids] in own_responses(model, data.benign, sampling, context, "benign")]
        examples = self._examples(
            [*data.harmful, *data.benign],
            beginnings,
            [*[response_ids(model, config.refusal)] * len(data.harmful), *own],
            context.seed,
        )
        adapter, notes = fine_tune(model, examples, CROSS_ENTROPY, config, context)
        notes |= {
            "never_prefilled": beginnings.count(()),
            "benign_targets_that_refuse": sum(ids[0] == model.refusal_token_id for ids in own),
        }
        return Defence((adapter,), notes)

    def _beginnings(
        self, model: LALM, items: Sequence[AlignmentItem], context: RunContext
    ) -> list[Ids]:
        """[items] first tokens of a harmful response to each, none where there is no response."""
        replies = {item.id: item.response for item in items if item.response}
        given = {name: response_ids(model, text)[:-1] for name, text in replies.items()}
        asked = [item for item in items if item.id not in given]
        sampling = Sampling(self.config.tries, 1.0, max_new_tokens=self.config.max_prefill + SPARE)
        said = own_responses(model, asked, sampling, context, "harmful")
        [end] = response_ids(model, "")
        for item, samples in zip(asked, said, strict=True):
            harmful = (ids for ids in samples if ids[0] not in (model.refusal_token_id, end))
            given[item.id] = tuple(token for token in next(harmful, ()) if token != end)
        return [given[item.id][: self.config.max_prefill] for item in items]

    def _examples(
        self,
        items: Sequence[AlignmentItem],
        beginnings: Sequence[Ids],
        learnt: Sequence[Ids],
        seed: int,
    ) -> list[Example]:
        """Harmful items come first, as many as there are beginnings."""
        chooser = random.Random(f"prefills of seed {seed}")
        examples = []
        for index, conversation in under_pool(items, self.config.epochs, seed):
            said: Ids = ()
            if index < len(beginnings):
                said = beginnings[index][: chooser.randint(0, self.config.max_prefill)]
            examples.append(continuation(conversation, learnt[index], said))
        return examples
