"""A cell's defence, made by this process or by several on this machine together.

Each of several is a fresh interpreter that reads the recipe again, loads the model for itself and
meets the others; the first one saves the defence. They end with the process that started them.
"""

from __future__ import annotations

import os
import socket
import sys
from multiprocessing.queues import SimpleQueue
from pathlib import Path
from typing import Any

import torch
from torch import multiprocessing
from torch.multiprocessing.spawn import ProcessExitedException, start_processes

from greaves.align.defence import Defence
from greaves.align.training.processes import end_with_launcher, local_processes
from greaves.base.errors import GreavesError, TrainingError
from greaves.base.progress import Steps
from greaves.base.run_folder import RunFolder
from greaves.recipe.reading import Cell, read_plan
from greaves.run.defences import Defences
from greaves.run.loaded import Materials


class Aligning(Defences):
    """Defences that are made where they are missing."""

    def defence(self, cell: Cell) -> Defence:
        """The cell's defence, made now or found from before; a broken one is made again."""
        if cell.base is not None:
            self.defence(cell.base)
        found = self.found(cell)
        if found is None:
            if self._in_several_processes(cell):
                align_in_processes(cell, self.materials, self.folder.path, self.steps)
                self.forget(cell)
            else:
                self.make(cell)
            found = self.load(self.place(cell))
        return found

    def _in_several_processes(self, cell: Cell) -> bool:
        training = self.materials.plan.recipe.training
        wanted = training.stage > 0 or local_processes(training) > 1
        return wanted and cell.aligner.requires.gradients


def align_in_processes(cell: Cell, materials: Materials, run_folder: Path, steps: Steps) -> None:
    """Align a cell in processes of their own and wait for them.

    Raises:
        GreavesError: what one of them found wrong.
        TrainingError: one of them ended without an error message (killed, or out of memory).
    """
    plan = materials.plan
    count = local_processes(plan.recipe.training)
    messages: SimpleQueue[tuple[Any, ...]] = multiprocessing.get_context("spawn").SimpleQueue()
    processes = start_processes(  # type: ignore[no-untyped-call]
        _work,
        (
            count,
            _free_port(),
            plan.source.resolve(),
            plan.cells.index(cell),
            run_folder.resolve(),
            messages,
        ),
        nprocs=count,
        join=False,
        start_method="spawn",
    )
    failure: GreavesError | None = None
    try:
        ended = False
        while not ended:
            try:
                ended = processes.join(timeout=0.2)
            except ProcessExitedException as error:
                failure = TrainingError(
                    f"process {error.error_index} of {count} ended without a word"
                    f" ({error.signal_name or error.exit_code})",
                    do="run again: it goes on from the last checkpoint",
                )
                ended = True
            while not messages.empty():
                kind, *words = messages.get()
                if kind == "progress":
                    done, total, text = words
                    steps.update(f"{cell}: {text}", done, total)
                else:
                    failure = GreavesError(words[0], where=words[1], do=words[2])
                    ended = True
    finally:
        for process in processes.processes:
            if process.is_alive():
                process.kill()
            process.join()
    if failure:
        raise failure


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _work(
    number: int,
    count: int,
    port: int,
    recipe: Path,
    cell: int,
    run_folder: Path,
    messages: SimpleQueue[tuple[Any, ...]],
) -> None:
    """One process: read, load, align."""
    end_with_launcher()
    os.environ |= {
        "RANK": str(number),
        "LOCAL_RANK": str(number),
        "WORLD_SIZE": str(count),
        "LOCAL_WORLD_SIZE": str(count),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
    }
    torch.set_num_threads(max(1, torch.get_num_threads() // count))
    try:
        plan = read_plan(recipe)
        materials = Materials(plan, run_folder / "features")
        steps = _Relay(messages)
        Defences(materials, RunFolder(run_folder), steps).make(plan.cells[cell])
    except GreavesError as error:
        messages.put(("error", error.what, error.where, error.do))
        sys.exit(1)


class _Relay(Steps):
    """Progress that goes to the process that shows it."""

    def __init__(self, messages: SimpleQueue[tuple[Any, ...]]) -> None:
        super().__init__(plain=True)
        self.messages = messages

    def update(self, stage: str, done: int, total: int) -> None:
        """See `Steps.update`."""
        self.messages.put(("progress", done, total, stage.rpartition(": ")[2]))
