"""LoRA fine-tuning with HF Trainer and DeepSpeed ZeRO, shared by all training methods.

A method says what is learnt (examples: a conversation and its target) and how it is scored (an
objective on the last positions' states); LoRA, penalty, optimiser, batches, processes, checkpoints
and resuming are here and beside.
"""

from __future__ import annotations

import json
import math
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from transformers import TrainerState

from greaves.align.defence import Defence
from greaves.align.method import RunContext
from greaves.align.parts.lora import LoRAAdapter
from greaves.align.training.checkpoints import last_whole
from greaves.align.training.config import FineTuningConfig
from greaves.align.training.network import AlignmentNetwork
from greaves.align.training.objective import Example, Objective, check
from greaves.align.training.processes import join, rank, wait, world_size
from greaves.align.training.trainer import AlignmentTrainer, prepare_zero
from greaves.base.conversation import Conversation
from greaves.base.errors import TrainingError
from greaves.base.store import new_folder, write_json
from greaves.models.contract import LALM
from greaves.models.out_of_memory import out_of_memory
from greaves.models.transformers_lalm import TransformersLALM, opened

ADAPTER, EPOCHS, CUT = "adapter", "epochs", "cut.json"

WINDOW = 8
"""Batches among which rows are regrouped by length. With clips of 2-6 s, padded over real tokens
come down from 1.23 to 1.04 in batches of 4, from 1.35 to 1.05 in batches of 16; a window of 16
would leave 1.02 and 1.03, and fewer kinds of batches."""


def schedule(count: int, epochs: int, seed: int) -> list[int]:
    """Indices 0..count-1 in a fresh random order every epoch, one after the other."""
    chooser = random.Random(seed)
    order: list[int] = []
    for _ in range(epochs):
        order += chooser.sample(range(count), count)
    return order


def fine_tune(
    model: LALM,
    examples: Sequence[Example],
    objective: Objective,
    config: FineTuningConfig,
    context: RunContext,
) -> tuple[LoRAAdapter, dict[str, Any]]:
    """Train a LoRA adapter; the model itself is left bit for bit as it was.

    Where several processes train together, each calls this with the same arguments.

    Args:
        model: a model whose weights are at hand.
        examples: in the order of training, all epochs one after the other (see `schedule`).
        objective: the alignment loss.
        config: the recipe.
        context: folder (checkpoints; a killed run continues from them), seed, engine, progress.

    Returns:
        The adapter, saved in `context.folder`, and notes: first and last logged loss.

    Raises:
        ModelError: the model is a black box.
        TrainingError: the loss is not a number, the batch cannot be cut as the engine is to, or
            the folder's checkpoints were made by another number of processes or another engine.
    """
    examples = [example.turned(model.as_asked) for example in examples]
    model = opened(model, "cannot be fine-tuned: its weights are not at hand")
    check(examples, objective, model.decoder_layers)
    clips = _encoded_clips(model, examples)
    if config.length_buckets:
        sizes = lengths(model, examples, clips)
        examples = _in_buckets(examples, sizes, config, context.seed)
    _check_checkpoints(config, context)
    if context.training.stage:
        prepare_zero()
    join()
    torch.manual_seed(context.seed)
    network = AlignmentNetwork(model, objective, config)
    try:
        keep = _epoch_keeper(network, config, context, len(examples))
        trainer = AlignmentTrainer(network, model, examples, objective, config, context, keep)
        checkpoint = last_whole(context.folder)
        with _explained(trainer):
            trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
            trainer.check_losses()
            save_adapter(network, context.folder / ADAPTER)
        course = [row for row in trainer.state.log_history if "loss" in row]
        if rank() == 0:
            write_json(context.folder / ADAPTER / LoRAAdapter.beside, {"steps": course})
        wait()
    finally:
        network.unload()
        model.network.eval().requires_grad_(False)
    notes = {"first_loss": course[0]["loss"], "last_loss": course[-1]["loss"]}
    return LoRAAdapter(context.folder / ADAPTER), notes


def kept_epochs(folder: Path) -> dict[int, Defence]:
    """Adapters that `fine_tune` kept in its folder, by epoch (see `TrainingSpec.keep_epochs`)."""
    found = sorted((folder / EPOCHS).glob("*"), key=lambda place: int(place.name))
    return {int(place.name): Defence((LoRAAdapter(place),)) for place in found}


def save_adapter(network: AlignmentNetwork, folder: Path) -> None:
    """Write the adapter as peft does, in one step; every process calls it, the first one writes."""
    with _whole(network):
        if rank() != 0:
            return
        with new_folder(folder) as partial:
            network.save_pretrained(str(partial))
            _forget_paths(partial / "adapter_config.json", network.lalm)


@contextmanager
def _whole(network: AlignmentNetwork) -> Iterator[None]:
    """Puts LoRA parameters together for the block where ZeRO-3 has taken them apart."""
    parameters = [one for one in network.parameters() if one.requires_grad]
    if not any(hasattr(one, "ds_id") for one in parameters):
        yield
        return
    from deepspeed import zero as deepspeed_zero

    with deepspeed_zero.GatheredParameters(parameters):
        yield


