"""Modules under their names of version 0.1, kept for one release with a DeprecationWarning."""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.machinery
import warnings
from collections.abc import Sequence
from types import ModuleType
from typing import Any

MOVED: dict[str, tuple[str, ...]] = {
    "greaves.defence": (
        "greaves.align.defence",
        "greaves.align.part",
        "greaves.align.parts.lora",
        "greaves.align.parts.prompt_suffix",
        "greaves.align.parts.system_prompt",
    ),
    "greaves.errors": ("greaves.base.errors",),
    "greaves.judges.base": ("greaves.judge.contract",),
    "greaves.method": ("greaves.align.method",),
    "greaves.models.base": ("greaves.models.contract", "greaves.base.conversation"),
    "greaves.records": ("greaves.base.records",),
    "greaves.registry": (
        "greaves.base.registry",
        "greaves.align.method",
        "greaves.data.task",
        "greaves.models.contract",
        "greaves.judge.contract",
    ),
    "greaves.steering": ("greaves.align.parts.steering",),
    "greaves.task": ("greaves.data.task", "greaves.base.conversation"),
}
"""Old module -> the modules that have its names now. Goes in version 0.3."""


class Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds a module under its old name, after all other finders have failed."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname not in MOVED and fullname != "greaves.judges":
            return None
        parent = any(old.startswith(f"{fullname}.") for old in MOVED)
        return importlib.machinery.ModuleSpec(fullname, self, is_package=parent)

    def exec_module(self, module: ModuleType) -> None:
        """Fill the old module with a look-up in the new ones."""
        homes = MOVED.get(module.__name__)
        if homes is None:
            return
        said = f"{module.__name__} is now {homes[0]}; the old name goes in version 0.3"
        warnings.warn(said, DeprecationWarning, stacklevel=2)

        def look_up(name: str) -> Any:
            for home in map(importlib.import_module, homes):
                if hasattr(home, name):
                    return getattr(home, name)
            raise AttributeError(f"module {module.__name__!r} has no attribute {name!r}")

        module.__getattr__ = look_up  # type: ignore[method-assign]
