"""A judge added to a finished run leaves the tables of the recipe's own judges as they were."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture
def run(greaves: Any, write_recipe: Any, tmp_path: Path) -> Path:
    folder = tmp_path / "run"
    assert greaves("run", write_recipe(), "--run-dir", folder)[0] == 0
    return folder


def judges_shown(greaves: Any, run: Path, *options: str) -> set[str]:
    status, out, _ = greaves("leaderboard", run, "--json", *options)
    assert status == 0
    return {row["judge"] for row in json.loads(out)}


def test_tables_show_a_second_opinion_only_when_asked(greaves: Any, run: Path) -> None:
    before = greaves("leaderboard", run, "--json")[1]
    status, out, _ = greaves("judge", run, "--judge", "refusal-rules")
    assert status == 0
    assert "refusal-rules@1: 24 responses judged now" in out
    assert greaves("leaderboard", run, "--json")[1] == before
    assert judges_shown(greaves, run) == {"pocket-rules@1"}
    assert judges_shown(greaves, run, "--judge", "refusal-rules") == {"refusal-rules@1"}
    assert "second opinions are not shown: refusal-rules@1" in greaves("leaderboard", run)[1]
    assert greaves("leaderboard", run, "--published")[0] == 0
    agreement = greaves("agreement", run)[1]
    assert "pocket-rules@1 (A) and refusal-rules@1 (B)" in agreement


def test_the_recipes_own_judge_is_no_second_opinion(greaves: Any, run: Path) -> None:
    assert greaves("judge", run, "--judge", "pocket-rules")[0] == 0
    assert judges_shown(greaves, run) == {"pocket-rules@1"}
    assert "second opinions" not in greaves("leaderboard", run)[1]
