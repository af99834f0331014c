"""One cell's failure is its own; and what `greaves status` says of it and of others."""

from __future__ import annotations

import json
import multiprocessing
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from greaves.base.progress import Steps
from greaves.commands import status as status_command
from greaves.recipe.reading import read_plan
from greaves.run.cell_state import CellSteps, Failure, Reporter, read_state
from greaves.run.runner import run

BROKEN = {"epochs": 1, "batch_size": 4, "learning_rate": 1e30, "max_grad_norm": 1e30}


@pytest.fixture
def recipe(write_recipe: Callable[..., Path], alignment_folders: dict[str, Path]) -> Path:
    """Vanilla, and a method whose loss is no number, with a stress that waits for its defence."""
    broken = {"method": "rrs", "config": {**BROKEN, "epochs": 2}, "stress": "benign-finetuning"}
    return write_recipe(
        methods=[broken, "vanilla", "system-prompt"],
        alignment_data={kind: str(folder) for kind, folder in alignment_folders.items()},
        tasks=["aiah-text-only"],
    )


def rows(folder: Path) -> dict[str, dict[str, Any]]:
    return {row["method"]: row for row in status_command.statuses(folder)}


def test_a_cell_that_fails_leaves_the_others_alone_and_is_tried_again(
    recipe: Path, greaves: Any, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    status, _, err = greaves("run", recipe, "--run-dir", folder)
    assert status == 2
    assert "Traceback" not in err
    assert "pocket / rrs / seed 0: failed: the loss is nan at step 2 (batch: " in err
    last = err.splitlines()[-1]
    assert "2 of 4 cells failed: pocket / rrs / seed 0, pocket / rrs~benign-finetuning" in last
    assert f"see why: greaves status {folder}" in last
    found = rows(folder)
    assert {name: row["state"] for name, row in found.items()} == {
        "vanilla": "done",
        "system-prompt": "done",
        "rrs": "failed",
        "rrs~benign-finetuning": "failed",
    }
    assert "the loss is nan" in found["rrs"]["failure"]
    assert "lower learning_rate" in found["rrs"]["failure"]
    assert "its defence could not be made" in found["rrs~benign-finetuning"]["failure"]
    assert (found["vanilla"]["responses"], found["vanilla"]["wanted"]) == (8, 8)

    content = yaml.safe_load(recipe.read_text())
    content["methods"][0] = {"method": "rrs", "config": {**BROKEN, "learning_rate": 1e-3}}
    recipe.write_text(yaml.safe_dump(content))
    assert greaves("run", recipe, "--run-dir", folder, "--only", "rrs")[0] == 0
    assert rows(folder)["rrs"]["state"] == "done"
    assert rows(folder)["rrs"]["failure"] == ""


def test_a_mistake_that_every_cell_would_meet_stops_the_run_at_once(
    write_recipe: Callable[..., Path], greaves: Any, tmp_path: Path
) -> None:
    wrong = {"model": "pocket", "options": {"no_such_option": 1}}
    recipe = write_recipe(models=[wrong], methods=["vanilla", "system-prompt"])
    status, _, err = greaves("run", recipe, "--run-dir", tmp_path / "run")
    assert status == 2
    assert "no_such_option" in err.splitlines()[-1]
    assert "cells failed" not in err
    assert rows(tmp_path / "run")["system-prompt"]["state"] == "waiting"


def test_running_out_of_memory_is_said_in_a_line() -> None:
    assert str(Failure.of(MemoryError()).error).startswith("out of memory; lower batch_size")


def run_quietly(recipe: Path, folder: Path) -> None:
    run(read_plan(recipe), folder, steps=Steps(plain=True))


def test_a_run_that_was_killed_shows_as_stopped_and_one_at_work_by_its_progress(
    write_recipe: Callable[..., Path],
    tmp_path: Path,
    greaves: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder, place = tmp_path / "run", tmp_path / "run/cells/pocket/vanilla/seed-0"
    monkeypatch.setattr("greaves.run.cell_state.EVERY", 0.0)
    context = multiprocessing.get_context("fork")
    process = context.Process(target=run_quietly, args=(write_recipe(batch_size=1), folder))
    process.start()
    while (state := read_state(place)) is None or state.answered < 4:
        time.sleep(0.02)
        assert process.is_alive()
    at_work = rows(folder)["vanilla"]
    process.kill()
    process.join()
    assert at_work["state"] == "answering"
    assert 4 <= at_work["done"] <= at_work["total"] == 24
    assert at_work["per_second"] > 0
    assert at_work["seconds_left"] is not None
    monkeypatch.setattr(status_command, "SILENT", 0.0)
    status, out, _ = greaves("status", folder, "--json")
    assert (status, json.loads(out)[0]["state"]) == (0, "stopped")
    _, out, _ = greaves("status", folder)
    assert "stopped" in out
    assert "1 cells: 1 stopped" in out


def test_signs_of_life_are_given_while_nothing_moves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("greaves.run.cell_state.HEARTBEAT", 0.05)
    with Reporter(tmp_path) as reporter:
        reporter.stage("answering")
        first = read_state(tmp_path)
        time.sleep(0.3)
        second = read_state(tmp_path)
    assert first is not None
    assert second is not None
    assert second.updated > first.updated
    assert (second.since, second.process) == (first.since, os.getpid())


def test_progress_is_shown_and_reported(tmp_path: Path) -> None:
    steps = CellSteps(Steps(plain=True))
    with steps.of(tmp_path) as reporter:
        reporter.stage("aligning")
        steps.update("pocket / rrs / seed 0: fine-tuning", 3, 3)
        state = read_state(tmp_path)
    assert state is not None
    assert (state.stage, state.words, state.done, state.total) == ("aligning", "fine-tuning", 3, 3)


def test_a_folder_without_a_run_is_refused(greaves: Any, tmp_path: Path) -> None:
    status, _, err = greaves("status", tmp_path)
    assert status == 2
    assert "there is no run in this folder" in err
