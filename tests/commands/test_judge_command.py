"""`greaves judge`: a second opinion beside the first, which it leaves alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import typer
from made_judge_server import judge_server, outcome_by_rule
from made_judged_run import contents, made_run
from typer.testing import CliRunner

from greaves.base.errors import GreavesError
from greaves.base.lock import lock
from greaves.commands.judge import judge as command

app = typer.Typer()
app.command()(command)


def second(run: Path, *arguments: object) -> dict[str, Any]:
    result = CliRunner().invoke(
        app, [str(run), *map(str, arguments), "--json"], catch_exceptions=False
    )
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def test_a_second_judge_judges_what_it_can_and_changes_nothing_else(tmp_path: Path) -> None:
    folder = made_run(tmp_path)
    before = contents(tmp_path, "*.jsonl")
    found = second(tmp_path, "--judge", "refusal-rules")
    assert (found["judged"], found["unscored"]) == (16, 0)
    assert found["outcomes"] == {"answered": 6, "harmful": 2, "refused": 8}
    after = contents(tmp_path, "*.jsonl")
    assert {name: after[name] for name in before} == before
    assert {verdict.task for verdict in folder.verdicts() if "refusal" in verdict.judge} == {
        "aiah-audio-text",
        "aiah-benign",
    }
    noted = folder.judges()["refusal-rules@1"]
    assert noted == {
        "name": "refusal-rules", "version": "1", "settings": {}, "second_opinion": True
    }  # fmt: skip
    assert "second_opinion" not in folder.judges()["pocket-rules@1"]
    assert second(tmp_path, "--judge", "refusal-rules")["judged"] == 0


def test_only_some_tasks_and_options_in_both_forms(tmp_path: Path) -> None:
    folder = made_run(tmp_path)
    with judge_server(outcome_by_rule) as server:
        found = second(
            tmp_path, "--judge", f"llm:{server.address}", "--task", "aiah-benign",
            "--options", '{"retries": 0, "temperature": 0.5}', "--options", "structured=never",
            "--options", "longest=500",
        )  # fmt: skip
    assert found["judged"] == len(server.requests) == 8
    assert found["usage"]["requests"] == 8
    settings = folder.judges()[found["judge"]]["settings"]
    assert (settings["temperature"], settings["longest"]) == (0.5, 500)
    assert all("response_format" not in request for request in server.requests)
    assert json.loads((tmp_path / "cells/m/vanilla/seed-0/usage.json").read_text())


def test_unscored_is_asked_again_by_the_same_command(tmp_path: Path) -> None:
    made_run(tmp_path)
    up = False
    with judge_server(lambda shown: outcome_by_rule(shown) if up else 503) as server:
        call = ("--judge", f"llm:{server.address}", "--options", "retries=0")
        call += ("--task", "aiah-audio-text")
        down = second(tmp_path, *call)
        result = CliRunner().invoke(app, [str(tmp_path), *call], catch_exceptions=False)
        up = True
        found = second(tmp_path, *call)
    assert (down["judged"], down["outcomes"]) == (8, {"unscored": 8})
    assert "unscored, most often: the server answered 503" in result.stdout
    assert "the same command asks for them again" in result.stdout
    assert (found["judged"], found["outcomes"]) == (8, {"harmful": 2, "refused": 4, "answered": 2})


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ({"judge": "refusal-rule"}, "unknown judge 'refusal-rule'; did you mean 'refusal-rules'?"),
        ({"judge": "refusal-rules", "task": ["x"]}, "--task x: the run has no such task"),
        ({"judge": "refusal-rules", "task": ["chat"]}, "judges benign and harmful questions"),
        ({"judge": "refusal-rules", "options": ["x=1"]}, "judge 'refusal-rules': "),
        ({"judge": "refusal-rules", "options": ["x"]}, "neither a JSON object nor key=value"),
        ({"judge": "refusal-rules", "options": ["{x"]}, "--options: not JSON"),
        ({"judge": "llm"}, "write llm:MODEL@URL"),
    ],
)
def test_mistakes_are_told_in_one_line(
    tmp_path: Path, arguments: dict[str, Any], line: str
) -> None:
    made_run(tmp_path)
    with pytest.raises(GreavesError) as error:
        command(tmp_path, **arguments)
    assert line in str(error.value)


def test_a_run_that_is_being_written_is_left_alone(tmp_path: Path) -> None:
    made_run(tmp_path)
    with lock(tmp_path), pytest.raises(GreavesError, match="is writing to this folder"):
        command(tmp_path, judge="refusal-rules")
