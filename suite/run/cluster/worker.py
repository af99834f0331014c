"""A task of the cluster, carried out: on the worker's machine, in the run folder that all see."""

from __future__ import annotations

import os
import socket
import sys
import traceback
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

from greaves.align.training.processes import rank
from greaves.base.errors import GreavesError, RecipeError, StoreError
from greaves.base.lock import cell_lock
from greaves.base.machine import source_hash, versions
from greaves.base.progress import Steps
from greaves.base.run_folder import RunFolder
from greaves.judge.contract import Judge
from greaves.judge.judging import judge_facts
from greaves.recipe.packaged import find_recipe
from greaves.recipe.plan import Cell, Plan
from greaves.recipe.reading import read_plan
from greaves.run.cell_run import STOPS, CellRun
from greaves.run.cell_state import CellSteps, Failure, write_failure
from greaves.run.cluster.job import Job, Outcome
from greaves.run.cluster.remote import at_work, is_url
from greaves.run.defences import Defences
from greaves.run.loaded import Materials


def sameness() -> dict[str, str]:
    """What must be the same on all machines of a run: package versions, and our own source."""
    return {**versions(), "source of greaves": source_hash()[:12]}


def carry_out(job: Job, together: bool = False) -> Outcome:
    """Carry a task out (see `greaves.run.cluster.entry.work`); what is raised becomes a failure."""
    try:
        plan, cell = _plan(job)
        _check_sees(job)
        outcome = _align_together(job, plan, cell) if together else _carried_out(job, plan, cell)
    except GreavesError as error:
        outcome = Outcome(failure=Failure.of(error), stops=isinstance(error, STOPS))
    except Exception as error:  # one cell's bug must not end the others
        traceback.print_exc()
        outcome = Outcome(failure=Failure.of(error))
    return replace(outcome, host=socket.gethostname())


def _align_together(job: Job, plan: Plan, cell: Cell) -> Outcome:
    folder = RunFolder(Path(job.folder))
    steps = CellSteps(Steps(plain=True))
    place = folder.cell(*cell.names).path
    with ExitStack() as held:
        if rank() == 0:
            held.enter_context(cell_lock(place))
            held.enter_context(steps.of(place)).stage("aligning")
        Defences(Materials(plan, folder.path / "features"), folder, steps).make(cell)
    return Outcome()


def _plan(job: Job) -> tuple[Plan, Cell]:
    here = sameness()
    if other := [name for name in {**here, **job.same} if here.get(name) != job.same.get(name)]:
        name = other[0]
        raise RecipeError(
            f"{socket.gethostname()} has {name} {here.get(name)}, the driver {job.same.get(name)}",
            do="install the same versions on all machines",
        )
    if os.path.isdir(job.started_in):
        os.chdir(job.started_in)
    try:
        plan = read_plan(find_recipe(job.recipe))
    except RecipeError as error:
        where = f"{socket.gethostname()}: {error.where}"
        do = "recipe and data must lie where every machine sees them"
        raise RecipeError(error.what, where=where, do=do) from None
    if plan.hash != job.recipe_hash:
        what = f"{socket.gethostname()} has another version of it"
        do = "recipe and data must be the same for all machines"
        raise RecipeError(what, where=job.recipe, do=do)
    return plan, plan.cells[job.cell]


def _check_sees(job: Job) -> None:
    if not is_url(job.folder) and not (Path(job.folder) / "run.json").is_file():
        what = f"{socket.gethostname()} does not see the run folder"
        do = "give --run-dir a folder that all machines share, or a URL"
        raise StoreError(what, where=job.folder, do=do)


def _carried_out(job: Job, plan: Plan, cell: Cell) -> Outcome:
    judges: dict[str, Any] = {}
    failed: dict[str, Failure] = {}

    def note(judge: Judge) -> None:
        judges[judge.identity] = judge_facts(judge)

    with at_work(job.folder, cell) as (folder, saved):
        requests = {str(cell): job.request}
        steps = Steps(plain=True)
        run = CellRun(plan, folder, plan.questions(), requests, job.only, steps, note)
        works = {"cell": run.answer_and_judge, "judge": run.judge_by_model, "align": run.align}
        try:
            run.attempt(cell, works[job.what], failed, saved)
        except Exception as error:
            if not isinstance(error, GreavesError):
                write_failure(run.place(cell).path, Failure.of(error))
            raise
        finally:
            sys.stderr.flush()
    return Outcome(run.done.asked, run.done.found, failed.get(str(cell)), judges=judges)
