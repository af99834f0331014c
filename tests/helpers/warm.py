"""Processes of their own that need not import anything: they fork from one that has done it.

A worker of pytest has one such server; it imports what it was told before its first process, so
that all tests name the same modules, here.
"""

from __future__ import annotations

import multiprocessing
import pkgutil

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
