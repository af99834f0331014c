"""The run: for every cell align -> respond -> judge, each restartable, nothing asked twice."""

from __future__ import annotations

import itertools
import os
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from greaves.align.training.processes import end_with_launcher, rank, world_size
from greaves.answer.answering import Answered
from greaves.base.errors import RecipeError, StoreError
from greaves.base.lock import lock
from greaves.base.machine import this_machine, versions
from greaves.base.progress import Steps
from greaves.base.records import Question, content_hash
from greaves.base.run_folder import FORMAT, RunFolder
from greaves.base.store import write_json
from greaves.data.imports.provenance import run_label
from greaves.data.speech.clips import clip_hash
from greaves.models.contract import LALM
from greaves.recipe.plan import Cell, Plan
from greaves.run.cell_run import CellRun, Questions


def run(
    plan: Plan,
    folder: Path,
    *,
    fresh: bool = False,
    only: Sequence[str] = (),
    steps: Steps | None = None,
    given: Mapping[str, LALM] | None = None,
    limit: int | None = None,
) -> Answered:
    """Run a plan into a folder, or carry on where the last run stopped.

    Args:
        plan: a checked recipe.
        folder: the run folder; made if it is not there.
        fresh: put an earlier run aside (it is renamed, not deleted) and start over.
        only: names of models, methods or tasks; others are left alone.
        steps: where progress is shown.
        given: models that are loaded already, by their shown names.
        limit: only the first questions of each task.

    Started by `torchrun`, `deepspeed` or `accelerate launch`, all processes align together; then
    the first one asks and judges, and the others are done.

    A cell that fails does not keep others from running; what failed is said at the end.

    Raises:
        CellsFailedError: some cells failed, such as by a model that cannot be loaded or a loss that
            is not a number; all others were finished.
        GreavesError: the folder is locked or read-only, the recipe or its data are broken.
    """
    if world_size() > 1:
        end_with_launcher()
    check_only(plan, only)
    questions, first = plan.questions(limit), rank() == 0
    with steps or Steps(plain=None if first else True) as shown:
        cells = CellRun(plan, folder, questions, {}, only, shown)
        if not first:
            cells.align_together()
            return Answered()
        _ = cells.texts  # data sets that are missing stop the run before it begins
        with lock(folder):
            cells.materials.given = given or {}
            cells.requests = begin(plan, folder, questions, fresh=fresh)
            if world_size() > 1:
                cells.align_together()
            return cells.all_cells()


def begin(plan: Plan, folder: Path, questions: Questions, *, fresh: bool = False) -> dict[str, str]:
    """Write down in the run folder, which the caller holds, what is about to be run.

    Returns:
        Cell -> hash of what it is asked to do.

    Raises:
        StoreError: the folder holds another run, or cannot be written.
    """
    if fresh:
        _put_aside(folder)
    _check_same_run(plan, folder)
    asked = _asked(plan, questions)
    requests = {str(cell): _request(cell, asked) for cell in plan.cells}
    _write_run(plan, folder, list(requests.values()))
    return requests


def check_only(plan: Plan, only: Sequence[str]) -> None:
    """Raises RecipeError if `only` names what the recipe has not."""
    known = {cell.model.shown for cell in plan.cells}
    known |= {cell.method.shown for cell in plan.cells} | {task.name for task in plan.tasks}
    known |= {spec.shown for spec in plan.recipe.text_tasks}
    for name in (one for one in only if one not in known):
        what = f"--only {name}: the recipe has no such model, method or task"
        raise RecipeError(what, do=f"it has: {', '.join(sorted(known))}")


def _check_same_run(plan: Plan, folder: Path) -> None:
    """A folder holds one recipe; a changed recipe of the same name carries on in it."""
    if not (folder / "run.json").exists():
        return
    name = RunFolder.open(folder).facts().name
    if name != plan.recipe.name:
        what = f"the folder holds a run of recipe {name!r}, not {plan.recipe.name!r}"
        do = "choose another with --run-dir, or put it aside with --fresh"
        raise StoreError(what, where=str(folder), do=do)


def _put_aside(folder: Path) -> None:
    """Move all that an earlier run left, `run.json` last: a kill in between is made good."""
    items = [item for item in folder.iterdir() if item.name not in (".lock", ".lease")]
    items.sort(key=lambda item: item.name == "run.json")
    if not items:
        return
    name = f"{folder.name}.before-{datetime.now(UTC):%Y%m%dT%H%M%S%f}"
    # A clock that is set back tells the same time twice.
    ends = itertools.chain([""], (f"-{number}" for number in itertools.count(2)))
    places = (folder.with_name(f"{name}{end}") for end in ends)
    aside = next(place for place in places if not place.exists())
    aside.mkdir()
    for item in items:
        os.replace(item, aside / item.name)


def _request(cell: Cell, asked: Mapping[str, Any]) -> str:
    """Hash of what a cell is asked to do; a cell that did something else is not in the table."""
    return content_hash(
        {
            "model": cell.model.model_dump(mode="json"),
            "method": cell.method.method,
            "version": cell.aligner.version,
            "config": cell.aligner.config.model_dump(mode="json"),
            "seed": cell.seed,
            **({"base": _request(cell.base, asked)} if cell.base else {}),
            **asked,
        }
    )


def _asked(plan: Plan, questions: Questions) -> dict[str, Any]:
    """What all cells are asked: the tasks, how, and the questions with their clips, by hash."""
    texts = [one.model_dump(mode="json") for one in plan.recipe.text_tasks]

    def hashes(own: Sequence[Question]) -> list[list[str | None]]:
        return [[one.hash, clip_hash(one.clip) if one.clip else None] for one in own]

    return {
        "benchmarks": {one.name: plan.benchmark(one).model_dump(mode="json") for one in plan.tasks},
        "questions": {task.name: hashes(own) for task, own in questions.items()},
        **({"text_tasks": texts} if texts else {}),
    }


def _write_run(plan: Plan, folder: Path, requests: list[str]) -> None:
    present = versions()
    data = {task.benchmark: plan.task_data(task) for task in plan.tasks}
    before = RunFolder(folder).versions()
    write_json(
        folder / "run.json",
        {
            "format": FORMAT,
            "name": plan.recipe.name,
            "label": run_label(plan.recipe.label, data),
            "recipe_hash": plan.hash,
            "cells": [list(cell.names) for cell in plan.cells],
            "requests": requests,
            "versions": present,
            "machine": this_machine().model_dump(mode="json"),
            "earlier_versions": [found for found in before if found != present],
            "recipe": plan.recipe.model_dump(mode="json"),
        },
    )
