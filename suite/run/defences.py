"""A cell's defence: found from before, or made, by this process or several on this machine.

Each of several is a fresh interpreter that reads the recipe again, loads the model for itself and
meets the others; the first one saves the defence. They end with the process that started them.
"""

from __future__ import annotations

import os
import shutil
import sys
from multiprocessing.queues import SimpleQueue
from pathlib import Path
from typing import Any

import torch
from torch import multiprocessing
from torch.multiprocessing.spawn import ProcessExitedException, start_processes

from greaves.align.defence import Defence
from greaves.align.method import AlignmentMethod, RunContext
from greaves.align.training.processes import end_with_launcher, local_processes, rank, wait
from greaves.align.training.spec import TrainingSpec
from greaves.base.errors import DataError, GreavesError, TrainingError
from greaves.base.machine import free_port, versions
from greaves.base.progress import Steps
from greaves.base.records import content_hash
from greaves.base.run_folder import RunFolder
from greaves.base.store import room_for
from greaves.recipe.plan import Cell, Plan
from greaves.recipe.reading import read_plan
from greaves.run.cell_state import Failure
from greaves.run.loaded import Materials


class Defences:
    """Makes the defences of a run's cells, from its models and alignment data."""

    def __init__(self, materials: Materials, folder: RunFolder, steps: Steps) -> None:
        self.materials, self.folder, self.steps = materials, folder, steps
        self._places: dict[str, Path] = {}
        self._loaded: dict[Path, Defence] = {}

    def defence(self, cell: Cell) -> Defence:
        """The cell's defence, made now or found from before; a broken one is made again."""
        if cell.base is not None:
            self.defence(cell.base)
        found = self.found(cell)
        if found is None:
            training = self.materials.plan.recipe.training
            several = training.stage > 0 or local_processes(training) > 1
            if several and cell.aligner.requires.gradients:
                align_in_processes(cell, self.materials.plan, self.folder.path, self.steps)
                self.forget(cell)
            else:
                self.make(cell)
            found = self.load(self.place(cell))
        return found

    def found(self, cell: Cell) -> Defence | None:
        """The cell's defence from before, with all epochs that the recipe keeps; or None."""
        if cell.base is not None and self.found(cell.base) is None:
            return None
        place, last = self.place(cell), getattr(cell.aligner.config, "epochs", 0)
        kept = [epoch for epoch in self._training(cell).keep_epochs if epoch < last]
        folders = [*(place / "epochs" / str(epoch) for epoch in kept), place]
        if not all(folder.is_dir() for folder in folders):
            return None
        try:
            return [self.load(folder) for folder in folders][-1]
        except DataError as error:
            self.steps.say(f"{error}; making it again")
            return None

    def load(self, folder: Path) -> Defence:
        """A saved defence, read and checked once until it is made anew.

        Raises:
            DataError: the folder holds none, or one that was changed.
        """
        if folder not in self._loaded:
            self._loaded[folder] = Defence.load(folder)
        return self._loaded[folder]

    def forget(self, cell: Cell) -> None:
        """Read the cell's defence again: it was made anew, and others may stand on it."""
        place = self.place(cell)
        self._loaded = {
            folder: one for folder, one in self._loaded.items() if not folder.is_relative_to(place)
        }
        self._places = {}

    def make(self, cell: Cell) -> None:
        """Align, and save the defence. Where several processes train, each calls this.

        Raises:
            StoreError: there is no room for checkpoints or for the defence.
        """
        from greaves.align.training.fine_tuning import kept_epochs  # imports Trainer: seconds

        place = self.place(cell)
        work = place.with_name(f"{place.name}.work")
        with room_for(work):
            work.mkdir(parents=True, exist_ok=True)

            def progress(done: int, total: int, words: str) -> None:
                self.steps.update(f"{cell}: {words}", done, total)

            context = RunContext(work, cell.seed, progress, self._training(cell))
            defence = self._made(cell, context)
            if rank() == 0:
                provenance = {**self._request(cell), "versions": versions()}
                defence.save(place, provenance, kept_epochs(work))
                shutil.rmtree(work)
            wait()
        self.forget(cell)

    def place(self, cell: Cell) -> Path:
        """Folder of the cell's defence."""
        if str(cell) not in self._places:
            key = content_hash(self._request(cell))[:16]
            self._places[str(cell)] = self.folder.cell(*cell.names).defences / key
        return self._places[str(cell)]

    def _training(self, cell: Cell) -> TrainingSpec:
        """How the cell trains; epochs of a stress are not kept, since they are not defences."""
        spec = self.materials.plan.recipe.training
        return spec if cell.base is None else spec.model_copy(update={"keep_epochs": ()})

    def _made(self, cell: Cell, context: RunContext) -> Defence:
        model, materials, aligner = self.materials.model(cell), self.materials, cell.aligner
        if isinstance(aligner, AlignmentMethod):
            return aligner.align(model, materials.data(cell), context)
        data, reference = materials.alignment(aligner.data), materials.alignment(aligner.reference)
        return aligner.stressed(model, self._base(cell), data, reference, context)

    def _base(self, cell: Cell) -> Defence:
        return self.load(self.place(cell.base)) if cell.base else Defence()

    def _stressed(self, cell: Cell) -> dict[str, Any]:
        """What a stressed defence depends on besides; nothing for other cells."""
        if isinstance(cell.aligner, AlignmentMethod):
            return {}
        base = self._base(cell)
        return {
            "base": base.hash,
            "reference_hash": self.materials.alignment(cell.aligner.reference).hash,
            **cell.aligner.depends_on(base),
        }

    def _request(self, cell: Cell) -> dict[str, Any]:
        model, data = self.materials.model(cell), self.materials.data(cell)
        return {
            **self._stressed(cell),
            "method": cell.method.method,
            "version": cell.aligner.version,
            "config": cell.aligner.config.model_dump(mode="json"),
            "seed": cell.seed,
            "model": model.name,
            "revision": model.revision,
            "fingerprint": model.fingerprint,
            "data_hash": data.hash if data else None,
            "precision": self.materials.plan.recipe.training.precision,
        }