def _encoded_clips(model: TransformersLALM, examples: Sequence[Example]) -> dict[str, int]:
    """Tokens of every clip. Each passes the audio tower once: in the first process, others read."""
    rows = [row for example in examples for row in example.rows]
    clips = sorted({row.conversation.clip for row in rows if row.conversation.clip})
    if rank() == 0:
        model.features(clips)
    wait()
    return dict(zip(clips, map(len, model.features(clips)), strict=True))


def lengths(
    model: TransformersLALM, examples: Sequence[Example], clips: Mapping[str, int]
) -> list[int]:
    """[examples] tokens of each one's longest row.

    A prompt is tokenised once, whatever clips stand in it and whatever replies follow it.

    Args:
        model: tokenises.
        examples: any.
        clips: tokens that stand for each clip in them.
    """
    words: dict[Conversation, int] = {}

    def length(row: Example) -> int:
        clip = row.conversation.clip
        prompt = replace(row.conversation, clip=clip and "any")
        if prompt not in words:
            whole = int(model.tokens([row.conversation]).mask.sum())
            words[prompt] = whole - clips.get(clip or "", 0)
        return words[prompt] + clips.get(clip or "", 0) + len(row.reply)

    return [max(map(length, example.rows)) for example in examples]


def length_buckets(
    order: Sequence[int], lengths: Sequence[int], batch_size: int, seed: int
) -> list[int]:
    """Rearrange one epoch so that every `batch_size` consecutive indices have similar lengths.

    The epoch's random order is cut into windows of `WINDOW` batches; each window is sorted by
    length, and then all batches of the epoch are shuffled. So who meets whom still changes from
    epoch to epoch with `order`. An incomplete batch stays the last one.

    Args:
        order: indices of one epoch, already shuffled.
        lengths: length of each example, looked up by index; any unit.
        batch_size: examples in a batch.
        seed: of the order of batches.

    Returns:
        A permutation of `order`; the same for the same arguments.

    Raises:
        ValueError: batch_size is not positive.
    """
    if batch_size < 1:
        raise ValueError(f"batch_size is {batch_size}")
    span = WINDOW * batch_size
    whole = len(order) - len(order) % batch_size
    batches: list[list[int]] = []
    for start in range(0, whole, span):
        window = sorted(order[start : min(start + span, whole)], key=lengths.__getitem__)
        batches += [window[at : at + batch_size] for at in range(0, len(window), batch_size)]
    random.Random(seed).shuffle(batches)
    return [index for batch in batches for index in batch] + list(order[whole:])


def _in_buckets(
    examples: Sequence[Example], sizes: Sequence[int], config: FineTuningConfig, seed: int
) -> list[Example]:
    epoch = math.ceil(len(examples) / config.epochs)
    order: list[int] = []
    for number, start in enumerate(range(0, len(examples), epoch)):
        window = range(start, min(start + epoch, len(examples)))
        order += length_buckets(window, sizes, config.batch_size, seed + number)
    return [examples[index] for index in order]


def _epoch_keeper(
    network: AlignmentNetwork, config: FineTuningConfig, context: RunContext, examples: int
) -> Callable[[TrainerState], None]:
    """Keeps the adapters of chosen epochs; an epoch ends with the step that finishes it."""
    an_epoch = examples / config.epochs
    ends = {
        math.ceil(epoch * an_epoch / config.batch_size): epoch
        for epoch in context.training.keep_epochs
        if epoch < config.epochs
    }

    def keep(state: TrainerState) -> None:
        if state.global_step in ends:
            if rank() == 0:
                (context.folder / EPOCHS).mkdir(exist_ok=True)
            save_adapter(network, context.folder / EPOCHS / str(ends[state.global_step]))

    return keep


def _check_checkpoints(config: FineTuningConfig, context: RunContext) -> None:
    """Raises TrainingError unless the checkpoints there were made as this run would make them."""
    file, spec = context.folder / CUT, context.training
    wanted = {"engine": spec.engine, "processes": world_size(), "batch_size": config.batch_size}
    found = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else wanted
    wait()
    if found != wanted and last_whole(context.folder):
        raise TrainingError(
            f"the checkpoints were made by {found['processes']} processes under"
            f" {found['engine']}, this run has {world_size()} under {spec.engine}",
            where=str(context.folder),
            do="run as before, or remove the folder to train from the start",
        )
    if rank() == 0:
        write_json(file, wanted)


@contextmanager
def _explained(trainer: AlignmentTrainer) -> Iterator[None]:
    """Turns an out-of-memory error in the block into a TrainingError that names the step."""
    try:
        yield
        return
    except (RuntimeError, MemoryError) as error:
        if not out_of_memory(error):
            raise
    size, step = trainer.args.per_device_train_batch_size, trainer.state.global_step + 1
    do = "set training.engine to zero-3, or train on devices with more memory"
    raise TrainingError(
        f"out of memory at step {step}, with {size} examples a process at a time",
        do=f"set training.micro_batch to {size // 2}" if size > 1 else do,
    )


def _forget_paths(file: Path, model: LALM) -> None:
    """Name the base model as the recipe does: no path of this machine leaves with the adapter."""
    content = json.loads(file.read_text(encoding="utf-8"))
    content["base_model_name_or_path"] = f"{model.name}@{model.revision}"
    content["target_modules"] = sorted(content["target_modules"])
    file.write_text(json.dumps(content, indent=2, sort_keys=True) + "\n", encoding="utf-8")
