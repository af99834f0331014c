"""The run: for every cell align -> respond -> judge, each restartable, nothing asked twice."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from greaves import __version__, registry
from greaves.alignment_data.sets import AlignmentData
from greaves.defence import Defence
from greaves.errors import DataError, RecipeError, StoreError
from greaves.identity import Speaker, sample_seed
from greaves.method import RunContext
from greaves.models.base import LALM, Sampling
from greaves.progress import Steps
from greaves.recipe import Cell, Plan
from greaves.records import Question, Response, content_hash
from greaves.run_folder import FORMAT, AskedQuestion, CellFolder, RunFolder
from greaves.store import lock, write_json
from greaves.task import Task

PACKAGES = ("torch", "transformers", "peft", "lm_eval", "numpy", "scipy")


@dataclass(frozen=True)
class Report:
    """What a run did: responses asked for now, and found from before."""

    asked: int
    found: int


def run(
    plan: Plan,
    folder: Path,
    *,
    fresh: bool = False,
    only: Sequence[str] = (),
    steps: Steps | None = None,
) -> Report:
    """Run a plan into a folder, or carry on where the last run stopped.

    Args:
        plan: a checked recipe.
        folder: the run folder; made if it is not there.
        fresh: put an earlier run aside (it is renamed, not deleted) and start over.
        only: names of models, methods or tasks; others are left alone.
        steps: where progress is shown.

    Raises:
        GreavesError: the folder is locked or read-only, data or models are broken.
    """
    _check_only(plan, only)
    questions = {task: tuple(task().questions(plan.task_data(task))) for task in plan.tasks}
    with steps or Steps() as shown, lock(folder):
        if fresh:
            _put_aside(folder)
        _check_same_run(plan, folder)
        _write_run(plan, folder)
        return _Run(plan, folder, questions, only, shown).all_cells()


def _check_only(plan: Plan, only: Sequence[str]) -> None:
    known = {cell.model.shown for cell in plan.cells}
    known |= {cell.method.shown for cell in plan.cells} | {task.name for task in plan.tasks}
    for name in only:
        if name not in known:
            raise RecipeError(
                f"--only {name}: the recipe has no such model, method or task",
                do=f"it has: {', '.join(sorted(known))}",
            )


def _check_same_run(plan: Plan, folder: Path) -> None:
    """A folder holds one recipe; a changed recipe of the same name carries on in it."""
    if not (folder / "run.json").exists():
        return
    name = RunFolder.open(folder).facts().name
    if name != plan.recipe.name:
        raise StoreError(
            f"the folder holds a run of recipe {name!r}, not {plan.recipe.name!r}",
            where=str(folder),
            do="choose another with --run-dir, or put it aside with --fresh",
        )


def versions() -> dict[str, str]:
    """Versions of Greaves, Python and the packages that could change a result."""
    found = {name: importlib.metadata.version(name) for name in PACKAGES}
    return {"greaves": __version__, "python": platform.python_version(), **found}


def _put_aside(folder: Path) -> None:
    if not (folder / "run.json").exists():
        return
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S%f")
    aside = folder.with_name(f"{folder.name}.before-{stamp}")
    aside.mkdir()
    for item in folder.iterdir():
        if item.name != ".lock":
            os.replace(item, aside / item.name)


def _write_run(plan: Plan, folder: Path) -> None:
    write_json(
        folder / "run.json",
        {
            "format": FORMAT,
            "name": plan.recipe.name,
            "label": plan.recipe.label,
            "recipe_hash": plan.hash,
            "cells": [[cell.model.shown, cell.method.shown, cell.seed] for cell in plan.cells],
            "versions": versions(),
            "recipe": plan.recipe.model_dump(mode="json"),
        },
    )


class _Run:
    """One pass over the cells; models and alignment data are loaded once each."""

    def __init__(
        self,
        plan: Plan,
        folder: Path,
        questions: dict[type[Task], tuple[Question, ...]],
        only: Sequence[str],
        steps: Steps,
    ) -> None:
        self.plan, self.questions, self.only, self.steps = plan, questions, only, steps
        self.folder = RunFolder(folder)
        self.asked = self.found = 0
        self._models: dict[str, LALM] = {}
        self._data: dict[str, AlignmentData] = {}

    def all_cells(self) -> Report:
        for cell in self.plan.cells:
            if self._selected(cell):
                self._one_cell(cell)
        return Report(self.asked, self.found)

    def _selected(self, cell: Cell) -> bool:
        models = {item.model.shown for item in self.plan.cells} & set(self.only)
        methods = {item.method.shown for item in self.plan.cells} & set(self.only)
        return (not models or cell.model.shown in models) and (
            not methods or cell.method.shown in methods
        )

    def _tasks(self) -> list[type[Task]]:
        wanted = [task for task in self.plan.tasks if task.name in self.only]
        return wanted or list(self.plan.tasks)

    def _one_cell(self, cell: Cell) -> None:
        place = self.folder.cell(cell.model.shown, cell.method.shown, cell.seed)
        model = self._model(cell)
        data = self._alignment_data(cell)
        defence = self._defence(cell, place, model, data)
        speaker = Speaker(model, cell.method.shown, cell.seed, defence.hash)
        place.write_facts(
            {
                "model": model.name,
                "revision": model.revision,
                "fingerprint": model.fingerprint,
                "method": cell.method.shown,
                "registered_method": cell.method.method,
                "config": cell.aligner.config.model_dump(mode="json"),
                "seed": cell.seed,
                "data": cell.aligner.requires.data or "",
                "data_hash": data.hash if data else "",
                "defence_hash": defence.hash,
                "defence_notes": defence.notes or {},
            }
        )
        self._respond(cell, place, speaker, defence)
        self._judge(cell, place)

    def _model(self, cell: Cell) -> LALM:
        name = cell.model.shown
        if name not in self._models:
            loader = registry.models.get(cell.model.model)
            try:
                model = loader(**cell.model.options)
            except TypeError as error:
                raise RecipeError(f"model {cell.model.model!r}: {error}") from None
            model.name = name
            self._models = {name: model}  # cells come model by model: one at a time in memory
        return self._models[name]

    def _alignment_data(self, cell: Cell) -> AlignmentData | None:
        kind = cell.aligner.requires.data
        if kind is None:
            return None
        if kind not in self._data:
            self._data[kind] = self.plan.alignment_data(kind)
        return self._data[kind]

    def _defence(
        self, cell: Cell, place: CellFolder, model: LALM, data: AlignmentData | None
    ) -> Defence:
        """The cell's defence, made now or found from before; a broken one is made again."""
        request = {
            "method": cell.method.method,
            "version": cell.aligner.version,
            "config": cell.aligner.config.model_dump(mode="json"),
            "seed": cell.seed,
            "model": model.name,
            "revision": model.revision,
            "fingerprint": model.fingerprint,
            "data_hash": data.hash if data else None,
        }
        folder = place.defences / content_hash(request)[:16]
        if folder.is_dir():
            try:
                return Defence.load(folder)
            except DataError as error:
                self.steps.say(f"{error}; making it again")
                shutil.rmtree(folder)
        work = folder.with_name(f"{folder.name}.work")
        work.mkdir(parents=True, exist_ok=True)
        context = RunContext(
            work,
            cell.seed,
            lambda done, total, words: self.steps.update(f"{cell}: {words}", done, total),
        )
        defence = cell.aligner.align(model, data, context)
        defence.save(folder, {**request, "versions": versions()})
        shutil.rmtree(work)
        return Defence.load(folder)

    def _respond(self, cell: Cell, place: CellFolder, speaker: Speaker, defence: Defence) -> None:
        from greaves.harness import Asked, respond  # imports lm_eval: seconds

        asked = [
            Asked(task, self.questions[task], self.plan.benchmark(task).sampling)
            for task in self.plan.tasks
        ]
        planned = [
            AskedQuestion(question=question, keys=_keys(speaker, item.sampling, question))
            for item in asked
            for question in item.questions
        ]
        place.write_questions(planned)
        chosen = {task.name for task in self._tasks()}
        wanted = {key for item in planned if item.question.task in chosen for key in item.keys}
        ledger = place.responses()
        known = {item.key: item.text for item in ledger.records if item.key in wanted}
        self.found += len(known)
        self.asked += len(wanted) - len(known)
        done = len(known)
        if done == len(wanted):
            return

        def keep(responses: list[Response]) -> None:
            nonlocal done
            ledger.append(responses)
            done += len(responses)
            self.steps.update(f"{cell}: responses", done, len(wanted))

        self.steps.update(f"{cell}: responses", done, len(wanted))
        with defence.attached(speaker.model):
            respond(
                speaker,
                [item for item in asked if item.task.name in chosen],
                known=known,
                on_responses=keep,
                batch_size=self.plan.recipe.batch_size,
            )

    def _judge(self, cell: Cell, place: CellFolder) -> None:
        responses = place.current_responses()
        for task in self.plan.tasks:
            judge = registry.judges.get(self.plan.benchmark(task).judge)()
            ledger = place.verdicts(judge.identity)
            last = {item.key: item for item in ledger.records if item.judge == judge.identity}
            questions = {question.id: question for question in self.questions[task]}
            open_items = [
                (questions[item.question_id], item)
                for item in responses
                if item.task == task.name
                and (item.key not in last or last[item.key].outcome == "unscored")
            ]
            verdicts = judge.judge(open_items)
            ledger.append(item for item in verdicts if last.get(item.key) != item)
        self.steps.say(f"{cell}: {len(responses)} responses judged")


def _keys(speaker: Speaker, sampling: Sampling, question: Question) -> tuple[str, ...]:
    return tuple(
        speaker.response_key(
            question, sampling, n, sample_seed(sampling.seed, question.task, question.id, n)
        )
        for n in range(sampling.n)
    )
