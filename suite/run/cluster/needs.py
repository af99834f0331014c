"""What a model's cells ask of a cluster: as the recipe says, or by what the model is."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from greaves.judge.contract import JUDGES
from greaves.judge.judging import JudgeSpec
from greaves.models.contract import MODELS
from greaves.models.memory import family_of
from greaves.recipe.schema import ModelSpec

SERVED = re.compile(r"@https?://")

BYTES_A_PARAMETER = 2.0
"""bfloat16, as checkpoints of these sizes are published."""

OVERHEAD_GB = 4.0
"""Main memory of a process beside its weights: Python, torch, CUDA's context, clips."""

ASSUMED_PARAMETERS = 7e9
"""Where neither a checkpoint nor a name tells the size."""


@dataclass(frozen=True)
class Needs:
    """What one cell asks for.

    Attributes:
        gpus, cpus: as Ray counts them.
        memory_gb: main memory; None asks for none.
        at_once: cells of the model at the same time; None for as many as fit.
        parameters: of the model, for estimates; 0 behind a server.
    """

    gpus: float = 0.0
    cpus: float = 1.0
    memory_gb: float | None = None
    at_once: int | None = None
    parameters: float = 0.0


def needs_of(model: ModelSpec) -> Needs:
    """What a cell of `model` needs.

    A model behind a server needs no GPU, and one cell runs at a time, which the server's own
    concurrency fills. One that is loaded on the CPU needs none either. Others need one GPU, and
    main memory for their checkpoint where it is on this machine.
    """
    said = model.resources.model_dump(exclude_none=True) if model.resources else {}
    if SERVED.search(model.model):
        return replace(Needs(at_once=1), **said)
    loader = MODELS.get(model.model)
    size = _bytes_on_disk(model, loader)
    parameters = size / BYTES_A_PARAMETER if size else _in_name(model, loader)
    if str(model.options.get("device", _default_device(loader))).startswith("cpu"):
        return replace(Needs(parameters=parameters), **said)
    memory = round(size / 1e9 + OVERHEAD_GB, 1) if size else None
    return replace(Needs(gpus=1.0, memory_gb=memory, parameters=parameters), **said)


def by_rule(judge: JudgeSpec) -> bool:
    """Whether a judge is a rule, and costs nothing."""
    return bool(getattr(JUDGES.get(judge.registered), "by_rule", False))


def judge_needs(judge: JudgeSpec) -> Needs:
    """What judging with `judge` needs: a GPU unless it is a rule, or behind a server."""
    on_cpu = str(judge.options.get("device", "")).startswith("cpu")
    gpu = not (by_rule(judge) or on_cpu or SERVED.search(judge.judge))
    return Needs(gpus=1.0 if gpu else 0.0)


def _default_device(loader: Callable[..., Any]) -> str:
    with suppress(KeyError, TypeError, ValueError):
        default = inspect.signature(loader).parameters["device"].default
        return default if isinstance(default, str) else ""
    return ""


def _bytes_on_disk(model: ModelSpec, loader: Callable[..., Any]) -> int:
    """Size of the weights, of a path given or in the hub's cache; 0 where they are not at hand."""
    path = model.options.get("path")
    folder = Path(str(path)) if path else _cached(_hub(loader), model.options.get("revision"))
    if folder is None or not folder.is_dir():
        return 0
    return sum(file.stat().st_size for file in folder.glob("*.safetensors"))


def _cached(hub: str, revision: str | None) -> Path | None:
    if not hub:
        return None
    from huggingface_hub import snapshot_download

    with suppress(OSError, ValueError):
        return Path(snapshot_download(hub, revision=revision, local_files_only=True))
    return None


def _hub(loader: Callable[..., Any]) -> str:
    """The repository that a loader takes by default."""
    return str(getattr(family_of(loader), "hub", ""))


def _in_name(model: ModelSpec, loader: Callable[..., Any]) -> float:
    """Parameters as names give them: "Qwen2-Audio-7B-Instruct" has 7e9."""
    names = (str(model.options.get("path", "")), model.shown, model.model, _hub(loader))
    for name in names:
        if found := re.search(r"(\d+(?:\.\d+)?)[bB](?![a-zA-Z])", name):
            return float(found[1]) * 1e9
    return 0.0 if model.model == "pocket" else ASSUMED_PARAMETERS
