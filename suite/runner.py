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
from greaves.errors import DataError, GreavesError, ModelError, RecipeError, StoreError
from greaves.identity import Speaker, sample_seed
from greaves.machine import this_machine
from greaves.method import RunContext
from greaves.models.base import LALM, Sampling
from greaves.progress import Steps
from greaves.recipe import Cell, Plan
from greaves.records import Question, Response, Verdict, content_hash
from greaves.run_folder import FORMAT, AskedQuestion, CellFolder, RunFolder
from greaves.speech.clips import clip_hash
from greaves.store import lock, write_json
from greaves.task import Asked, Task

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
        requests = {str(cell): _request(plan, cell, questions) for cell in plan.cells}
        _write_run(plan, folder, list(requests.values()))
        return _Run(plan, folder, questions, requests, only, shown).all_cells()


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
    """Move all that an earlier run left, `run.json` last: a kill in between is made good."""
    items = sorted(
        (item for item in folder.iterdir() if item.name != ".lock"),
        key=lambda item: item.name == "run.json",
    )
    if not items:
        return
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S%f")
    aside = folder.with_name(f"{folder.name}.before-{stamp}")
    aside.mkdir()
    for item in items:
        os.replace(item, aside / item.name)


def _request(plan: Plan, cell: Cell, questions: dict[type[Task], tuple[Question, ...]]) -> str:
    """Hash of what a cell is asked to do; a cell that did something else is not in the table."""
    return content_hash(
        {
            "model": cell.model.model_dump(mode="json"),
            "method": cell.method.method,
            "version": cell.aligner.version,
            "config": cell.aligner.config.model_dump(mode="json"),
            "seed": cell.seed,
            "benchmarks": {
                task.name: plan.benchmark(task).model_dump(mode="json") for task in plan.tasks
            },
            "questions": {
                task.name: [
                    [question.hash, clip_hash(question.clip) if question.clip else None]
                    for question in asked
                ]
                for task, asked in questions.items()
            },
        }
    )


def _write_run(plan: Plan, folder: Path, requests: list[str]) -> None:
    present = versions()
    before = RunFolder(folder).versions()
    write_json(
        folder / "run.json",
        {
            "format": FORMAT,
            "name": plan.recipe.name,
            "label": plan.recipe.label,
            "recipe_hash": plan.hash,
            "cells": [[cell.model.shown, cell.method.shown, cell.seed] for cell in plan.cells],
            "requests": requests,
            "versions": present,
            "machine": this_machine().model_dump(mode="json"),
            "earlier_versions": [found for found in before if found != present],
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
        requests: dict[str, str],
        only: Sequence[str],
        steps: Steps,
    ) -> None:
        self.plan, self.questions, self.only, self.steps = plan, questions, only, steps
        self.requests = requests
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
        asked = self._asked()
        place.write_questions(
            AskedQuestion(question=question, keys=_keys(speaker, item.sampling, question))
            for item in asked
            for question in item.questions
        )
        place.write_facts(
            {
                "request": self.requests[str(cell)],
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
        self._respond(cell, place, speaker, defence, asked)
        self._judge(cell, place)

    def _asked(self) -> list[Asked]:
        return [
            Asked(task, self.questions[task], self.plan.benchmark(task).sampling)
            for task in self.plan.tasks
        ]

    def _model(self, cell: Cell) -> LALM:
        name = cell.model.shown
        if name not in self._models:
            loader = registry.models.get(cell.model.model)
            try:
                model = loader(**cell.model.options)
            except TypeError as error:
                raise RecipeError(f"model {cell.model.model!r}: {error}") from None
            model.name = name
            self._check_white_box(model, cell)
            self._models = {name: model}  # cells come model by model: one at a time in memory
        return self._models[name]

    def _check_white_box(self, model: LALM, cell: Cell) -> None:
        """Refuse, before a black box is asked anything, methods that need to look inside it."""
        for other in self.plan.cells:
            needs = other.aligner.requires
            inside = needs.weights or needs.gradients
            if other.model == cell.model and inside and not model.white_box:
                raise ModelError(
                    f"method {other.method.shown!r} needs the weights of {model.name!r},"
                    " which is a black box",
                    do="take the method out of the recipe",
                )

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

    def _respond(
        self,
        cell: Cell,
        place: CellFolder,
        speaker: Speaker,
        defence: Defence,
        asked: list[Asked],
    ) -> None:
        chosen = {task.name for task in self._tasks()}
        wanted = {
            key for item in place.questions() if item.question.task in chosen for key in item.keys
        }
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

        from greaves.harness import respond  # imports lm_eval: seconds

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
                and _is_open(last.get(item.key), questions[item.question_id])
            ]
            verdicts = judge.judge(open_items)
            if len(verdicts) != len(open_items):
                raise GreavesError(
                    f"judge {judge.identity} gave {len(verdicts)} verdicts on"
                    f" {len(open_items)} responses",
                    do="one verdict a response, in order",
                )
            stamped = [
                verdict.model_copy(update={"question_hash": question.hash})
                for verdict, (question, _) in zip(verdicts, open_items, strict=True)
            ]
            ledger.append(item for item in stamped if last.get(item.key) != item)
        self.steps.say(f"{cell}: {len(responses)} responses judged")


def _is_open(last: Verdict | None, question: Question) -> bool:
    """Whether a response is still to be judged, or again: unscored, or the question has changed."""
    return last is None or last.outcome == "unscored" or last.question_hash != question.hash


def _keys(speaker: Speaker, sampling: Sampling, question: Question) -> tuple[str, ...]:
    return tuple(
        speaker.response_key(
            question, sampling, n, sample_seed(sampling.seed, question.task, question.id, n)
        )
        for n in range(sampling.n)
    )
