"""The recipes that ship with the package: where they lie, and what is in them, read lightly."""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import Any

import yaml

from greaves.base.errors import DataError, RecipeError
from greaves.base.registry import registry
from greaves.base.sources import keyword_of
from greaves.base.text import hint
from greaves.data.folders import data_folder


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
    if name not in (known := packaged()):
        do = f"give a file, or a packaged name; {hint(name, known, all_of='packaged ones')}"
        raise RecipeError(f"unknown recipe {name!r}", do=do)
    return Path(str(resources.files("greaves.recipes") / f"{name}.yaml"))


def outline(name: str) -> dict[str, Any]:
    """A packaged recipe's numbers of cells and tasks, or the data folder that it lacks.

    Counts what `read_plan` would, without checking the recipe or importing a method.
    """
    path = find_recipe(name)
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    row = {"name": name, "cells": "", "tasks": "", "needs": ""}
    parts = {part: spec["data"] for part, spec in content["benchmarks"].items()}
    try:
        for part, data in {**parts, **content.get("alignment_data", {})}.items():
            data_folder(data, part, path.parent)
    except DataError as error:  # a paper's data are not in the package
        return {**row, "needs": f"{error.what}: {error.where}"}
    seeds = len(content.get("seeds", [0]))
    cells = sum(
        _cells({"method": spec} if isinstance(spec, str) else spec, seeds, len(content["models"]))
        for spec in content["methods"]
    )
    return {**row, "cells": cells, "tasks": len(content["tasks"])}


def _cells(spec: dict[str, Any], seeds: int, models: int) -> int:
    """Cells of one method: several seeds if it trains, and one for each seed of each stress."""
    known = registry("method").built_in
    names = [name.strip() for name in spec["method"].split("+")]
    trains = any(keyword_of(known[name].source, "Requirements", "gradients") for name in names)
    stress = spec.get("stress", {})
    stresses = 1 if isinstance(stress, str) else len(stress)
    return len(spec.get("models", range(models))) * ((seeds if trains else 1) + stresses * seeds)