def align_in_processes(cell: Cell, plan: Plan, run_folder: Path, steps: Steps) -> None:
    """Align a cell in processes of their own and wait for them.

    Raises:
        GreavesError: what one of them found wrong.
        TrainingError: one of them ended without an error message (killed, or out of memory).
    """
    count, number = local_processes(plan.recipe.training), plan.cells.index(cell)
    messages: SimpleQueue[Any] = multiprocessing.get_context("spawn").SimpleQueue()
    given = (
        count,
        free_port("127.0.0.1"),
        plan.source.resolve(),
        number,
        run_folder.resolve(),
        messages,
    )
    processes = start_processes(  # type: ignore[no-untyped-call]
        _work, given, nprocs=count, join=False, start_method="spawn"
    )
    failure: GreavesError | None = None
    ended = False
    try:
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
                message = messages.get()
                if isinstance(message, Failure):
                    failure, ended = message.error, True
                else:
                    words, done, total = message
                    steps.update(f"{cell}: {words}", done, total)
    finally:
        for process in processes.processes:
            if process.is_alive():
                process.kill()
            process.join()
    if failure:
        raise failure


def _work(
    number: int,
    count: int,
    port: int,
    recipe: Path,
    cell: int,
    run_folder: Path,
    messages: SimpleQueue[Any],
) -> None:
    end_with_launcher()
    os.environ |= {
        **{name: str(number) for name in ("RANK", "LOCAL_RANK")},
        **{name: str(count) for name in ("WORLD_SIZE", "LOCAL_WORLD_SIZE")},
        **{"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)},
    }
    torch.set_num_threads(max(1, torch.get_num_threads() // count))
    try:
        plan = read_plan(recipe)
        materials = Materials(plan, run_folder / "features")
        Defences(materials, RunFolder(run_folder), _Relay(messages)).make(plan.cells[cell])
    except GreavesError as error:
        messages.put(Failure.of(error))
        sys.exit(1)


class _Relay(Steps):
    def __init__(self, messages: SimpleQueue[Any]) -> None:
        super().__init__(plain=True)
        self.messages = messages

    def update(self, stage: str, done: int, total: int) -> None:
        self.messages.put((stage.rpartition(": ")[2], done, total))
