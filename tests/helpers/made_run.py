"""A small finished run on the pocket LALM, and ways to tamper with what was packed from it."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from small_folders import copy_questions

from greaves.leaderboards.submission.archive import unzipped, zipped

BENCHMARK = {"judge": "pocket-rules", "samples": 2, "max_new_tokens": 12}
VANILLA, OTHER = (
    "cells/000-pocket-vanilla-seed-0",
    "cells/001-pocket-other-seed-0",
)


_MADE: list[Path] = []  # one run for all test modules


def _made(factory: pytest.TempPathFactory) -> Path:
    """Two methods (the second is vanilla under another name), two tasks, eight questions."""
    from greaves.base.progress import Steps
    from greaves.recipe.reading import read_plan
    from greaves.run.runner import run

    base = factory.mktemp("small")
    recipe = {
        "name": "small",
        "label": "pocket",
        "models": ["pocket"],
        "methods": ["vanilla", {"method": "vanilla", "name": "other"}],
        "benchmarks": {"aiah": {"data": str(copy_questions(base / "aiah", 4, 4)), **BENCHMARK}},
        "tasks": ["aiah-audio-text", "aiah-over-rejection"],
    }
    path = base / "small.yaml"
    path.write_text(yaml.safe_dump(recipe))
    run(read_plan(path), base / "run", steps=Steps(plain=True))
    return base / "run"


def finished_run(factory: pytest.TempPathFactory, target: Path) -> Path:
    """A copy of the run that a test may change."""
    if not _MADE:
        _MADE.append(_made(factory))
    shutil.copytree(_MADE[0], target)
    return target


def tampered(file: Path, change: Callable[[dict[str, bytes]], None], *, sums: bool = True) -> Path:
    """Change the members of a submission.

    Args:
        sums: put the hashes of the changed members into submission.json, as a forger would.
    """
    members = unzipped(file)
    change(members)
    if sums:
        manifest = json.loads(members["submission.json"])
        manifest["files"] = {
            name: hashlib.sha256(data).hexdigest()
            for name, data in members.items()
            if name != "submission.json"
        }
        members["submission.json"] = json.dumps(manifest).encode()
    target = file.with_name(f"tampered-{file.name}")
    target.write_bytes(zipped(members))
    return target


def edit_lines(
    member: str, change: Callable[[list[dict[str, Any]]], Any]
) -> Callable[[dict[str, bytes]], None]:
    """A change of the records of one member, for `tampered`."""

    def edit(members: dict[str, bytes]) -> None:
        lines = [json.loads(line) for line in members[member].splitlines()]
        change(lines)
        members[member] = "".join(f"{json.dumps(line)}\n" for line in lines).encode()

    return edit


def edit_json(member: str, change: Callable[[Any], Any]) -> Callable[[dict[str, bytes]], None]:
    """A change of one JSON member, for `tampered`."""

    def edit(members: dict[str, bytes]) -> None:
        content = json.loads(members[member])
        change(content)
        members[member] = json.dumps(content).encode()

    return edit
