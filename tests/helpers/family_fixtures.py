"""Tiny checkpoints of all families, each built and loaded once, and clips they hear.

A plug-in of the test files that use it, not a `conftest`: a second module of that name would hide
the one that other tests import from.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from greaves.data.folders import EMBEDDED


@pytest.fixture(scope="session")
def clips() -> list[str]:
    """Three clips that say different things."""
    folder = EMBEDDED / "aiah"
    rows = [json.loads(line) for line in (folder / "questions.jsonl").read_text().splitlines()]
    return [str(folder / row["clip"]) for row in rows if row["kind"] == "benign"][:3]


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Folder of a family's tiny checkpoint, by registered name."""
    from tiny_families import FAMILIES

    made: dict[str, Path] = {}

    def folder(name: str) -> Path:
        if name not in made:
            made[name] = tmp_path_factory.mktemp(name)
            FAMILIES[name](made[name])
        return made[name]

    return folder


@pytest.fixture(scope="session")
def tiny(tiny_folder: Callable[[str], Path]) -> Callable[[str], Any]:
    """A family's tiny checkpoint without a system turn of its own, by registered name."""
    from greaves.models.contract import MODELS

    loaded: dict[str, Any] = {}

    def model(name: str) -> Any:
        if name not in loaded:
            target = MODELS.get(name)
            loaded[name] = target(
                path=str(tiny_folder(name)), device="cpu", dtype="float32", system="none"
            )
        return loaded[name]

    return model
