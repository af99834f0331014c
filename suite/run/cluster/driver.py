"""`greaves run --cluster`: submits cells to Ray, tries again where a machine was lost, and reports.

The driver keeps nothing but the queue: what was done lies in the run folder, so it may be killed
and started again.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import cached_property
from importlib import resources
from pathlib import Path
from typing import Any, Literal

from greaves.align.training.processes import local_processes
from greaves.answer.answering import Answered
from greaves.base.errors import RecipeError
from greaves.base.progress import Steps
from greaves.base.run_folder import RunFolder
from greaves.recipe.plan import Cell, Plan
from greaves.run.cell_run import CellsFailedError, because, selected
from greaves.run.cell_state import FILE, Failure, write_failure
from greaves.run.cluster import ray_cluster
from greaves.run.cluster.job import Job
from greaves.run.cluster.needs import Needs, by_rule, judge_needs
from greaves.run.cluster.ray_cluster import Lost
from greaves.run.cluster.remote import held, is_url, push_state
from greaves.run.cluster.schedule import Planned, planned
from greaves.run.cluster.worker import sameness
from greaves.run.runner import begin, check_only

LOST = 5
"""Times that a cell is tried again after its machine or process was lost."""

OUT_OF_MEMORY = 1
"""Times that a cell is tried again after Ray ended it because its machine ran out of memory."""

ALWAYS_PASSED = (
    *("HF_HUB_OFFLINE", "HF_HOME", "OMP_NUM_THREADS", "TOKENIZERS_PARALLELISM"),
    *("GREAVES_SCRATCH", "DS_ACCELERATOR"),
)
"""Variables that reach the workers where the driver has them; others by name (`--env NAME`)."""


def run_on_cluster(
    plan: Plan,
    folder: str | Path,
    *,
    address: str = "auto",
    fresh: bool = False,
    only: Sequence[str] = (),
    environment: Sequence[str] = (),
    steps: Steps | None = None,
) -> Answered:
    """Run a plan on a Ray cluster, or carry on where the last run, there or here, stopped.

    Args:
        plan: a checked recipe; it and its data lie where every machine sees them.
        folder: a folder that every machine sees, or a URL.
        address: of the cluster, "auto" (the one this machine belongs to, or else a new one on this
            machine), or "local" (a new one on this machine).
        fresh: put an earlier run aside and start over.
        only: names of models, methods or tasks; others are left alone.
        environment: names of variables that workers get from here, such as a server's key.
        steps: where progress is shown.

    Raises:
        CellsFailedError: some cells failed; all others were finished.
        GreavesError: no cluster, other versions on a worker, a folder that cannot be written.
    """
    check_only(plan, only)
    passed = passed_on(environment)
    questions = plan.questions()
    where = str(folder) if is_url(folder) else str(Path(folder).resolve())
    with steps or Steps() as shown, held(where, fresh) as (here, bring):
        requests = begin(plan, here, questions, fresh=fresh and not is_url(where))
        bring()
        with ray_cluster.connected(address):
            kept = ray_cluster.kept(passed)
            driver = _Driver(plan, where, here, requests, tuple(only), kept, shown)
            try:
                return driver.run()
            finally:
                driver.write_judges()
                bring()


def passed_on(names: Sequence[str]) -> dict[str, str]:
    """Variables for the workers.

    Raises:
        RecipeError: one that was asked for is not set.
    """
    for name in names:
        if name not in os.environ:
            raise RecipeError(f"--env {name}: there is no such variable", do="export it first")
    chosen = (*ALWAYS_PASSED, *names)
    return {name: os.environ[name] for name in chosen if name in os.environ}


@dataclass
class _Task:
    item: Planned
    what: Literal["cell", "judge", "align", "gang", "gang only"]
    lost: int = 0
    out_of_memory: int = 0

    @property
    def cell(self) -> Cell:
        return self.item.cell


@dataclass
class _Driver:
    plan: Plan
    where: str
    here: Path
    requests: Mapping[str, str]
    only: tuple[str, ...]
    passed: Any
    steps: Steps
    same: Mapping[str, str] = field(default_factory=sameness)
    done: Answered = field(default_factory=Answered)
    judges: dict[str, Any] = field(default_factory=dict)
    failed: dict[str, Failure] = field(default_factory=dict)
    aligned: set[str] = field(default_factory=set)

    @cached_property
    def judge_needs(self) -> list[Needs]:
        judges = [benchmark.judge_spec for benchmark in self.plan.recipe.benchmarks.values()]
        return [judge_needs(judge) for judge in judges if not by_rule(judge)]

    def run(self) -> Answered:
        """Submit, wait, try again; until every cell is done or has failed."""
        cells = selected(self.plan, self.only)
        wanted = {str(cell) for cell in cells}
        bases = {str(cell.base): cell.base for cell in cells if cell.base is not None}
        only_aligned = [base for name, base in bases.items() if name not in wanted]
        items = planned(self.plan, [*cells, *only_aligned])
        queue = [self._first_task(item, str(item.cell) in wanted) for item in items]
        ray_cluster.say_what_does_not_fit([task.item for task in queue], self.steps.say)
        done, total = 0, len(cells)
        running: dict[Any, _Task] = {}
        gangs = ThreadPoolExecutor(max_workers=16)
        try:
            while queue or running:
                queue = self._submit(queue, running, gangs)
                for handle in ray_cluster.finished(list(running)):
                    task = running.pop(handle)
                    following = self._ended(task, handle)
                    if following is not None:
                        queue.append(following)
                    elif str(task.cell) in wanted:
                        done += 1
                        self.steps.update("cells", done, total)
        finally:
            ray_cluster.cancel(list(running))
            gangs.shutdown(wait=False, cancel_futures=True)
        if self.failed:
            raise CellsFailedError(self.failed, total, self.where)
        return self.done

    def write_judges(self) -> None:
        """Write down what the judges' identities stand for; workers only tell."""
        folder = RunFolder(self.here)
        known = folder.judges()
        if (judges := {**known, **self.judges}) != known:
            folder.write_judges(judges)

    def _first_task(self, item: Planned, wanted: bool) -> _Task:
        if self._processes(item) > 1:
            return _Task(item, "gang" if wanted else "gang only")
        return _Task(item, "cell" if wanted else "align")

    def _processes(self, item: Planned) -> int:
        """Processes that align the cell together, on machines that Ray chooses."""
        if not item.cell.aligner.requires.gradients or is_url(self.where):
            return 1  # behind a URL, machines share no folder: one machine aligns by itself
        return self.plan.recipe.training.processes or 1

    def _submit(
        self, queue: list[_Task], running: dict[Any, _Task], gangs: ThreadPoolExecutor
    ) -> list[_Task]:
        """Submit what may run now, in order; returns what has to wait."""
        waiting = []
        for task in queue:
            base = task.cell.base
            if base is not None and (why := self.failed.get(str(base))):
                self._fail(task.cell, because(base, why))
            elif self._may_run(task, running):
                running[self._start(task, gangs)] = task
            else:
                waiting.append(task)
        return waiting

    def _may_run(self, task: _Task, running: Mapping[Any, _Task]) -> bool:
        base, limit = task.cell.base, task.item.needs.at_once
        of_model = [one for one in running.values() if one.cell.model == task.cell.model]
        ready = base is None or str(base) in self.aligned
        return ready and (limit is None or len(of_model) < limit)

    def _start(self, task: _Task, gangs: ThreadPoolExecutor) -> Any:
        needs, what = task.item.needs, task.what
        if what in ("gang", "gang only"):
            job, processes = self._job(task, "align"), self._processes(task.item)
            return gangs.submit(ray_cluster.align_together, job, self.passed, processes, needs)
        if what == "judge":
            needs = max(self.judge_needs, key=lambda one: one.gpus, default=Needs())
        elif is_url(self.where) and task.cell.aligner.requires.gradients:
            needs = _on_one_machine(needs, local_processes(self.plan.recipe.training))
        return ray_cluster.submit(self._job(task, what), self.passed, needs, str(task.cell))

    def _job(self, task: _Task, what: Any) -> Job:
        return Job(
            what,
            recipe=_recipe_name(self.plan.source),
            recipe_hash=self.plan.hash,
            cell=task.item.number,
            request=self.requests[str(task.cell)],
            folder=self.where,
            only=self.only,
            same=self.same,
            started_in=os.getcwd(),
        )

    def _ended(self, task: _Task, handle: Any) -> _Task | None:
        outcome = handle.result() if isinstance(handle, Future) else ray_cluster.outcome(handle)
        if isinstance(outcome, Lost):
            return self._again(task, outcome)
        self.judges.update(outcome.judges)
        self.done += Answered(outcome.asked, outcome.found)
        if (why := outcome.failure) is not None:
            if outcome.stops:
                raise why.error
            self._fail(task.cell, why, written=not task.what.startswith("gang"))
            return None
        if task.what == "judge":
            return None
        self.aligned.add(str(task.cell))
        if task.what == "cell":
            counts = f"{outcome.asked} responses asked for, {outcome.found} found"
            self.steps.say(f"{task.cell}: {counts}, on {outcome.host}")
            return _Task(task.item, "judge") if self.judge_needs else None
        return _Task(task.item, "cell") if task.what == "gang" else None

    def _again(self, task: _Task, lost: Lost) -> _Task | None:
        task.out_of_memory += lost.out_of_memory
        task.lost += not lost.out_of_memory
        if task.out_of_memory > OUT_OF_MEMORY:
            do = "say how much it needs: `resources: {memory_gb: ...}` of the model"
            self._fail(task.cell, Failure(what="its machine ran out of memory", do=do))
        elif task.lost > LOST:
            what = f"its machine or process was lost {task.lost} times ({lost.why})"
            self._fail(task.cell, Failure(what=what, do="run again to try it again"))
        else:
            self.steps.say(f"{task.cell}: {lost.why}; trying again")
            time.sleep(0.2)
            return task
        return None

    def _fail(self, cell: Cell, why: Failure, written: bool = False) -> None:
        self.failed[str(cell)] = why
        self.steps.say(f"{cell}: failed: {why.error}")
        if not written:
            place = RunFolder(self.here).cell(*cell.names)
            write_failure(place.path, why)
            push_state(self.where, cell, FILE)


def _on_one_machine(needs: Needs, processes: int) -> Needs:
    if processes <= 1:
        return needs
    scarce = "gpus" if needs.gpus else "cpus"
    return replace(needs, **{scarce: max(getattr(needs, scarce), processes)})


def _recipe_name(source: Path) -> str:
    """How workers find the recipe: a packaged one by name, as each has its own installation."""
    packaged = Path(str(resources.files("greaves.recipes")))
    return source.stem if source.parent == packaged else str(source.resolve())
