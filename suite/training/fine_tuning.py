"""LoRA fine-tuning with HF Trainer, shared by all training methods.

A method says what is learnt (examples: a conversation and its targets) and how it is scored (an
objective on hidden states); LoRA, penalty, optimiser, checkpoints and resuming are here.
"""

from __future__ import annotations

import json
import logging
import random
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from pydantic import Field
from torch import Tensor, nn
from torch.utils.data import SequentialSampler
from transformers import Trainer, TrainerCallback, TrainingArguments

from greaves.defence import LoRAAdapter
from greaves.errors import ModelError, TrainingError
from greaves.method import MethodConfig, RunContext
from greaves.models.base import LALM, Conversation
from greaves.models.transformers_lalm import Batch, TransformersLALM
from greaves.training.penalty import penalty

LORA_TARGETS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
"""Projections of the language model that get a LoRA module (RRS, section 4)."""


class FineTuningConfig(MethodConfig):
    """The fine-tuning recipe of the RRS paper; every default is the published one.

    Attributes:
        rank: LoRA r.
        lora_alpha: LoRA alpha; the update is scaled by lora_alpha / rank.
        lora_dropout: dropout in front of A.
        learning_rate: peak of AdamW's linear decay.
        beta_1, beta_2: AdamW betas.
        weight_decay: AdamW's.
        max_grad_norm: gradient clipping.
        epochs: passes over the alignment data.
        batch_size: examples a step; fine-tuning uses one device.
        penalty: whether ||theta - theta_0||^2 is added ("w/o Penalty Term" is false).
        penalty_weight: its weight; 1 in the paper. The alignment loss of the released code is a
            mean over few or many dimensions, so this is the knob that depends on the model's size.
    """

    rank: int = Field(16, ge=1)
    lora_alpha: float = Field(4, gt=0)
    lora_dropout: float = Field(0.1, ge=0, lt=1)
    learning_rate: float = Field(5e-5, gt=0)
    beta_1: float = Field(0.9, ge=0, lt=1)
    beta_2: float = Field(0.98, ge=0, lt=1)
    weight_decay: float = Field(0.001, ge=0)
    max_grad_norm: float = Field(1.0, gt=0)
    epochs: int = Field(10, ge=1)
    batch_size: int = Field(16, ge=1)
    penalty: bool = True
    penalty_weight: float = Field(1.0, ge=0)


@dataclass(frozen=True)
class Example:
    """One training example.

    Attributes:
        conversation: what the model is shown.
        target: what the objective compares with; any one shape for all examples of a run.
    """

    conversation: Conversation
    target: Tensor


class Objective(Protocol):
    """The alignment loss of a method."""

    def __call__(self, hidden: Tensor, batch: Batch, targets: Tensor) -> Tensor:
        """A scalar loss.

        Args:
            hidden: [batch, length, hidden_size] states after the final norm.
            batch: the inputs they came from, padded on the left.
            targets: [batch, ...] the examples' targets.
        """


def schedule(count: int, epochs: int, seed: int) -> list[int]:
    """Indices 0..count-1 in a fresh random order every epoch, one after the other."""
    chooser = random.Random(seed)
    order: list[int] = []
    for _ in range(epochs):
        order += chooser.sample(range(count), count)
    return order


def lora_modules(model: TransformersLALM) -> list[str]:
    """Full names of the language model's projections; never those of the audio tower."""
    inside = set(model.network.get_decoder().modules())
    return [
        name
        for name, module in model.network.named_modules()
        if module in inside and isinstance(module, nn.Linear) and name.endswith(LORA_TARGETS)
    ]


def fine_tune(
    model: LALM,
    examples: Sequence[Example],
    objective: Objective,
    config: FineTuningConfig,
    context: RunContext,
) -> tuple[LoRAAdapter, dict[str, Any]]:
    """Train a LoRA adapter; the model itself is left bit for bit as it was.

    Args:
        model: a model whose weights are at hand.
        examples: in the order of training, all epochs one after the other (see `schedule`).
        objective: the alignment loss.
        config: the recipe.
        context: folder (checkpoints; a killed run continues from them), seed, progress.

    Returns:
        The adapter, saved in `context.folder`, and notes: first and last logged loss.

    Raises:
        ModelError: the model is a black box.
        TrainingError: the loss is not a number.
    """
    if not isinstance(model, TransformersLALM):
        raise ModelError(f"{model.name} cannot be fine-tuned: its weights are not at hand")
    torch.manual_seed(context.seed)
    lora = LoraConfig(
        r=config.rank,
        lora_alpha=config.lora_alpha,
        lora_dropout=config.lora_dropout,
        target_modules=lora_modules(model),
    )
    network = get_peft_model(model.network, lora)
    try:
        trainer = _AlignmentTrainer(model, network, examples, objective, config, context)
        trainer.train(resume_from_checkpoint=_last_checkpoint(context.folder))
        folder = context.folder / "adapter"
        shutil.rmtree(folder, ignore_errors=True)
        network.save_pretrained(str(folder))
        _forget_paths(folder / "adapter_config.json", model)
        losses = [row["loss"] for row in trainer.state.log_history if "loss" in row]
    finally:
        network.unload()
        model.network.eval().requires_grad_(False)
    return LoRAAdapter(folder), {"first_loss": losses[0], "last_loss": losses[-1]}


