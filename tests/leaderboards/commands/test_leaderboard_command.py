"""`greaves leaderboard` on a real run folder."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import typer
from made_verdicts import run_of
from made_written_run import write_run
from typer.testing import CliRunner

from greaves.base.errors import GreavesError, StoreError
from greaves.leaderboards.commands.leaderboard import leaderboard as command


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run folder with vanilla and rrs, as the runner leaves it."""
    write_run(tmp_path, run_of({"vanilla": (60, 5), "rrs": (10, 10)}))
    return tmp_path


def invoke(*arguments: str) -> str:
    app = typer.Typer()
    app.command()(command)
    result = CliRunner().invoke(app, list(arguments), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_command_writes_its_files_and_prints_the_table(run: Path) -> None:
    text = invoke(str(run))
    assert "Avg. NSI" in text
    assert "pocket: shows that the machinery works" in text
    page = (run / "leaderboard.md").read_text()
    assert page.startswith("# Leaderboard: demo")
    assert "recipe: rrrrrrrr" in page
    assert len(json.loads((run / "leaderboard.json").read_text())) == 14
    assert (run / "leaderboard.csv").read_text().count("\n") == 15
    assert "\\toprule" in (run / "leaderboard.tex").read_text()
    tests = (run / "leaderboard.tests.csv").read_text().splitlines()
    assert len(tests) == 1 + 5  # one of two methods against the other: 3 x ASR, ORR, HS
    assert "smallest paired difference found with 80 % power" in page
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


def test_command_sets_the_run_beside_the_published_tables(run: Path) -> None:
    text = invoke(str(run), "--published")
    assert "Table 4" in text
    page = (run / "leaderboard.published.md").read_text()
    assert "| qwen2-audio | rrs | paper |" in page
    assert "| qwen2-audio | rrs | this run |" in page
    assert "labelled: pocket" in page
    (table,) = json.loads(invoke(str(run), "--table", "3", "--json"))
    assert table["table"] == "3"
    assert not (run / "leaderboard.md").exists()
