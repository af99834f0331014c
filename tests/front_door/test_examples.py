"""Every example of the front door runs from top to bottom, and so does the notebook."""

from __future__ import annotations

import json
import re
import runpy
from pathlib import Path
from typing import Any

import pytest

from greaves.base.registry import registry

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"


@pytest.fixture(autouse=True)
def _nothing_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs in an empty folder; what an example registers goes with the test."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(registry("method"), "_entries", dict(registry("method")._entries))


def run(name: str) -> dict[str, Any]:
    return runpy.run_path(str(EXAMPLES / name), run_name="__main__")


def values(result: Any, method: str) -> dict[str, float]:
    return {row.metric: row.value for row in result.rows if row.method == method}


def test_align_and_evaluate(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from greaves import Defence

    left = run("align_and_evaluate.py")
    assert {"asr", "orr", "nsi"} <= values(left["result"], "rrs").keys()
    assert Defence.load(tmp_path / "defences" / "rrs").hash == left["defence"].hash
    assert (tmp_path / "align_and_evaluate.html").stat().st_size > 100_000
    assert "Avg. NSI" in capsys.readouterr().out


def test_own_method_asks_vanilla_only_once() -> None:
    left = run("own_method.py")
    assert (left["first"].asked, left["second"].asked, left["second"].found) == (40, 20, 20)
    assert values(left["first"], "vanilla") == values(left["second"], "vanilla")
    assert registry("method").get("my-prompt").version == "2"


def test_own_questions(tmp_path: Path) -> None:
    result = run("own_questions.py")["result"]
    assert {row.n_questions for row in result.rows if row.metric in ("asr", "orr")} == {6}
    assert {row.method for row in result.rows} == {"vanilla", "system-prompt", "adashield-style"}


def test_second_opinion(capsys: pytest.CaptureFixture[str]) -> None:
    run("second_opinion.py")
    out = capsys.readouterr().out
    assert "Alpha" in out
    assert "judge pocket-rules@" in out
    assert "judge refusal-rules@" in out


def test_compare_two_runs(capsys: pytest.CaptureFixture[str]) -> None:
    run("compare_two_runs.py")
    assert "95 % interval" in capsys.readouterr().out


def test_the_notebook_runs_cell_by_cell_and_again(tmp_path: Path) -> None:
    notebook = json.loads((EXAMPLES / "first_hour.ipynb").read_text(encoding="utf-8"))
    assert (notebook["nbformat"], notebook["nbformat_minor"]) == (4, 5)
    assert len({cell["id"] for cell in notebook["cells"]}) == len(notebook["cells"])
    cells = ["".join(one["source"]) for one in notebook["cells"] if one["cell_type"] == "code"]
    assert all(not one.get("outputs") for one in notebook["cells"])
    names: dict[str, Any] = {"__name__": "__main__"}
    for cell in cells:
        exec(compile(cell, "first_hour.ipynb", "exec"), names)
    assert {row.method for row in names["result"].rows} == {
        "vanilla",
        "mine",
        "system-prompt",
        "rrs",
    }
    assert (tmp_path / "first_hour.html").is_file()
    [own] = [cell for cell in cells if "register_method" in cell]
    exec(own.replace("Refuse what could do harm.", "Be brief."), names)
    again = names["greaves"].evaluate(names["model"], "mine", names["tasks"], **names["few"])
    assert again.asked > 0


def test_the_lines_in_the_readme_run(capsys: pytest.CaptureFixture[str]) -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    lines = re.findall(r"```python\n(import greaves\n.*?)```", text, re.DOTALL)[0]
    assert len(lines.strip().splitlines()) <= 10
    small = lines.replace('"mirror")', '"mirror", limit=16)').replace(
        "tasks=tasks", "tasks=tasks, samples=1, limit=6, max_new_tokens=32"
    )
    assert small.count("limit=") == 2
    exec(compile(small, "README.md", "exec"), {"__name__": "__main__"})
    assert "Avg. NSI" in capsys.readouterr().out
