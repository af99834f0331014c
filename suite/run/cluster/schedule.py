"""In which order cells run on a cluster, and for how long, as far as one can tell beforehand.

The estimate counts operations and bytes; it is not a measurement. Figures that it assumes stand
below, for an A100 with 80 GB; on an H100 or H200 cells take about a third to a half of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

from greaves.base.records import VANILLA
from greaves.data.task import Task
from greaves.recipe.plan import Cell, Plan
from greaves.run.cluster.needs import Needs, needs_of

FLOPS = 312e12 * 0.4
"""bf16 operations a second: an A100's 312e12 by its data sheet, of which 40 % are assumed."""

BANDWIDTH = 2.0e12 * 0.6
"""Bytes a second: an A100's 2.0e12 by its data sheet, of which 60 % are assumed."""

TOKENS_A_QUESTION = 231
"""Of a spoken AIAH question with its prompt and template: the mean on Qwen2-Audio."""

LOADING = 120.0
"""Seconds to load a model of 7e9 parameters, with imports; assumed."""


@dataclass(frozen=True)
class Planned:
    """A cell in its place.

    Attributes:
        cell: of the plan.
        number: its index in the plan.
        needs: what it asks for.
        responses: that it is to give.
        seconds: how long it is estimated to take on its GPU.
        gpu_hours: the same times its GPUs; several processes that align together take as long.
    """

    cell: Cell
    number: int
    needs: Needs
    responses: int
    seconds: float

    @property
    def gpu_hours(self) -> float:
        """Estimated GPU hours."""
        return self.seconds * self.needs.gpus / 3600


def planned(plan: Plan, cells: Sequence[Cell]) -> list[Planned]:
    """Cells in the order in which they are submitted.

    Vanilla of every model first, since all NSI needs it; then the longest first, so that no long
    one is left over at the end. A cell that others put under stress counts with the longest of
    them, which waits for it.
    """
    sizes = {task: len(questions) for task, questions in plan.questions().items()}
    needs = {model.shown: needs_of(model) for model in plan.recipe.models}
    found = [_planned(plan, cell, needs[cell.model.shown], sizes) for cell in cells]
    waiting: dict[str, float] = {}
    for item in found:
        if item.cell.base is not None:
            base = str(item.cell.base)
            waiting[base] = max(waiting.get(base, 0.0), item.seconds)

    def place(item: Planned) -> tuple[bool, bool, float, int]:
        cell, seconds = item.cell, item.seconds + waiting.get(str(item.cell), 0.0)
        return cell.method.method != VANILLA, cell.base is not None, -seconds, item.number

    return sorted(found, key=place)


def _planned(plan: Plan, cell: Cell, needs: Needs, sizes: Mapping[type[Task], int]) -> Planned:
    responses = sum(count * plan.benchmark(task).samples for task, count in sizes.items())
    seconds = LOADING * needs.parameters / 7e9
    seconds += _training(plan, cell, needs.parameters)
    seconds += sum(_answering(plan, task, count, needs.parameters) for task, count in sizes.items())
    return Planned(cell, plan.cells.index(cell), needs, responses, seconds)


def _training(plan: Plan, cell: Cell, parameters: float) -> float:
    """Seconds: 4 operations a parameter and token, forward and back through frozen weights."""
    kind, examples = cell.aligner.requires.data, 0
    if not cell.aligner.requires.gradients or kind is None:
        return 0.0
    with suppress(OSError):
        examples = (plan.alignment_folder(kind) / "pairs.jsonl").read_bytes().count(b"\n")
    examples *= getattr(cell.aligner.config, "epochs", 1)
    return 4 * max(parameters, 1e6) * TOKENS_A_QUESTION * examples / FLOPS


def _answering(plan: Plan, task: type[Task], questions: int, parameters: float) -> float:
    """Seconds: every question is read once, every token (`max_new_tokens`) a pass by batch."""
    benchmark = plan.benchmark(task)
    size = max(parameters, 1e6)
    reading = 2 * size * TOKENS_A_QUESTION * questions / FLOPS
    batches = -(-questions // plan.recipe.batch_size)
    passes = batches * benchmark.max_new_tokens
    tokens = questions * benchmark.samples * benchmark.max_new_tokens
    return reading + passes * 2 * size / BANDWIDTH + 2 * size * tokens / FLOPS