class _AlignmentTrainer(Trainer):  # type: ignore[misc]
    """Trainer whose loss is the objective on the hidden states, plus the penalty."""

    def __init__(
        self,
        model: TransformersLALM,
        network: PeftModel,
        examples: Sequence[Example],
        objective: Objective,
        config: FineTuningConfig,
        context: RunContext,
    ) -> None:
        steps = -(-len(examples) // config.batch_size)
        on_gpu = model.device.type == "cuda"
        arguments = TrainingArguments(
            output_dir=str(context.folder / "checkpoints"),
            per_device_train_batch_size=config.batch_size,
            num_train_epochs=1,  # `examples` already holds all epochs
            learning_rate=config.learning_rate,
            adam_beta1=config.beta_1,
            adam_beta2=config.beta_2,
            weight_decay=config.weight_decay,
            max_grad_norm=config.max_grad_norm,
            lr_scheduler_type="linear",
            save_steps=max(1, steps // config.epochs),
            save_total_limit=2,
            logging_steps=max(1, steps // 20),
            logging_first_step=True,
            seed=context.seed,
            use_cpu=not on_gpu,
            bf16=on_gpu,
            disable_tqdm=True,
            remove_unused_columns=False,
            label_names=["targets"],
            report_to=[],
        )
        arguments._n_gpu = min(1, arguments.n_gpu)  # one device: `batch_size` is the whole step's
        super().__init__(
            model=network,
            args=arguments,
            train_dataset=list(examples),
            data_collator=_Collator(model),
            callbacks=[_Progress(context.report)],
        )
        self.objective, self.config, self.lalm = objective, config, model

    def _get_train_sampler(self, *_args: Any) -> SequentialSampler:
        return SequentialSampler(self.train_dataset)

    def compute_loss(
        self, model: nn.Module, inputs: dict[str, Any], *_args: Any, **_kwargs: Any
    ) -> Tensor:
        """Objective + penalty_weight * ||theta - theta_0||^2."""
        batch: Batch = inputs["batch"]
        with self.accelerator.autocast():
            output = self.lalm.network.get_decoder()(
                inputs_embeds=batch.embeds,
                attention_mask=batch.mask,
                position_ids=batch.positions,
                use_cache=False,
            )
        loss = self.objective(output.last_hidden_state, batch, inputs["targets"])
        if self.config.penalty:
            loss = loss + self.config.penalty_weight * penalty(model)
        if not torch.isfinite(loss):
            raise TrainingError(
                f"the loss is {loss.item()} at step {self.state.global_step + 1}",
                do="lower learning_rate",
            )
        return loss

    def log(self, logs: dict[str, float], *_args: Any, **_kwargs: Any) -> None:
        """Keep the log in the trainer's state; print nothing."""
        self.state.log_history.append({**logs, "step": self.state.global_step})


class _Collator:
    """Examples to one batch of embeddings and targets."""

    def __init__(self, model: TransformersLALM) -> None:
        self.model = model

    def __call__(self, examples: list[Example]) -> dict[str, Any]:
        batch = self.model.batch([example.conversation for example in examples])
        targets = torch.stack([example.target for example in examples])
        return {"batch": batch, "targets": targets.to(self.model.device)}


class _Progress(TrainerCallback):  # type: ignore[misc]
    def __init__(self, report: Callable[[int, int, str], None]) -> None:
        self.report = report

    def on_step_end(self, _args: Any, state: Any, _control: Any, **_kwargs: Any) -> None:
        self.report(state.global_step, state.max_steps, "fine-tuning")


def _last_checkpoint(folder: Path) -> str | None:
    """The newest checkpoint that was written to its end; Trainer writes its state last."""
    whole = [path for path in (folder / "checkpoints").glob("checkpoint-*") if _is_whole(path)]
    newest = max(whole, key=lambda path: int(path.name.rpartition("-")[2]), default=None)
    return str(newest) if newest else None


def _is_whole(checkpoint: Path) -> bool:
    try:
        json.loads((checkpoint / "trainer_state.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return True


def _forget_paths(file: Path, model: LALM) -> None:
    """Name the base model as the recipe does: no path of this machine leaves with the adapter."""
    content = json.loads(file.read_text(encoding="utf-8"))
    content["base_model_name_or_path"] = f"{model.name}@{model.revision}"
    content["target_modules"] = sorted(content["target_modules"])
    file.write_text(json.dumps(content, indent=2, sort_keys=True) + "\n", encoding="utf-8")


logging.getLogger("transformers.trainer").setLevel(logging.WARNING)
