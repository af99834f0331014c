"""Benign fine-tuning as a stress (Roh and Houmansadr, arXiv 2604.16659, 2026).

A user takes an aligned model and fine-tunes it on harmless spoken questions and their answers. What
that does to safety depends on which harmless questions: those closest to harmful ones hurt most. So
the questions are chosen by their proximity to a harmful reference set
(see `greaves.align.proximity`), and a LoRA is trained on them by cross-entropy.

The user gets weights: LoRA parts of the defence are merged before. System prompts, suffixes and
steering act at inference: they are off during fine-tuning and on again afterwards.
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any, ClassVar, Literal

from pydantic import Field

from greaves.align.defence import Defence
from greaves.align.method import DataKind, RunContext
from greaves.align.part import Part
from greaves.align.parts.lora import LoRAAdapter, MergedLoRA
from greaves.align.proximity.config import SelectionConfig, filters_of
from greaves.align.proximity.selection import encoders_of, select
from greaves.align.stress.contract import Stress
from greaves.align.training.config import FineTuningConfig
from greaves.align.training.fine_tuning import fine_tune, schedule
from greaves.align.training.objective import Example
from greaves.align.training.processes import rank
from greaves.align.training.supervised import CROSS_ENTROPY, continuation, response_ids, response_of
from greaves.base.conversation import Conversation
from greaves.base.store import write_json
from greaves.data.alignment.sets import AlignmentData, AlignmentItem
from greaves.models.contract import LALM
from greaves.models.pocket.prompts import RESPOND_PROMPT


class BenignFineTuningConfig(FineTuningConfig, SelectionConfig):
    """The fine-tuning recipe of the paper (its Qwen2.5-Omni), and which questions are taken.

    Betas, weight decay and clipping are not in the paper; these are HF Trainer's.

    Attributes:
        reference: alignment set whose harmful questions are the reference.
        prompt: text beside the clip in training; None trains on the clip alone. The default is the
            prompt of the paper's evaluation; under which one its models were trained is unknown.
        penalty: no penalty term: ordinary fine-tuning has none.
    """

    reference: DataKind = "basic"
    prompt: str | None = RESPOND_PROMPT
    rank: int = Field(8, ge=1)
    lora_alpha: float = Field(16, gt=0)
    lora_dropout: float = Field(0.05, ge=0, lt=1)
    learning_rate: float = Field(1e-4, gt=0)
    scheduler: Literal["linear", "cosine"] = "cosine"
    warm_up: float = Field(0.1, ge=0, lt=1)
    beta_2: float = Field(0.999, ge=0, lt=1)
    weight_decay: float = Field(0.0, ge=0)
    epochs: int = Field(3, ge=1)
    batch_size: int = Field(8, ge=1)
    penalty: bool = False


class BenignFineTuning(Stress[BenignFineTuningConfig]):
    """Fine-tuning on benign questions chosen by their proximity to harmful ones."""

    version: ClassVar[str] = "1"
    Config = BenignFineTuningConfig

    @property
    def reference(self) -> DataKind:
        return self.config.reference

    def depends_on(self, defence: Defence) -> dict[str, Any]:
        """The filters that the defence asks for, and the weights of all encoders."""
        filters = filters_of(defence)
        return {
            "filters": [one.model_dump(mode="json") for one in filters],
            "encoders": encoders_of([self.config, *filters]),
        }

    def stressed(
        self,
        model: LALM,
        defence: Defence,
        data: AlignmentData,
        reference: AlignmentData,
        context: RunContext,
    ) -> Defence:
        selection = select(model, data.benign, reference.harmful, defence, self.config, context)
        weights, at_inference = _parts(defence)
        with ExitStack() as merged:
            for part in weights:
                model = merged.enter_context(part.attached(model))
            adapter, losses = fine_tune(
                model,
                self._examples(model, selection.chosen(data.benign), context.seed),
                CROSS_ENTROPY,
                self.config,
                context,
            )
        if rank() == 0:
            write_json(adapter.folder / LoRAAdapter.selection, selection.as_plain())
        notes = {**losses, "selection": selection.summary(), "defence": defence.hash}
        return Defence((*weights, adapter, *at_inference), notes)

    def _examples(self, model: LALM, items: list[AlignmentItem], seed: int) -> list[Example]:
        responses = [response_ids(model, response_of(item, "benign fine-tuning")) for item in items]
        return [
            continuation(Conversation(self.config.prompt, items[index].clip), responses[index])
            for index in schedule(len(items), self.config.epochs, seed)
        ]


def _parts(defence: Defence) -> tuple[list[Part], list[Part]]:
    """What is in the weights, merged, and what acts at inference."""
    weights: list[Part] = []
    at_inference: list[Part] = []
    for part in defence.parts:
        if isinstance(part, LoRAAdapter):
            weights.append(MergedLoRA(part.folder))
        elif isinstance(part, MergedLoRA):
            weights.append(part)
        else:
            at_inference.append(part)
    return weights, at_inference


STRESSES: dict[str, type[Stress[Any]]] = {"benign-finetuning": BenignFineTuning}
"""Name -> stress: all there are."""
