"""Recipes: YAML in, a validated plan out.

A recipe says which models meet which methods under which seeds, and which tasks each such cell
answers. It is checked once, here, before anything is loaded or launched: its fields by
`recipe_forms`, what they name by `recipe_check`.
"""

from __future__ import annotations

import difflib
from importlib import resources
from pathlib import Path

from pydantic import ValidationError

from greaves.base.errors import RecipeError
from greaves.base.yaml_lines import explained, read_yaml
from greaves.recipe.plan import Cell, Plan
from greaves.recipe.schema import MAX_NAME, NAME, BenchmarkSpec, MethodSpec, ModelSpec, Recipe
from greaves.recipe.validate import check_recipe

__all__ = [
    "MAX_NAME",
    "NAME",
    "BenchmarkSpec",
    "Cell",
    "MethodSpec",
    "ModelSpec",
    "Plan",
    "Recipe",
    "find_recipe",
    "packaged",
    "read_plan",
]


def packaged() -> list[str]:
    """Names of the recipes that ship with the package."""
    folder = resources.files("greaves.recipes")
    return sorted(
        item.name.removesuffix(".yaml") for item in folder.iterdir() if item.name.endswith(".yaml")
    )


def find_recipe(name: str) -> Path:
    """A recipe file, by path or by the name of a packaged one.

    Raises:
        RecipeError: there is neither.
    """
    path = Path(name)
    if path.suffix in (".yaml", ".yml") or path.is_file():
        if not path.is_file():
            raise RecipeError("there is no such recipe file", where=name)
        return path
    known = packaged()
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"packaged ones: {', '.join(known)}"
        raise RecipeError(f"unknown recipe {name!r}", do=f"give a file, or a packaged name; {hint}")
    return Path(str(resources.files("greaves.recipes") / f"{name}.yaml"))


def read_plan(path: Path) -> Plan:
    """Read and check a recipe.

    Raises:
        RecipeError: it is not YAML, a field is wrong, or a name is unknown; the message names file,
            line and field.
    """
    node, content = read_yaml(path)
    if not isinstance(content, dict):
        raise RecipeError("a recipe is a mapping of fields", where=str(path))
    try:
        recipe = Recipe.model_validate(content)
    except ValidationError as error:
        raise explained(path, node, error, Recipe) from None
    return check_recipe(path, node, recipe)
