"""Processes of their own that need not import anything: they fork from one that has done it.

A worker of pytest has one such server; it imports what it was told before its first process, so
that all tests name the same modules, here.
"""

from __future__ import annotations

import multiprocessing
import os
import pkgutil
import sys
from collections.abc import Sequence
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import greaves.align.parts
import greaves.judge.judges
import greaves.methods
import greaves.models.families
import greaves.tasks

PACKAGES = (
    *(greaves.align.parts, greaves.judge.judges, greaves.methods),
    *(greaves.models.families, greaves.tasks),
)

PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(
    [
        *("greaves.run.runner", "greaves.answer.lm_eval", "greaves.commands.cli"),
        *("transformers.trainer", "transformers.models.qwen2_audio.modeling_qwen2_audio"),
        "deepspeed",  # which the trainer imports where it is installed
        *(
            f"{package.__name__}.{module.name}"
            for package in PACKAGES
            for module in pkgutil.iter_modules(package.__path__)
        ),
    ]
)


def start_script(name: str, arguments: Sequence[object], folder: Path, path: str = "") -> Any:
    """An installed command, called as its script calls it, in a warm process.

    Args:
        name: of the console script.
        arguments: of the command.
        folder: where it works; what it says goes to `out.txt` and `err.txt` there.
        path: one more folder in which packages are installed, as PYTHONPATH names it.
    """
    process = PROCESSES.Process(
        target=_call_script, args=(name, [str(one) for one in arguments], folder, path)
    )
    process.start()
    return process


def _call_script(name: str, arguments: list[str], folder: Path, path: str) -> None:
    os.chdir(folder)
    for number, file in ((1, "out.txt"), (2, "err.txt")):
        os.dup2(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
    if path:
        sys.path.insert(0, path)
    sys.argv = [name, *arguments]
    (script,) = entry_points(group="console_scripts", name=name)
    sys.exit(script.load()())
