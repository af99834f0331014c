"""A cell's defence, made by this process or by several together."""

from __future__ import annotations

from greaves.align.defence import Defence
from greaves.align.training.processes import local_processes
from greaves.recipe.reading import Cell
from greaves.run.defences import Defences
from greaves.run.launch import align_in_processes


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
            else:
                self.make(cell)
            found = Defence.load(self.place(cell))
        return found

    def _in_several_processes(self, cell: Cell) -> bool:
        training = self.materials.plan.recipe.training
        wanted = training.stage > 0 or local_processes(training) > 1
        return wanted and cell.aligner.requires.gradients
