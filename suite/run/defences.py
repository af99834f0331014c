"""A cell's defence: found from before, or made."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from greaves.align.defence import Defence
from greaves.align.method import RunContext
from greaves.align.stress.contract import Stress
from greaves.align.training.processes import rank, wait
from greaves.align.training.spec import TrainingSpec
from greaves.base.errors import DataError
from greaves.base.machine import versions
from greaves.base.progress import Steps
from greaves.base.records import content_hash
from greaves.base.run_folder import RunFolder
from greaves.base.store import room_for
from greaves.data.alignment.sets import AlignmentData
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
        self._references: dict[str, AlignmentData] = {}

    def found(self, cell: Cell) -> Defence | None:
        """The cell's defence from before, with all epochs that the recipe keeps; or None."""
        if cell.base is not None and self.found(cell.base) is None:
            return None
        place, training = self.place(cell), self.materials.plan.recipe.training
        if not place.is_dir():
            return None
        last = getattr(cell.aligner.config, "epochs", 0)
        kept = [place / "epochs" / str(epoch) for epoch in training.keep_epochs if epoch < last]
        if cell.base is not None:
            kept = []
        if not all(epoch.is_dir() for epoch in kept):
            return None
        try:
            for epoch in kept:
                Defence.load(epoch)
            return Defence.load(place)
        except DataError as error:
            self.steps.say(f"{error}; making it again")
            return None

    def make(self, cell: Cell) -> None:
        """Align, and save the defence. Where several processes train, each calls this.

        Raises:
            StoreError: there is no room for checkpoints or for the defence.
        """
        place = self.place(cell)
        work = place.with_name(f"{place.name}.work")
        with room_for(work):
            self._make(cell, place, work)

    def _make(self, cell: Cell, place: Path, work: Path) -> None:
        from greaves.align.training.fine_tuning import kept_epochs  # imports Trainer: seconds

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

    def place(self, cell: Cell) -> Path:
        """Folder of the cell's defence."""
        cell_folder = self.folder.cell(cell.model.shown, cell.method.shown, cell.seed)
        return cell_folder.defences / content_hash(self._request(cell))[:16]

    def _training(self, cell: Cell) -> TrainingSpec:
        """How the cell trains; epochs of a stress are not kept, since they are no defences."""
        spec = self.materials.plan.recipe.training
        return spec if cell.base is None else spec.model_copy(update={"keep_epochs": ()})

    def _made(self, cell: Cell, context: RunContext) -> Defence:
        model, data = self.materials.model(cell), self.materials.data(cell)
        if cell.base is None:
            return cell.aligner.align(model, data, context)
        assert isinstance(cell.aligner, Stress)
        assert data is not None
        base = Defence.load(self.place(cell.base))
        return cell.aligner.stressed(model, base, data, self._reference(cell.aligner), context)

    def _reference(self, stress: Stress[Any]) -> AlignmentData:
        kind = stress.reference
        if kind not in self._references:
            self._references[kind] = self.materials.plan.alignment_data(kind)
        return self._references[kind]

    def _stressed(self, cell: Cell) -> dict[str, Any]:
        """What a stressed defence depends on besides; nothing for other cells."""
        if cell.base is None:
            return {}
        assert isinstance(cell.aligner, Stress)
        base = Defence.load(self.place(cell.base))
        return {
            "base": base.hash,
            "reference_hash": self._reference(cell.aligner).hash,
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
