"""`greaves leaderboard` on a real run folder."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import typer
from made_verdicts import run_of
from typer.testing import CliRunner

from greaves.errors import GreavesError, StoreError
from greaves.leaderboards.command import leaderboard as command
from greaves.records import Question, Verdict
from greaves.run_folder import AskedQuestion, RunFolder
from greaves.store import write_json


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run folder with vanilla and rrs, as the runner leaves it."""
    write_run(tmp_path, run_of({"vanilla": (60, 5), "rrs": (10, 10)}))
    return tmp_path


def write_run(path: Path, verdicts: list[Verdict]) -> None:
    cells = sorted({(v.model, v.method, v.seed) for v in verdicts})
    facts = {"format": 1, "name": "demo", "label": "pocket", "recipe_hash": "r" * 8}
    write_json(path / "run.json", {**facts, "cells": cells})
    for model, method, seed in cells:
        cell = RunFolder(path).cell(model, method, seed)
        mine = [v for v in verdicts if (v.model, v.method, v.seed) == (model, method, seed)]
        identity = {"model": model, "method": method, "seed": seed}
        cell.write_facts({**identity, "fingerprint": "f" * 8, "defence_hash": "d" * 8})
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


def invoke(*arguments: str) -> str:
    app = typer.Typer()
    app.command()(command)
    result = CliRunner().invoke(app, list(arguments), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_command_writes_three_files_and_prints_the_table(run: Path) -> None:
    text = invoke(str(run))
    assert "Avg. NSI" in text
    assert "pocket: shows that the machinery works" in text
    page = (run / "leaderboard.md").read_text()
    assert page.startswith("# Leaderboard: demo")
    assert "recipe: rrrrrrrr" in page
    assert len(json.loads((run / "leaderboard.json").read_text())) == 14
    assert (run / "leaderboard.csv").read_text().count("\n") == 15
    assert not [path for path in run.iterdir() if path.name.endswith((".part", ".tmp"))]


def test_command_with_json_prints_json_only(run: Path) -> None:
    printed = json.loads(invoke(str(run), "--json"))
    assert printed == json.loads((run / "leaderboard.json").read_text())


def test_command_can_write_elsewhere(run: Path, tmp_path: Path) -> None:
    invoke(str(run), "--out-dir", str(tmp_path / "page"))
    assert (tmp_path / "page" / "leaderboard.md").is_file()
    assert not (run / "leaderboard.md").exists()


@pytest.mark.parametrize("judge", ["rules", "rules@1"])
def test_command_keeps_one_judge(run: Path, judge: str) -> None:
    printed = json.loads(invoke(str(run), "--json", "--judge", judge))
    assert {row["judge"] for row in printed} == {"rules@1"}


def test_command_names_the_judges_it_has(run: Path) -> None:
    with pytest.raises(GreavesError, match="by judge 'gpt'; judges: chat-llm@2, rules@1"):
        command(run, judge="gpt")


def test_command_tells_to_run_first(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="greaves run"):
        command(tmp_path)
    write_run(tmp_path, [])
    with pytest.raises(GreavesError, match="no verdicts yet; answer and judge first: greaves run"):
        command(tmp_path)
    assert not (tmp_path / "leaderboard.md").exists()
