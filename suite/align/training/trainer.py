"""HF Trainer over examples that are already in order; under DeepSpeed ZeRO if a recipe asks."""

from __future__ import annotations

import logging
import math
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import distributed, nn
from torch.utils.data import SequentialSampler
from transformers import Trainer, TrainerCallback, TrainerState, TrainingArguments

from greaves.align.method import RunContext
from greaves.align.training.checkpoints import mark_whole
from greaves.align.training.config import FineTuningConfig
from greaves.align.training.network import AlignmentNetwork
from greaves.align.training.objective import Example, Objective, numbers_of, step_weights
from greaves.align.training.processes import rank, wait, world_size
from greaves.base.errors import TrainingError
from greaves.models.transformers_lalm import TransformersLALM

logging.getLogger("transformers.trainer").setLevel(logging.WARNING)

_NEVER = 2**62  # stands for no step at all


def cut(batch_size: int, micro_batch: int | None, processes: int) -> tuple[int, int]:
    """Cut a step's batch: processes x micro_batch x accumulation = batch_size.

    Args:
        batch_size: examples in it.
        micro_batch: examples a process takes at a time; None for as many as there are.
        processes: that train together.

    Returns:
        The micro-batch, and how many of them a process takes before a step.

    Raises:
        TrainingError: it does not come out even.
    """
    micro = micro_batch or max(1, batch_size // processes)
    accumulation = batch_size // (processes * micro)
    if accumulation * processes * micro != batch_size:
        raise TrainingError(
            f"batch_size {batch_size} is not {processes} processes x micro_batch {micro} x a whole"
            " number of accumulated steps",
            do="change `training.micro_batch`, `training.processes` or the method's batch_size",
        )
    return micro, accumulation


def arguments(
    model: TransformersLALM, config: FineTuningConfig, context: RunContext, steps: int
) -> TrainingArguments:
    """Trainer's arguments for one fine-tuning of `steps` steps."""
    spec = context.training
    micro_batch, accumulation = cut(config.batch_size, spec.micro_batch, world_size())
    on_gpu = model.device.type == "cuda"
    made = TrainingArguments(
        output_dir=str(context.folder / "checkpoints"),
        per_device_train_batch_size=micro_batch,
        gradient_accumulation_steps=accumulation,
        num_train_epochs=1,  # the examples are all epochs, laid end to end
        learning_rate=config.learning_rate,
        adam_beta1=config.beta_1,
        adam_beta2=config.beta_2,
        weight_decay=config.weight_decay,
        max_grad_norm=config.max_grad_norm,
        lr_scheduler_type=config.scheduler,
        warmup_steps=min(math.ceil(config.warm_up * steps), steps - 1),  # its first rate is 0
        save_steps=max(1, steps // config.epochs),
        save_total_limit=2,
        # Reading the loss stops a GPU for a moment; a CPU loses nothing.
        logging_steps=max(1, steps // 100) if on_gpu else 1,
        logging_first_step=True,
        logging_nan_inf_filter=False,
        seed=context.seed,
        use_cpu=not on_gpu,
        ddp_backend="gloo" if world_size() > 1 and not on_gpu else None,
        ddp_find_unused_parameters=False,
        bf16=spec.precision == "bf16" or (spec.precision == "auto" and on_gpu),
        deepspeed=zero_configuration(spec.stage) if spec.stage else None,
        disable_tqdm=True,
        remove_unused_columns=False,
        label_names=["targets"],
        report_to=[],
    )
    if world_size() == 1:
        made._n_gpu = min(1, made.n_gpu)  # not DataParallel over every GPU it sees
    return made


class AlignmentTrainer(Trainer):  # type: ignore[misc]
    """Trainer whose loss is the network's own output.

    Args:
        network: see `AlignmentNetwork`.
        model: the LALM it stands on.
        examples: in the order of training.
        objective, config, context: see `fine_tune`.
        after_step: called with the trainer's state.
    """

    def __init__(
        self,
        network: AlignmentNetwork,
        model: TransformersLALM,
        examples: Sequence[Example],
        objective: Objective,
        config: FineTuningConfig,
        context: RunContext,
        after_step: Callable[[TrainerState], None] = lambda state: None,
    ) -> None:
        steps = math.ceil(len(examples) / config.batch_size)
        made = arguments(model, config, context, steps)
        weights = step_weights(examples, config.batch_size, objective)
        rows = list(zip(examples, weights, strict=True))
        # The last step is filled up with examples that weigh nothing, so that it is cut as any.
        rows += [(examples[-1], 0.0)] * (steps * config.batch_size - len(rows))

        parts = made.gradient_accumulation_steps * world_size()

        def report(state: TrainerState) -> None:
            if rank() == 0:
                context.report(state.global_step, state.max_steps, "fine-tuning")

        super().__init__(
            model=network,
            args=made,
            train_dataset=rows,
            data_collator=Collator(model, objective, parts),
            callbacks=[AfterStep(report, after_step)],
        )
        self.model_accepts_loss_kwargs = False  # so a micro-batch's loss is divided once
        self._first_broken: torch.Tensor | None = None

    def _get_train_sampler(self, *_args: Any) -> SequentialSampler:
        return SequentialSampler(self.train_dataset)

    def compute_loss(
        self, model: nn.Module, inputs: dict[str, Any], *_args: Any, **_kwargs: Any
    ) -> torch.Tensor:
        """The network's forward is the loss; the first step where it is not a number is kept.

        It stays where it is computed: looking at it would stop a GPU at every step.
        """
        loss: torch.Tensor = model(**inputs)
        this = torch.where(torch.isfinite(loss.detach()), _NEVER, self.state.global_step + 1)
        known = self._first_broken
        self._first_broken = this if known is None else torch.minimum(known, this)
        return loss

    def _save_checkpoint(self, *args: Any, **kwargs: Any) -> None:
        self.check_losses()  # else a run would continue from it for ever
        super()._save_checkpoint(*args, **kwargs)
        wait()  # each process writes a part of it
        if rank() == 0:
            mark_whole(Path(self.args.output_dir) / f"checkpoint-{self.state.global_step}")

    def log(self, logs: dict[str, float], *_args: Any, **_kwargs: Any) -> None:
        """Keep the log in the trainer's state; print nothing.

        Raises:
            TrainingError: the loss is not a number.
        """
        self.state.log_history.append({**logs, "step": self.state.global_step})
        if not math.isfinite(logs.get("loss", 0.0)):
            raise self._broken(logs["loss"], self._step_that_broke() or self.state.global_step)

    def check_losses(self) -> None:
        """Raises TrainingError if a loss so far is not a number; every process asks."""
        if broken := self._step_that_broke():
            raise self._broken(math.nan, broken)

    def _step_that_broke(self) -> int | None:
        """The first step whose loss is not a number, in whichever process it was computed."""
        if self._first_broken is None:
            return None
        first = self._first_broken.cpu()
        if world_size() > 1:  # each process has seen its own part of the batches
            distributed.all_reduce(first, distributed.ReduceOp.MIN)
        return None if int(first) == _NEVER else int(first)

    def _broken(self, loss: float, step: int) -> TrainingError:
        size = self.args.per_device_train_batch_size * self.args.gradient_accumulation_steps
        size *= world_size()
        names = [
            example.conversation.clip or example.conversation.text or ""
            for example, _ in self.train_dataset[(step - 1) * size : step * size]
        ]
        batch = ", ".join(sorted(Path(name).name for name in names))
        what = f"the loss is {loss} at step {step} (batch: {batch})"
        return TrainingError(what, do="lower learning_rate")


class Collator:
    """Examples with their weights -> the network's inputs.

    Args:
        model: tokenises, and looks clips' features up.
        objective: says how many losses an example gives.
        parts: parts a step is cut into; Trainer averages over them, the loss is a sum.
    """

    def __init__(self, model: TransformersLALM, objective: Objective, parts: int = 1) -> None:
        self.model, self.objective, self.parts = model, objective, parts

    def __call__(self, examples: list[tuple[Example, float]]) -> dict[str, Any]:
        rows = [row for example, _ in examples for row in example.rows]
        tokens = self.model.tokens([row.conversation for row in rows], [row.reply for row in rows])
        counts = [len(row.target) for row in rows]
        weights = [
            weight * self.parts
            for example, weight in examples
            for _ in range(numbers_of(example, self.objective))
        ]
        place = self.model.device
        return {
            "ids": tokens.ids,
            "mask": tokens.mask,
            "audio": tokens.audio,
            "scored": torch.tensor(counts, device=place),
            "targets": torch.cat([row.target for row in rows]).to(place),
            "weights": torch.tensor(weights, device=place),
            "keep": max(counts),
            "paired": len(rows) > len(examples),
        }


class AfterStep(TrainerCallback):  # type: ignore[misc]
    """Calls functions with the trainer's state after every step."""

    def __init__(self, *calls: Callable[[TrainerState], None]) -> None:
        self.calls = calls

    def on_step_end(self, _args: Any, state: Any, _control: Any, **_kwargs: Any) -> None:
        for call in self.calls:
            call(state)


def zero_configuration(stage: int) -> dict[str, Any]:
    """DeepSpeed's configuration for one ZeRO stage; HF Trainer fills in what is "auto".

    There is no "optimizer" entry: DeepSpeed would compile one of its own. Trainer's AdamW it is.
    """
    return {
        "zero_optimization": {
            "stage": stage,
            "overlap_comm": torch.cuda.is_available(),
            "contiguous_gradients": True,
            "stage3_gather_16bit_weights_on_model_save": True,
        },
        "bf16": {"enabled": "auto"},
        "gradient_clipping": "auto",
        "gradient_accumulation_steps": "auto",
        "train_batch_size": "auto",
        "train_micro_batch_size_per_gpu": "auto",
        "zero_allow_untested_optimizer": True,
        "steps_per_print": 10**9,
    }


def prepare_zero() -> None:
    """Make DeepSpeed ready in this process, before Trainer imports it.

    Raises:
        TrainingError: it is not installed.
    """
    try:
        import deepspeed.ops
    except ImportError as error:
        do = "pip install 'greaves[zero]', or take `training: plain`"
        raise TrainingError(f"training with ZeRO needs DeepSpeed ({error})", do=do) from None
    if not torch.cuda.is_available():
        # Its shared-memory operator would be compiled for minutes; gloo does the same work.
        deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
    # Accelerate finds DeepSpeed's accumulation other than its own default, and takes DeepSpeed's.
    logging.getLogger("accelerate.accelerator").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", category=FutureWarning, module=r"torch\.distributed")
