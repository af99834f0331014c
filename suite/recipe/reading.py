"""Recipes: YAML in, a validated plan out.

A recipe says which models meet which methods under which seeds, and which tasks each such cell
answers. It is checked once, here, before anything is loaded or launched: its fields by
`recipe_forms`, what they name by `recipe_check`.
"""

from __future__ import annotations

from pathlib import Path

from pydantic import ValidationError

from greaves.base.errors import RecipeError
from greaves.base.yaml_lines import explained, read_yaml
from greaves.recipe.packaged import find_recipe, packaged
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
