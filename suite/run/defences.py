"""A cell's defence: found from before, or made."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from greaves.align.defence import Defence
from greaves.align.method import AlignmentMethod, RunContext
from greaves.align.training.processes import rank, wait
from greaves.align.training.spec import TrainingSpec
from greaves.base.errors import DataError
from greaves.base.machine import versions
from greaves.base.progress import Steps
from greaves.base.records import content_hash
from greaves.base.run_folder import RunFolder
from greaves.base.store import room_for
from greaves.recipe.reading import Cell
from greaves.run.loaded import Materials


class Defences:
    """Makes the defences of a run's cells.

    Args:
        materials: models and alignment data.
        folder: the run folder.
        steps: where progress is shown.
    """

    def __init__(self, materials: Materials, folder: RunFolder, steps: Steps) -> None:
        self.materials, self.folder, self.steps = materials, folder, steps
        self._places: dict[str, Path] = {}
        self._loaded: dict[Path, Defence] = {}

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
            context = RunContext(
                work,
                cell.seed,
                lambda done, total, words: self.steps.update(f"{cell}: {words}", done, total),
                self._training(cell),
            )
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
            cell_folder = self.folder.cell(cell.model.shown, cell.method.shown, cell.seed)
            key = content_hash(self._request(cell))[:16]
            self._places[str(cell)] = cell_folder.defences / key
        return self._places[str(cell)]

    def _training(self, cell: Cell) -> TrainingSpec:
        """How the cell trains; epochs of a stress are not kept, since they are no defences."""
        spec = self.materials.plan.recipe.training
        return spec if cell.base is None else spec.model_copy(update={"keep_epochs": ()})

    def _made(self, cell: Cell, context: RunContext) -> Defence:
        model, materials, aligner = self.materials.model(cell), self.materials, cell.aligner
        if isinstance(aligner, AlignmentMethod):
            return aligner.align(model, materials.data(cell), context)
        data, reference = materials.alignment(aligner.data), materials.alignment(aligner.reference)
        return aligner.stressed(model, self._base(cell), data, reference, context)

    def _base(self, cell: Cell) -> Defence:
        """What a cell puts under its stress."""
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
        """All that could give another defence."""
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
