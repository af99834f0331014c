"""Run folders of other versions: read where they can be, refused by name where they cannot."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from made_faults import Write, by_key

from greaves.base.errors import StoreError
from greaves.base.run_folder import FORMAT, RunFolder


@pytest.fixture
def older(greaves: Any, write_recipe: Write, tmp_path: Path) -> tuple[Path, Path]:
    """A recipe and its run, as the first version of Greaves would have left it."""
    recipe = write_recipe(tasks=["aiah-text-only"])
    folder = tmp_path / "run"
    assert greaves("run", recipe, "--run-dir", folder)[0] == 0
    change(folder / "run.json", *("requests", "machine", "earlier_versions", "versions"))
    (cell,) = folder.rglob("cell.json")
    change(cell, "request")
    for name in ("judges.json", "cells/pocket/vanilla/seed-0/state.json"):
        (folder / name).unlink()
    (verdicts,) = folder.rglob("verdicts*.jsonl")
    rows = [json.loads(line) for line in verdicts.read_text().splitlines()]
    for row in rows:
        del row["question_hash"]
    verdicts.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return recipe, folder


def change(path: Path, *without: str, **fields: Any) -> None:
    content = json.loads(path.read_text())
    for name in without:
        content.pop(name, None)
    path.write_text(json.dumps({**content, **fields}))


def test_the_first_layout_is_shown_and_goes_on_without_asking_again(
    older: tuple[Path, Path], greaves: Any
) -> None:
    recipe, folder = older
    before = by_key(folder)
    for command in ("leaderboard", "status"):
        status, out, err = greaves(command, folder)
        assert status == 0, err
        assert "vanilla" in out
    status, out, err = greaves("run", recipe, "--run-dir", folder)
    assert status == 0, err
    assert f"0 responses asked for, {len(before)} found" in out
    assert by_key(folder) == before
    assert RunFolder.open(folder).outdated() == []
    content = json.loads((folder / "run.json").read_text())
    assert content["format"] == FORMAT
    assert len(content["requests"]) == 1


@pytest.mark.parametrize(
    ("version", "words", "what_to_do"),
    [
        (
            FORMAT + 1,
            f"layout {FORMAT + 1}, this Greaves reads {FORMAT}",
            "upgrade Greaves, or put",
        ),
        (0, "layout unknown", "put it aside: greaves run --fresh"),
        (None, "layout unknown", "put it aside: greaves run --fresh"),
        ("one", "layout one", "put it aside: greaves run --fresh"),
    ],
)
def test_another_layout_is_refused_by_name_and_left_as_it_is(
    version: Any, words: str, what_to_do: str, greaves: Any, write_recipe: Write, tmp_path: Path
) -> None:
    folder, recipe = tmp_path / "run", write_recipe(tasks=["aiah-text-only"])
    folder.mkdir()
    content = {"name": "small", "label": "", "recipe_hash": "", "cells": [], "requests": []}
    (folder / "run.json").write_text(json.dumps({**content, "format": version}))
    with pytest.raises(StoreError):
        RunFolder.open(folder)
    before = (folder / "run.json").read_bytes()
    for arguments in (("run", recipe, "--run-dir", folder), ("leaderboard", folder)):
        status, _, err = greaves(*arguments)
        assert status == 2
        assert len(err.splitlines()) == 1
        assert words in err
        assert what_to_do in err
    assert (folder / "run.json").read_bytes() == before


def test_a_layout_without_its_number_is_refused(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text("{}")
    with pytest.raises(StoreError, match="layout unknown"):
        RunFolder.open(tmp_path)
