"""Recipes: YAML in, a plan out, every name, config, folder and judge of it looked up beforehand.

A recipe says which models meet which methods under which seeds, and which tasks each such cell
answers. It is checked once, here, before anything is loaded or launched.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn, TypeAlias, TypeVar

from pydantic import BaseModel, ValidationError

from greaves.align.composition import find_method
from greaves.align.method import AlignmentMethod
from greaves.align.part import check_points
from greaves.align.stress.benign_finetuning import STRESSES
from greaves.align.stress.contract import Stress
from greaves.answer.text_tasks import TextTaskSpec, text_task_index
from greaves.base.errors import DataError, GreavesError, RecipeError
from greaves.base.records import VANILLA
from greaves.base.yaml_lines import explained, place, read_yaml
from greaves.data.task import TASKS, Task
from greaves.judge.contract import JUDGES
from greaves.judge.judging import make_judge
from greaves.models.contract import MODELS
from greaves.recipe.plan import Cell, Plan
from greaves.recipe.schema import MAX_NAME, NAME, MethodSpec, ModelSpec, Recipe

F = TypeVar("F", bound=BaseModel)
T = TypeVar("T")
Aligners: TypeAlias = tuple[AlignmentMethod[Any], list[Stress[Any]]]
Place: TypeAlias = tuple[str | int, ...]
"""Where in a recipe something stands, such as ("methods", 1, "config")."""


def read_plan(path: Path) -> Plan:
    """Read and check a recipe.

    Raises:
        RecipeError: it is not YAML, a field is wrong, or a name is unknown; the message names file,
            line and field.
    """
    node, content = read_yaml(path)
    try:
        recipe = Recipe.model_validate(content)
    except ValidationError as error:
        raise explained(path, node, error, Recipe) from None
    return check_recipe(path, node, recipe)


def check_recipe(path: Path, node: Any, recipe: Recipe) -> Plan:
    """The plan of a recipe.

    Args:
        path: its file.
        node: its YAML nodes, which know their lines.
        recipe: its fields, valid each for itself.

    Raises:
        RecipeError: a name is unknown, a config or folder is wrong, or two parts do not fit.
    """
    return _Checker(path, node, recipe).plan()


def _target(model: ModelSpec) -> Any:
    loader = MODELS.get(model.model)
    return getattr(loader, "func", loader)


def _may_be_white_box(model: ModelSpec) -> bool:
    """False for a model that is known to be a black box before it is loaded."""
    return bool(getattr(_target(model), "white_box", True))


class _Checker:
    def __init__(self, path: Path, node: Any, recipe: Recipe) -> None:
        self.path, self.node, self.recipe = path, node, recipe

    def plan(self) -> Plan:
        recipe = self.recipe
        for index, model in enumerate(recipe.models):
            self._known(MODELS.get, model.model, ("models", index))
            self._name(model.shown, ("models", index, "name"))
            self._plain(model, ("models", index, "options"))
            self._options(model, ("models", index))
            self._white_box(model, ("models", index))
        named = enumerate(recipe.tasks)
        tasks = tuple(self._known(TASKS.get, name, ("tasks", index)) for index, name in named)
        for task in tasks:
            if task.benchmark not in recipe.benchmarks:
                self._fail(f"task {task.name!r} needs benchmarks.{task.benchmark}", ("benchmarks",))
        for name, benchmark in recipe.benchmarks.items():
            where = ("benchmarks", name, "judge")
            self._known(JUDGES.get, benchmark.judge_spec.judge, where)
            self._plain(benchmark, where)
            self._judge(name, tasks, where)
        self._unique([model.shown for model in recipe.models], "models")
        for model in recipe.models:
            own = [spec.shown if self._meets(model, spec) else None for spec in recipe.methods]
            self._unique(own, "methods")
        for index, spec in enumerate(recipe.methods):
            self._models_of(index, spec)
        self._unique(recipe.tasks, "tasks", do="leave one out")
        self._unique(recipe.seeds, "seeds", do="leave one out")
        for index, text_task in enumerate(recipe.text_tasks):
            self._text_task(text_task, ("text_tasks", index))
        self._unique([*recipe.tasks, *(spec.shown for spec in recipe.text_tasks)], "text_tasks")
        aligners = [self._aligners(index, spec) for index, spec in enumerate(recipe.methods)]
        self._plain(recipe, ())
        plan = Plan(recipe, self.path, tuple(self._cells(aligners)), tasks)
        for task in tasks:
            self._folder(plan.task_data, task, ("benchmarks", task.benchmark, "data"))
        for kind in recipe.alignment_data:
            self._folder(plan.alignment_folder, kind, ("alignment_data", kind))
        return plan

    def _cells(self, aligners: list[Aligners]) -> Iterator[Cell]:
        pairs = zip(self.recipe.methods, aligners, strict=True)
        order = sorted(pairs, key=lambda pair: pair[0].method != VANILLA)
        for model in self.recipe.models:
            for spec, (aligner, stresses_) in order:
                if not self._meets(model, spec):
                    continue
                seeds = self.recipe.seeds if aligner.requires.gradients else self.recipe.seeds[:1]
                bases = {seed: Cell(model, spec, aligner, seed) for seed in seeds}
                yield from bases.values()
                for stressed, stress in zip(spec.stressed(), stresses_, strict=True):
                    for seed in self.recipe.seeds:
                        base = bases.get(seed, bases[seeds[0]])
                        yield Cell(model, stressed, stress, seed, base)

    def _aligners(self, index: int, spec: MethodSpec) -> Aligners:
        where = ("methods", index)
        self._name(spec.shown, (*where, "name"))
        self._plain(spec, (*where, "config"))
        method: type[AlignmentMethod[Any]] = self._known(find_method, spec.method, where)
        self._needs(f"method {spec.method!r}", method.requires.data, where)
        config = self._config(method.Config, spec, (*where, "config"))
        return method(config), [self._stress(index, one) for one in spec.stressed()]

    def _stress(self, index: int, spec: MethodSpec) -> Stress[Any]:
        name, known = spec.method, STRESSES
        where = ("methods", index, "stress", name)
        if name not in known:
            self._fail(f"unknown stress {name!r}", where, f"known: {', '.join(known)}")
        if len(spec.shown) > MAX_NAME:
            self._fail(f"{spec.shown!r} is too long a name", where, "give the method a shorter one")
        stress = known[name](self._config(known[name].Config, spec, where))
        for kind in (stress.requires.data, stress.reference):
            self._needs(f"stress {name!r}", kind, where)
        return stress

    def _config(self, form: type[F], spec: MethodSpec, where: Place) -> F:
        try:
            return form.model_validate(spec.config)
        except ValidationError as error:
            raise explained(self.path, self.node, error, form, where) from None

    def _needs(self, who: str, kind: str | None, where: Place) -> None:
        if kind and kind not in self.recipe.alignment_data:
            self._fail(f"{who} needs alignment_data.{kind}", where)

    def _known(self, find: Callable[[str], T], name: str, where: Place) -> T:
        with self._told_at(where):
            return find(name)

    @contextmanager
    def _told_at(self, where: Place) -> Iterator[None]:
        """Turns an error in the block into one that says where in the recipe its cause stands."""
        try:
            yield
        except GreavesError as error:
            self._fail(error.what, where, error.do)

    @staticmethod
    def _meets(model: ModelSpec, spec: MethodSpec) -> bool:
        return not spec.models or model.shown in spec.models

    def _models_of(self, index: int, spec: MethodSpec) -> None:
        known = [model.shown for model in self.recipe.models]
        for name in spec.models:
            if name not in known:
                what = f"method {spec.shown!r} is for model {name!r}, which is not in the recipe"
                self._fail(what, ("methods", index, "models"), f"it has: {', '.join(known)}")

    def _options(self, model: ModelSpec, where: Place) -> None:
        """Let a model that can say what is wrong with its options say so before it is loaded."""
        check = getattr(_target(model), "check", None)
        if check is None:
            return
        address = getattr(MODELS.get(model.model), "args", ())
        try:
            with self._told_at(where):
                check(*address, **model.options)
        except TypeError as error:
            self._fail(str(error), where)

    def _judge(self, benchmark: str, tasks: Sequence[type[Task]], where: Place) -> None:
        with self._told_at(where):
            judge = make_judge(self.recipe.benchmarks[benchmark].judge)
        for task in tasks:
            if task.benchmark == benchmark and task.kind not in judge.kinds:
                what = f"judge {judge.name!r} cannot judge {task.kind} questions ({task.name})"
                self._fail(what, where, "choose another: greaves judges")

    def _white_box(self, model: ModelSpec, where: Place) -> None:
        """Refuse methods that need what a model is known not to offer: weights, or a point."""
        black_box = not _may_be_white_box(model)
        offered = getattr(_target(model), "points", None)
        for index, spec in enumerate(self.recipe.methods):
            if not self._meets(model, spec):
                continue
            needs = self._known(find_method, spec.method, ("methods", index)).requires
            if black_box and (needs.weights or needs.gradients):
                weights = f"the weights of {model.shown!r}, which is a black box"
                do = "take the method or the model out of the recipe"
                self._fail(f"method {spec.shown!r} needs {weights}", where, do)
            if offered is not None:
                with self._told_at(where):
                    check_points(model.shown, offered, f"method {spec.shown!r}", needs.acts_on)

    def _text_task(self, spec: TextTaskSpec, where: Place) -> None:
        """Look a text task up, and refuse log-likelihoods of what is known to be a black box."""
        folder = self.path.parent / spec.include_path if spec.include_path else None
        self._known(lambda name: text_task_index(folder).check(name), spec.task, where)
        if not text_task_index(folder).output_types(spec.task) - {"generate_until", ""}:
            return
        for model in self.recipe.models:
            if not _may_be_white_box(model):
                why = f"needs log-likelihoods, and {model.shown!r} is a black box"
                do = "take the task or the model out of the recipe"
                self._fail(f"text task {spec.shown!r} {why}", where, do)

    def _unique(
        self, values: Sequence[Any], field: str, do: str = "give one a `name` of its own"
    ) -> None:
        for index, value in enumerate(values):
            if value is not None and value in values[:index]:
                self._fail(f"{value!r} occurs twice", (field, index), do)

    def _name(self, name: str, where: Place) -> None:
        if len(name) > MAX_NAME or not re.fullmatch(NAME, name):
            do = f"give it a `name` of at most {MAX_NAME} letters, digits, '.', '_', '+' and '-'"
            self._fail(f"{name[:MAX_NAME]!r} cannot be the name of a folder", where, do)

    def _plain(self, spec: BaseModel, where: Place) -> None:
        try:
            json.dumps(spec.model_dump(mode="json"), ensure_ascii=False).encode()
        except (ValueError, RecursionError) as error:
            self._fail(f"holds what cannot be written as JSON ({error})", where, "use plain values")

    def _folder(self, find: Callable[[Any], Path], name: Any, where: Place) -> None:
        try:
            find(name)
        except DataError as error:
            do = "give a folder, relative to the recipe, or 'pocket'"
            self._fail(f"{error.what}: {error.where}", where, do)

    def _fail(self, what: str, where: Place, do: str = "") -> NoReturn:
        raise RecipeError(what, where=place(self.path, self.node, where), do=do)
