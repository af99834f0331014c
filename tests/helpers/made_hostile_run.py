"""A finished run folder in which every name and every text was chosen by an enemy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from greaves.base.records import Kind, Question, Response, Verdict
from greaves.base.run_folder import AskedQuestion, RunFolder
from greaves.base.store import write_json
from greaves.data.folders import EMBEDDED

CLIP = next((EMBEDDED / "aiah" / "clips").glob("*.ogg"))


def made_hostile_run(path: Path, names: list[str], texts: list[str]) -> RunFolder:
    """Two methods, a harmful and a benign task, two questions each, two judges.

    Args:
        path: the new run folder.
        names: of the model, the second method, the tasks and the second judge, in turn.
        texts: questions, responses, categories and reasons, in turn.
    """
    model, method, harmful, benign, judge = (names * 5)[:5]
    pool = iter(texts * (200 // len(texts) + 1))
    methods = list(dict.fromkeys(("vanilla", method)))
    run = RunFolder(path)
    cells: list[list[Any]] = [[model, one, 0] for one in methods]
    facts = {"format": 1, "name": names[0], "label": texts[0], "recipe_hash": texts[-1]}
    write_json(path / "run.json", {**facts, "cells": cells, "requests": ["q"] * len(cells)})
    for one in methods:
        cell = run.cell(model, one, 0)
        given = {"model": model, "method": one, "seed": 0}
        hashes = {"request": "q", "fingerprint": texts[0], "defence_hash": texts[-1]}
        cell.write_facts({**given, **hashes, "data": names[0], "data_hash": texts[0]})
        asked, responses = [], []
        tasks: dict[str, Kind] = {f"t{harmful}": "harmful", f"u{benign}": "benign"}
        for (task, kind), number in ((item, n) for item in tasks.items() for n in range(2)):
            question = Question(
                id=f"{number}{next(pool)}", task=task, task_version="1", kind=kind,
                mode="audio-text", text=next(pool), prompt=next(pool), clip=str(CLIP),
                category=next(pool),
            )  # fmt: skip
            answers = [
                Response(
                    key=f"{one}/{task}/{number}/{sample}", **given, task=task, task_version="1",
                    mode="audio-text", kind=kind, category=question.category,
                    question_id=question.id, sample=sample, sample_seed=1, text=next(pool),
                )
                for sample in range(2)
            ]  # fmt: skip
            asked.append(AskedQuestion(question=question, keys=tuple(a.key for a in answers)))
            responses += answers
        cell.write_questions(asked)
        cell.responses().append(responses)
        for name in ("rules@1", f"{judge.replace('@', '')}@2"):
            outcomes = ("refused", "answered" if "t" not in name else "refused")
            cell.verdicts(name.replace("/", "")).append(
                Verdict.of(
                    item, judge=name, reason=next(pool),
                    outcome=outcomes[item.sample] if item.kind == "benign" else "harmful",
                )
                for item in responses
            )  # fmt: skip
        state = {"stage": "failed", "words": texts[0], "host": texts[-1], "updated": 1.0}
        failure = {"what": texts[0], "where": texts[-1], "do": texts[0]}
        write_json(cell.path / "state.json", {**state, "failure": failure})
    return RunFolder.open(path)
