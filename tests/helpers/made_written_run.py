"""A run folder as the runner leaves it, made of verdicts."""

from __future__ import annotations

from pathlib import Path

from greaves.base.records import Question, Verdict
from greaves.base.run_folder import AskedQuestion, RunFolder
from greaves.base.store import write_json


def write_run(path: Path, verdicts: list[Verdict]) -> None:
    cells = sorted({(v.model, v.method, v.seed) for v in verdicts})
    facts = {"format": 1, "name": "demo", "label": "pocket", "recipe_hash": "r" * 8}
    write_json(path / "run.json", {**facts, "cells": cells, "requests": ["q"] * len(cells)})
    for model, method, seed in cells:
        cell = RunFolder(path).cell(model, method, seed)
        mine = [v for v in verdicts if (v.model, v.method, v.seed) == (model, method, seed)]
        identity = {"model": model, "method": method, "seed": seed}
        cell.write_facts(
            {**identity, "request": "q", "fingerprint": "f" * 8, "defence_hash": "d" * 8}
        )
        cell.write_questions(asked(mine))
        for judge in {v.judge for v in mine}:
            cell.verdicts(judge).append(v for v in mine if v.judge == judge)


def asked(verdicts: list[Verdict]) -> list[AskedQuestion]:
    return [
        AskedQuestion(
            question=Question(
                id=v.question_id,
                task=v.task,
                task_version=v.task_version,
                kind=v.kind,
                mode=v.mode,
                text="a question",
            ),
            keys=(v.key,),
        )
        for v in verdicts
    ]
