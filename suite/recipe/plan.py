"""A checked recipe: the cells of the matrix, and where their data lie."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from greaves.align.method import AlignmentMethod
from greaves.align.stress.contract import Stress
from greaves.base.records import Question, content_hash
from greaves.data.alignment.sets import AlignmentData, load_alignment_data
from greaves.data.folders import data_folder
from greaves.data.task import Task
from greaves.recipe.schema import BenchmarkSpec, MethodSpec, ModelSpec, Recipe


@dataclass(frozen=True)
class Cell:
    """One cell of the matrix: a model, a method with its config, and a training seed.

    Attributes:
        base: the cell whose defence is put under stress; `aligner` is then a `Stress`.
    """

    model: ModelSpec
    method: MethodSpec
    aligner: AlignmentMethod[Any] | Stress[Any]
    seed: int
    base: Cell | None = None

    @property
    def names(self) -> tuple[str, str, int]:
        """What its folder is called by: model, method, seed."""
        return self.model.shown, self.method.shown, self.seed

    def __str__(self) -> str:
        return "{} / {} / seed {}".format(*self.names)


@dataclass(frozen=True)
class Plan:
    """A recipe whose names, configs and folders have been found to exist.

    Attributes:
        recipe: as written.
        source: where it was read from.
        cells: in the order in which they run, vanilla first: all NSI needs it.
        tasks: the tasks every cell answers.
    """

    recipe: Recipe
    source: Path
    cells: tuple[Cell, ...]
    tasks: tuple[type[Task], ...]

    @property
    def hash(self) -> str:
        """Hash of the recipe as validated."""
        return content_hash(self.recipe.model_dump(mode="json"))

    def benchmark(self, task: type[Task]) -> BenchmarkSpec:
        """Data, judge and sampling of a task."""
        return self.recipe.benchmarks[task.benchmark]

    def task_data(self, task: type[Task]) -> Path:
        """Folder a task reads."""
        return data_folder(self.benchmark(task).data, task.benchmark, self.source.parent)

    def questions(self, limit: int | None = None) -> dict[type[Task], tuple[Question, ...]]:
        """The questions of every task, or the first `limit`, read from their folders.

        Raises:
            DataError: a file, field or clip is missing or broken.
        """
        return {task: tuple(task().questions(self.task_data(task))[:limit]) for task in self.tasks}

    def alignment_data(self, kind: str) -> AlignmentData:
        """Load the alignment set of one kind."""
        return load_alignment_data(self.alignment_folder(kind), kind)

    def alignment_folder(self, kind: str) -> Path:
        """Folder of the alignment set of one kind."""
        return data_folder(self.recipe.alignment_data[kind], kind, self.source.parent)
