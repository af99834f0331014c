"""A run folder opened to look inside its model: questions, saved defences, the model itself."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from greaves.base.errors import DataError, ModelError, RecipeError, StoreError
from greaves.base.records import Kind, Mode, Question
from greaves.base.run_folder import CellFolder, RunFacts, RunFolder
from greaves.data.task import TASKS
from greaves.leaderboards.read.slices import VANILLA
from greaves.models.contract import LALM, load_model
from greaves.recipe.schema import BenchmarkSpec, ModelSpec, Recipe


class InsideRun:
    """One model of a run, as a figure needs it.

    Args:
        path: the run folder.
        model: name of the model in the recipe; the first one if unset.

    Raises:
        StoreError: there is no run, or none of its cells is up to date.
        RecipeError: the recipe has no such model.
    """

    def __init__(self, path: Path, model: str | None = None) -> None:
        self.path = path
        self.folder = RunFolder.open(path)
        self.facts: RunFacts = self.folder.facts()
        self.recipe = _recipe(path)
        self.spec = self._spec(model)
        self.names = {"run": self.facts.name, "label": self.facts.label, "model": self.spec.shown}

    def cell(self, method: str, seed: int | None = None) -> CellFolder:
        """The up-to-date cell of a method; that of its first seed unless one is named.

        Raises:
            StoreError: there is none.
        """
        found = {}
        for cell in self.folder.cells():
            facts = cell.facts()
            if facts["model"] == self.spec.shown:
                found[facts["method"], facts["seed"]] = cell
                if facts["method"] == method and seed in (None, facts["seed"]):
                    return cell
        known = ", ".join(f"{name} seed {number}" for name, number in found) or "none"
        wanted = f"{method!r}" if seed is None else f"{method!r} with seed {seed}"
        what = f"no up-to-date cell of method {wanted} on model {self.spec.shown!r}"
        do = f"there are: {known}; others need: greaves run"
        raise StoreError(what, where=str(self.path), do=do)

    def methods(self) -> list[str]:
        """Methods of the recipe besides vanilla, each followed by its stressed cells."""
        cells = (cell for method in self.recipe.methods for cell in (method, *method.stressed()))
        return [cell.shown for cell in cells if cell.shown != VANILLA]

    def benchmark(self, task: str) -> BenchmarkSpec:
        """Judge and sampling of a task."""
        return self.recipe.benchmarks[TASKS.get(task).benchmark]

    def questions(self, kind: Kind, mode: Mode, benchmark: str | None = None) -> list[Question]:
        """Questions of the first task of that kind and mode, as vanilla was asked them, in order.

        There are none if the run asked none (of `benchmark`, where that is set).
        """
        asked = [
            item.question
            for item in self.cell(VANILLA).questions()
            if (item.question.kind, item.question.mode) == (kind, mode)
            and benchmark in (None, TASKS.get(item.question.task).benchmark)
        ]
        return [question for question in asked if question.task == asked[0].task]

    def spoken(self, benchmark: str | None = None) -> tuple[list[Question], list[Question]]:
        """Harmful and benign questions in audio-text mode, of one benchmark.

        Raises:
            DataError: the run asked no such questions.
        """
        harmful = self.questions("harmful", "audio-text", benchmark)
        own = TASKS.get(harmful[0].task).benchmark if harmful else benchmark
        benign = self.questions("benign", "audio-text", own)
        benign = benign or self.questions("benign", "audio-text", benchmark)
        if not harmful or not benign:
            what = "the run has no harmful and benign questions in audio-text mode"
            do = "run tasks that ask them, such as aiah-audio-text and aiah-over-rejection"
            raise DataError(what, where=str(self.path), do=do)
        return harmful, benign

    def load_model(self) -> LALM:
        """The run's model; clips that the run has heard are not heard again.

        Raises:
            RecipeError: its loader does not take the recipe's options.
            ModelError: it is a black box, or not the one that answered.
        """
        model = load_model(self.spec.model, self.spec.options)
        model.name = self.spec.shown
        if not model.white_box:
            raise ModelError(f"model {model.name!r} is a black box: there is no looking inside")
        if model.fingerprint != self.cell(VANILLA).facts()["fingerprint"]:
            differs = "its weights, configuration, dtype or device differ"
            what = f"model {model.name!r} is not the one that answered: {differs}"
            do = "bring the run up to date first: greaves run"
            raise ModelError(what, where=str(self.path), do=do)
        model.keep_features(self.path / "features" / model.fingerprint[:16])
        return model

    def _spec(self, model: str | None) -> ModelSpec:
        for spec in self.recipe.models:
            if model in (None, spec.shown):
                return spec
        known = ", ".join(spec.shown for spec in self.recipe.models)
        what, do = f"the recipe has no model {model!r}", f"it has: {known}"
        raise RecipeError(what, where=str(self.path), do=do)


def saved_defence(cell: CellFolder) -> Path:
    """Folder of the defence under which a cell answered; the one with kept epochs if several.

    Raises:
        StoreError: it is gone.
    """
    wanted = cell.facts()["defence_hash"]
    every = sorted(cell.defences.glob("*/defence.json"))
    found = [path.parent for path in every if _hash_in(path) == wanted]
    if not found:
        do = "make it again: greaves run"
        raise StoreError("the defence of this cell is gone", where=str(cell.path), do=do)
    return max(found, key=lambda folder: len(kept_epochs(folder)))


def kept_epochs(defence: Path) -> dict[int, Path]:
    """Epoch -> folder of the defence as it was after that epoch, in order."""
    folders = [path for path in (defence / "epochs").glob("*/") if path.name.isdecimal()]
    return {int(path.name): path for path in sorted(folders, key=lambda path: int(path.name))}


def stem_of(question_id: str) -> str:
    """What a harmful question and its benign mirror share: the id without "harmful" or "benign"."""
    return question_id.replace("harmful", "").replace("benign", "")


def same_words(question: Question, example: Question) -> Question:
    """`question` in the written form of `example`: the same prompt around its own words.

    Raises:
        DataError: the example's prompt does not hold its words.
    """
    before, found, after = (example.prompt or "").partition(example.text)
    if not found:
        raise DataError(f"the prompt of question {example.id!r} does not hold its words")
    prompt = f"{before}{question.text}{after}"
    return question.model_copy(update={"mode": "text-only", "prompt": prompt, "clip": None})


def chosen(names: str | None, known: Sequence[str], where: Path) -> list[str]:
    """Names of a comma-separated option, checked; all known ones if it is unset.

    Raises:
        RecipeError: a name is unknown.
    """
    if names is None:
        return list(known)
    wanted = [name.strip() for name in names.split(",") if name.strip()]
    for name in wanted:
        if name not in known:
            what = f"the recipe has no method {name!r} to draw beside vanilla"
            do = f"it has: {', '.join(known) or 'none'}"
            raise RecipeError(what, where=str(where), do=do)
    return wanted


def _recipe(path: Path) -> Recipe:
    content: dict[str, Any] = json.loads((path / "run.json").read_text(encoding="utf-8"))
    try:
        return Recipe.model_validate(content.get("recipe"))
    except ValidationError as error:
        first = error.errors()[0]
        what = f"not a recipe that this Greaves reads: {first['msg'].lower()}"
        where = f"{path / 'run.json'}: recipe.{'.'.join(map(str, first['loc']))}"
        raise StoreError(what, where=where, do="run it with this version: greaves run") from None


def _hash_in(path: Path) -> str | None:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    return content.get("hash") if isinstance(content, dict) else None
