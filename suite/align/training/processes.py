"""The processes that train together: their numbers, and what the first computes for all.

One process is the ordinary case: then nothing here does anything. Several are told apart by the
variables that `torchrun`, `deepspeed`, `accelerate launch` and our own launcher set.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, distributed

from greaves.align.training.spec import TrainingSpec
from greaves.base.store import replacing

_PR_SET_PDEATHSIG = 1

PATIENCE = timedelta(days=7)
"""How long a process waits for the others: the first may have features to compute for hours."""


def world_size() -> int:
    """Number of processes that train together."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def local_processes(spec: TrainingSpec) -> int:
    """Processes to start on this machine: as asked for, or one per GPU under ZeRO, or one."""
    if spec.processes is not None:
        return spec.processes
    return max(1, torch.cuda.device_count()) if spec.stage else 1


def rank() -> int:
    """Number of this process, from 0."""
    return int(os.environ.get("RANK", "0"))


def end_with_launcher() -> None:
    """Ask the system to end this process as soon as the one that started it is gone (Linux).

    However that went: a worker whose launcher was killed would wait for the others for days.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def join() -> None:
    """Meet the other processes; does nothing where there is one, or where they have met."""
    if world_size() == 1 or distributed.is_initialized():
        return
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
        distributed.init_process_group("cpu:gloo,cuda:nccl", timeout=PATIENCE)
    else:
        distributed.init_process_group("gloo", timeout=PATIENCE)


def wait() -> None:
    """Block until every process has called this."""
    if world_size() > 1:
        join()
        distributed.all_reduce(torch.zeros(1))  # on the CPU: a barrier would take a GPU of its own


def told_by_first(value: Any) -> Any:
    """What the first process says; small, plain values only."""
    if world_size() == 1:
        return value
    join()
    box = [value]
    distributed.broadcast_object_list(box, src=0, device=torch.device("cpu"))
    return box[0]


def computed_once(file: Path, compute: Callable[[], dict[str, Tensor]]) -> dict[str, Tensor]:
    """Tensors that the first process computes and all read, now and after a kill.

    Args:
        file: a safetensors file, in a folder that every process sees.
        compute: called only where the file is not there yet, or cannot be read.

    Returns:
        The tensors, on the CPU.
    """
    if rank() == 0 and not _readable(file):
        tensors = {name: value.cpu().contiguous() for name, value in compute().items()}
        with replacing(file) as part:
            save_file(tensors, part)
    wait()
    found: dict[str, Tensor] = load_file(file)
    return found


def _readable(file: Path) -> bool:
    """Whether a file is there and whole: a power cut may have emptied it."""
    try:
        load_file(file)
    except (OSError, SafetensorError):
        return False
    return True
