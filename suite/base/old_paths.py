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
        "greaves.align.parts.merged_lora",
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


class Finder(importlib.abc.MetaPathFinder):
    """Finds a module under its old name, after all other finders have failed."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """See `importlib.abc.MetaPathFinder`."""
        parent = any(old.startswith(f"{fullname}.") for old in MOVED)
        if fullname not in MOVED and not (parent and fullname == "greaves.judges"):
            return None
        return importlib.machinery.ModuleSpec(fullname, _Loader(), is_package=parent)


class _Loader(importlib.abc.Loader):
    def exec_module(self, module: ModuleType) -> None:
        """Fill the old module with a look-up in the new ones."""
        homes = MOVED.get(module.__name__)
        if homes is None:
            return
        warnings.warn(
            f"{module.__name__} is now {homes[0]}; the old name goes in version 0.3",
            DeprecationWarning,
            stacklevel=2,
        )

        def look_up(name: str) -> Any:
            for home in homes:
                found = importlib.import_module(home)
                if hasattr(found, name):
                    return getattr(found, name)
            raise AttributeError(f"module {module.__name__!r} has no attribute {name!r}")

        module.__getattr__ = look_up  # type: ignore[method-assign]
