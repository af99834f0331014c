"""`greaves.Recipe`: a whole matrix of models, methods and tasks, read, checked and run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from pydantic import ValidationError

from greaves.api.result import Result
from greaves.base.progress import Steps
from greaves.base.yaml_lines import explained
from greaves.recipe import schema
from greaves.recipe.packaged import find_recipe
from greaves.recipe.plan import Plan
from greaves.recipe.reading import check_recipe, read_plan
from greaves.run.runner import run

HERE = "recipe"
"""Stands for the file of a recipe that was never one."""


@dataclass(frozen=True)
class Recipe:
    """A checked recipe.

    Attributes:
        plan: its cells and tasks.

    Example:
        >>> result = greaves.Recipe.read("pocket").run("runs/pocket")  # doctest: +SKIP
        >>> print(result)  # doctest: +SKIP
    """

    plan: Plan

    @classmethod
    def read(cls, name: str | Path) -> Self:
        """Reads a recipe file, or the packaged recipe of that name.

        Raises:
            RecipeError: there is none, or it is wrong; the message names file, line and field.
        """
        return cls(read_plan(find_recipe(str(name))))

    @classmethod
    def of(cls, fields: dict[str, Any]) -> Self:
        """Takes the fields of a recipe file (docs/recipes.md); folders are relative to the cwd.

        Raises:
            RecipeError: a field is wrong, or a name unknown.
        """
        try:
            return cls(check_recipe(Path.cwd() / HERE, None, schema.Recipe.model_validate(fields)))
        except ValidationError as error:
            raise explained(Path(HERE), None, error, schema.Recipe) from None

    def run(
        self,
        folder: str | Path | None = None,
        *,
        fresh: bool = False,
        only: Sequence[str] = (),
        steps: Steps | None = None,
    ) -> Result:
        """Runs the recipe, or carries on where the last run stopped; nothing is asked twice.

        Args:
            folder: the run folder; by default `runs/<name of the recipe>`.
            fresh: put an earlier run aside and start over.
            only: names of models, methods or tasks; the others are left alone.
            steps: where progress is shown.

        Raises:
            CellsFailedError: some cells failed; the others were finished.
            GreavesError: the folder is locked, or the recipe or its data are broken.
        """
        place = Path(folder) if folder is not None else Path("runs") / self.plan.recipe.name
        done = run(self.plan, place, fresh=fresh, only=only, steps=steps)
        return Result.of(place, asked=done.asked, found=done.found)
