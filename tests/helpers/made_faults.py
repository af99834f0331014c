"""What the tests of faults share: runs in processes that may be killed, and what they left."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from warm import PROCESSES

Write = Callable[..., Path]

RRS: dict[str, Any] = {"epochs": 2, "batch_size": 8, "learning_rate": 1e-3}
"""A fine-tuning of a few steps."""


def run_recipe(recipe: Path, folder: Path) -> None:
    """What `greaves run` does; at module level so that another process can be told to do it."""
    import torch

    from greaves.base.errors import GreavesError
    from greaves.base.progress import Steps
    from greaves.recipe.reading import read_plan
    from greaves.run.runner import run

    torch.set_num_threads(1)
    try:
        run(read_plan(recipe), folder, steps=Steps(plain=True))
    except GreavesError as error:
        print(f"greaves: {error}", file=sys.stderr)
        sys.exit(2)


def started(log: Path, work: Callable[..., None], *arguments: object) -> Any:
    """Work in a process of its own, what it says on stderr kept in a file."""
    process = PROCESSES.Process(target=_logged, args=(log, work, *arguments))
    process.start()
    return process


def _logged(log: Path, work: Callable[..., None], *arguments: object) -> None:
    with log.open("w") as file:
        os.dup2(file.fileno(), 2)
    work(*arguments)


def start(recipe: Path, folder: Path) -> Any:
    """A run in a process of its own."""
    return started(folder.with_suffix(".log"), run_recipe, recipe, folder)


def finish(recipe: Path, folder: Path) -> None:
    """A run to its end, in a process of its own."""
    process = start(recipe, folder)
    process.join(300)
    assert process.exitcode == 0, folder.with_suffix(".log").read_text()


def rows(folder: Path, pattern: str) -> list[dict[str, Any]]:
    """All lines of the files of a run; each must be whole."""
    return [
        json.loads(line)
        for path in sorted(folder.rglob(pattern))
        for line in path.read_text().splitlines()
    ]


def by_key(folder: Path, pattern: str = "responses.jsonl") -> dict[str, str]:
    """What a run holds by key; no key may be there twice."""
    field = "text" if pattern == "responses.jsonl" else "outcome"
    found = rows(folder, pattern)
    keys = [(row["key"], row.get("judge", "")) for row in found]
    assert len(set(keys)) == len(keys)
    return {row["key"]: row[field] for row in found}


def whole_rows(folder: Path) -> dict[str, str]:
    """Responses whose line is whole; a last half line may be there."""
    found: dict[str, str] = {}
    for path in folder.rglob("responses.jsonl"):
        data = path.read_bytes()
        for line in data[: data.rfind(b"\n") + 1].splitlines():
            row = json.loads(line)
            assert row["key"] not in found
            found[row["key"]] = row["text"]
    return found


@contextmanager
def small_disk(folder: Path, size: str) -> Iterator[Path]:
    """A disk of its own, mounted at `folder`; the test is skipped where none may be mounted."""
    import pytest

    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size},mode=777", "tmpfs", str(folder)]
    for prefix in ([], ["sudo", "-n"]):
        if shutil.which((prefix or mount)[0]) is None:
            continue
        if subprocess.run([*prefix, *mount], capture_output=True).returncode == 0:
            break
    else:
        pytest.skip("no disk may be mounted here")
    try:
        yield folder
    finally:
        subprocess.run([*prefix, "umount", "-l", str(folder)], check=True)
