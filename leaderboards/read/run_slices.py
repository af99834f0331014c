"""Slices straight from a run folder: no object a verdict, so that ten million make a table."""

from __future__ import annotations

import itertools
from collections.abc import Container, Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from greaves.base.errors import GreavesError
from greaves.base.records import Kind, Verdict
from greaves.base.run_folder import RunFolder
from greaves.leaderboards.read.current_verdicts import CellVerdicts, CurrentVerdicts
from greaves.leaderboards.read.means import Vector
from greaves.leaderboards.read.slices import (
    Answers,
    Slice,
    SliceBuilder,
    TaskKey,
    counted,
    sort_verdicts,
)
from greaves.leaderboards.read.verdict_columns import Judged, VerdictReader

_KINDS: tuple[Kind, ...] = ("harmful", "benign", "chat")
_SAMPLES = 1 << 31


def slices_of(run: RunFolder, judge: str | None = None) -> list[Slice]:
    """What `sort_verdicts` makes of the run's current verdicts.

    Args:
        run: a run folder.
        judge: only the verdicts of this judge (name or name@version); None for the judges of the
            recipe, which second opinions are not.

    Raises:
        GreavesError: there are no verdicts, or none of that judge; or as `sort_verdicts`.
        StoreError: a file of the run is broken.
    """
    current = CurrentVerdicts()
    gathered = _Gathered(current.reader)
    for cell in current.of_cells(run.cells()):
        gathered.add(cell)
    known = sorted({one.judged.judge for one in gathered.groups})
    if not known:
        raise GreavesError(
            "the run has no verdicts yet",
            where=str(run.path),
            do="answer and judge first: greaves run",
        )
    chosen = chosen_judges(known, judge, run.second_opinions())
    if not chosen:
        raise GreavesError(
            f"no verdicts by judge {judge!r}", where=str(run.path), do=f"judges: {', '.join(known)}"
        )
    gathered.groups = [one for one in gathered.groups if one.judged.judge in chosen]
    if gathered.may_be_a_mixture():
        cells = (cell.current_verdicts() for cell in run.cells())
        return sort_verdicts(one for found in cells for one in found if one.judge in chosen)
    return gathered.slices()


def chosen_judges(known: Iterable[str], judge: str | None, second: Container[str]) -> set[str]:
    """Of the judges of a run those to show: the one asked for, or all that its recipe named.

    Where nobody but second opinions judged, they are what there is.
    """
    if judge is not None:
        return {name for name in known if judge in (name, name.partition("@")[0])}
    every = set(known)
    return {name for name in every if name not in second} or every


def shown_verdicts(run: RunFolder, judge: str | None = None) -> list[Verdict]:
    """The run's current verdicts by `chosen_judges`."""
    found = run.verdicts()
    names = chosen_judges({one.judge for one in found}, judge, run.second_opinions())
    return [one for one in found if one.judge in names]


@dataclass(frozen=True)
class _Group:
    """Verdicts of one cell by one judge on one task.

    Attributes:
        version: of the task.
        samples: [responses], which sample of its question each is.
        key_hashes: [responses].
    """

    judged: Judged
    key: TaskKey
    version: str
    answers: Answers
    samples: NDArray[np.int64]
    key_hashes: NDArray[np.int64]
    degenerate: int


class _Gathered:
    """The verdicts of all cells so far.

    Args:
        reader: tells what the numbers in the cells stand for.
    """

    def __init__(self, reader: VerdictReader) -> None:
        self.groups: list[_Group] = []
        self._builder = SliceBuilder()
        self._tables = _Tables(reader, self._builder)

    def add(self, cell: CellVerdicts) -> None:
        """Add one cell."""
        tables = self._tables
        tables.update()
        together = cell.judged * len(tables.tasks) + tables.task_of[cell.asked]
        order = np.argsort(together, kind="stable")
        cuts = np.flatnonzero(np.diff(together[order])) + 1
        for rows in np.split(order, cuts) if len(order) else ():
            key, version = tables.tasks[tables.task_of[cell.asked[rows[0]]]]
            said = cell.said[rows]
            self.groups.append(
                _Group(
                    tables.reader.judged[cell.judged[rows[0]]],
                    key,
                    version,
                    Answers(tables.number_of[cell.asked[rows]], tables.values[key.kind][said]),
                    tables.samples[said],
                    cell.key_hashes[rows],
                    int(np.count_nonzero(tables.degenerate[said])),
                )
            )

    def may_be_a_mixture(self) -> bool:
        """Whether `sort_verdicts` might refuse them; if not, it would not."""
        tasks: dict[tuple[str, str], tuple[TaskKey, str]] = {}
        keys: dict[str, list[NDArray[np.int64]]] = {}
        samples: dict[tuple[Judged, str], list[NDArray[np.int64]]] = {}
        for one in self.groups:
            what = one.key, one.version
            if tasks.setdefault((one.judged.judge, one.key.task), what) != what:
                return True
            if ((one.samples < 0) | (one.samples >= _SAMPLES)).any():
                return True
            keys.setdefault(one.judged.judge, []).append(one.key_hashes)
            place = one.judged, one.key.task
            samples.setdefault(place, []).append(one.answers.questions * _SAMPLES + one.samples)
        return any(map(_repeats, itertools.chain(keys.values(), samples.values())))

    def slices(self) -> list[Slice]:
        """The slices of all groups."""
        for one in self.groups:
            who = one.judged
            place = who.judge, who.model, who.method, one.key.task
            self._builder.add(place, one.key, who.seed, one.answers, one.degenerate)
        return self._builder.slices()


class _Tables:
    """What the reader's numbers come to, as arrays; longer whenever the reader knows more.

    Attributes:
        tasks: tasks with their versions.
        task_of, number_of: [asked], place in `tasks`, and what stands for the question.
        values: kind -> [said], see `value_of`.
        samples, degenerate: [said].
    """

    def __init__(self, reader: VerdictReader, builder: SliceBuilder) -> None:
        self.reader, self._builder = reader, builder
        self.tasks: list[tuple[TaskKey, str]] = []
        self.task_of = self.number_of = self.samples = np.zeros(0, dtype=np.int64)
        self.values: dict[Kind, Vector] = {kind: np.zeros(0) for kind in _KINDS}
        self.degenerate = np.zeros(0, dtype=np.bool_)

    def update(self) -> None:
        """Take in what the reader has learnt."""
        asked = self.reader.asked[len(self.task_of) :]
        places, numbers = [], []
        for one in asked:
            task = TaskKey(one.kind, one.mode, one.task), one.task_version
            if task not in self.tasks:
                self.tasks.append(task)
            places.append(self.tasks.index(task))
            numbers.append(self._builder.number(one.task, one.question_id))
        said = self.reader.said[len(self.samples) :]
        if asked:
            self.task_of = np.append(self.task_of, places)
            self.number_of = np.append(self.number_of, numbers)
        if said:
            self.samples = np.append(self.samples, [one.sample for one in said])
            self.degenerate = np.append(
                self.degenerate, [one.outcome == "degenerate" for one in said]
            )
            for kind in _KINDS:
                found = [counted(kind, one.outcome, one.score) for one in said]
                self.values[kind] = np.append(self.values[kind], found)


def _repeats(parts: list[NDArray[np.int64]]) -> bool:
    together = np.sort(np.concatenate(parts))
    return bool((together[1:] == together[:-1]).any())
