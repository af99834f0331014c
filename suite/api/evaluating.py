"""`greaves.evaluate`: a model and defences in, a table with intervals out.

It is a run like any other: a recipe is made up, its cells take the given model and defences, and
the runner answers, judges and writes the run folder.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from pydantic import ConfigDict

from greaves.align.composition import canonical
from greaves.align.defence import Defence
from greaves.align.method import AlignmentMethod, MethodConfig, RunContext
from greaves.api.loading import POCKET, load_model, spec_of
from greaves.api.recipes import Recipe
from greaves.api.result import Result
from greaves.base.errors import RecipeError
from greaves.base.records import content_hash
from greaves.data.alignment.sets import AlignmentData
from greaves.data.task import TASKS
from greaves.models.contract import LALM, MODELS
from greaves.recipe.plan import Cell, Plan
from greaves.recipe.schema import MethodSpec, ModelSpec
from greaves.run.runner import run

Defended = Defence | str

KINDS = ("basic", "mirror", "parallel")


class GivenConfig(MethodConfig):
    """How a given defence was made, as far as it says.

    Attributes:
        defence: its hash.
    """

    model_config = ConfigDict(frozen=True, extra="allow")

    defence: str


class Given(AlignmentMethod[GivenConfig]):
    """A defence that has been made already."""

    Config = GivenConfig

    def __init__(self, defence: Defence) -> None:
        made = (defence.provenance or {}).get("config", {})
        super().__init__(GivenConfig.model_validate({**made, "defence": defence.hash}))
        self.defence = defence

    def align(self, model: LALM, data: AlignmentData | None, context: RunContext) -> Defence:
        """The defence itself."""
        return self.defence


@dataclass(frozen=True)
class _Side:
    """One method of the table: a defence that is given, or a method that makes it."""

    shown: str
    defended: Defended

    @property
    def method(self) -> MethodSpec:
        if isinstance(self.defended, str):
            return MethodSpec(method=self.defended, name=self.shown)
        made = self.defended.provenance or {}
        name = made.get("method", "given")
        return MethodSpec(method=name, name=self.shown, config=made.get("config", {}))

    def cell(self, model: ModelSpec) -> Cell:
        assert isinstance(self.defended, Defence)
        seed = int((self.defended.provenance or {}).get("seed", 0))
        return Cell(model, self.method, Given(self.defended), seed)


def evaluate(
    model: LALM | str,
    defences: Defended | Sequence[Defended] | Mapping[str, Defended] = (),
    tasks: Sequence[str] = ("aiah-audio-text", "aiah-over-rejection"),
    *,
    against: Literal["vanilla"] | None = "vanilla",
    data: str | Path | Mapping[str, str | Path] | None = None,
    judge: str | Mapping[str, str] | None = None,
    samples: int = 5,
    max_new_tokens: int = 128,
    limit: int | None = None,
    folder: str | Path | None = None,
) -> Result:
    """Asks a model, with and without defences, and has the responses judged.

    Args:
        model: a model, or the name of one.
        defences: defences or names of methods; a mapping gives them names for the table. Several
            seeds of one method may share a name.
        tasks: names that `greaves tasks` lists.
        against: the model without a defence, which NSI needs; None leaves it out.
        data: a folder of questions; or benchmark -> folder, and for methods that are given by name
            basic, mirror or parallel -> folder. "pocket", the default, is what ships with Greaves.
        judge: name of a judge for all tasks, or benchmark -> name. By default the pocket rules for
            the pocket LALM, refusal rules for others, and for chat the overlap with the reference.
        samples: responses to each question.
        max_new_tokens: longest response.
        limit: only the first questions of each task.
        folder: the run folder; by default one under `runs/notebook` for exactly this evaluation.
            Called again, everything that was asked there is found.

    Raises:
        RecipeError: a name is unknown, or given twice.
        CellsFailedError: some defences could not be evaluated; the others were.

    Example:
        >>> result = greaves.evaluate(model, defence, ["aiah-audio-text"])  # doctest: +SKIP
        >>> print(result)  # doctest: +SKIP
    """
    model = load_model(model) if isinstance(model, str) else model
    spec = spec_of(model)
    sides = _sides(defences, against)
    folders = data if isinstance(data, Mapping) else {}
    base = POCKET if data is None or isinstance(data, Mapping) else str(data)
    pocket = POCKET in (base, model.name)
    registered = spec.model.partition(":")[0] in MODELS.names()
    fields: dict[str, Any] = {
        "name": "notebook",
        "label": POCKET if pocket else "",
        "models": [spec.model_dump() if registered else {"model": POCKET}],
        "methods": [side.method.model_dump() for side in sides if isinstance(side.defended, str)]
        or ["vanilla"],
        "alignment_data": {
            kind: str(folders.get(kind, POCKET))
            for kind in KINDS
            if kind in folders or model.name == POCKET
        },
        "benchmarks": {
            name: {
                "data": str(folders.get(name, base)),
                "judge": _judge(judge, name, tasks, model),
                "samples": samples,
                "max_new_tokens": max_new_tokens,
            }
            for name in dict.fromkeys(TASKS.get(task).benchmark for task in tasks)
        },
        "tasks": list(tasks),
    }
    plan = _with_given(Recipe.of(fields).plan, sides, spec)
    given = [cell.aligner.config.model_dump(mode="json") for cell in plan.cells]
    asked = {"recipe": plan.hash, "given": given, "model": model.fingerprint, "limit": limit}
    place = Path(folder) if folder else Path("runs", "notebook", content_hash(asked)[:12])
    done = run(plan, place, given={spec.shown: model}, limit=limit)
    return Result.of(place, asked=done.asked, found=done.found)


def _sides(
    defences: Defended | Sequence[Defended] | Mapping[str, Defended], against: str | None
) -> list[_Side]:
    """The methods of the table, vanilla first."""
    if isinstance(defences, Defence | str):
        defences = [defences]
    if isinstance(defences, Mapping):
        sides = [_Side(name, one) for name, one in defences.items()]
    else:
        sides = [_Side(_name(one), one) for one in defences]
    if against is not None and against not in [side.shown for side in sides]:
        sides.insert(0, _Side(against, against))
    return sides


def _name(defended: Defended) -> str:
    if isinstance(defended, str):
        return canonical(defended)
    made = (defended.provenance or {}).get("method")
    return str(made or "-".join(part.kind for part in defended.parts) or "given")


def _with_given(plan: Plan, sides: Sequence[_Side], spec: ModelSpec) -> Plan:
    """The plan with the given model and defences in place of registered ones."""
    cells: list[Cell] = []
    for side in sides:
        if isinstance(side.defended, Defence):
            cells.append(side.cell(spec))
        else:
            own = [cell for cell in plan.cells if cell.method.shown == side.shown]
            cells += [replace(cell, model=spec) for cell in own]
    names = [str(cell) for cell in cells]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise RecipeError(f"{twice} is given twice", do="name them: {'first': ..., 'second': ...}")
    methods = tuple(dict.fromkeys(cell.method.shown for cell in cells))
    specs = tuple(next(c.method for c in cells if c.method.shown == name) for name in methods)
    recipe = plan.recipe.model_copy(update={"models": (spec,), "methods": specs})
    return replace(plan, recipe=recipe, cells=tuple(cells))


def _judge(
    given: str | Mapping[str, str] | None, benchmark: str, tasks: Sequence[str], model: LALM
) -> str:
    found = given if isinstance(given, str) else (given or {}).get(benchmark)
    if found is not None:
        return found
    kinds = {TASKS.get(task).kind for task in tasks if TASKS.get(task).benchmark == benchmark}
    if "chat" in kinds:
        return "reference-overlap"
    return "pocket-rules" if model.name == POCKET else "refusal-rules"
