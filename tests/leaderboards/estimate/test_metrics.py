"""A metric of another package is a column like any other; the contract of all metrics."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path

import pytest
from made_verdicts import judged
from made_written_run import write_run
from typer.testing import CliRunner

from greaves.base.errors import RegistryError
from greaves.leaderboards.board.table import leaderboard
from greaves.leaderboards.commands.compare import compare
from greaves.leaderboards.commands.leaderboard import leaderboard as table_command
from greaves.leaderboards.commands.page import page
from greaves.leaderboards.estimate.metric import METRICS, metric_of, metrics

SOURCE = Path(__file__).parents[2] / "plugin_package" / "src"
HARMFUL = "aiah-audio-text"


@pytest.fixture
def broken(monkeypatch: pytest.MonkeyPatch) -> None:
    """The example package's metric, registered for the time of a test."""
    monkeypatch.syspath_prepend(SOURCE)
    from greaves_example.broken_answers import BrokenAnswers

    METRICS.entries()
    monkeypatch.setattr(METRICS, "_entries", dict(METRICS._entries))
    METRICS.register("broken")(BrokenAnswers)


def run_in(folder: Path, degenerate: int) -> Path:
    """vanilla answers all; "rrs" breaks down on some of 20 questions, 5 samples each."""
    marks = {f"q{number:02}": "ddddd" if number < degenerate else "aahaa" for number in range(20)}
    verdicts = judged(HARMFUL, dict.fromkeys(marks, "aaaah"))
    write_run(folder, verdicts + judged(HARMFUL, marks, method="rrs"))
    return folder


def printed(command: object, *arguments: object) -> str:
    import typer

    app = typer.Typer()
    app.command()(command)  # type: ignore[type-var]
    done = CliRunner().invoke(app, [str(one) for one in arguments])
    assert done.exit_code == 0, done.output
    return done.output


@pytest.mark.usefixtures("broken")
def test_a_foreign_metric_is_a_column_everywhere(tmp_path: Path) -> None:
    run, out = run_in(tmp_path / "run", 5), tmp_path / "out"
    shown = printed(table_command, run, "--out-dir", out)
    assert "Broken" in shown
    assert "degenerate responses to harmful questions in %" in " ".join(shown.split())
    rows = json.loads((out / "leaderboard.json").read_text())
    values = {row["method"]: row for row in rows if row["metric"] == "broken"}
    assert values["vanilla"]["value"] == 0.0
    assert values["rrs"]["value"] == 25.0  # 5 of 20 questions
    low, high = values["rrs"]["low"], values["rrs"]["high"]
    assert 5.0 < low < 25.0 < high < 60.0
    assert values["rrs"]["rank"] == 2  # lower is better
    number = f"25.0{'' if values['rrs']['distinguishable_from_best'] else '†'}"
    assert f"{number} [{low:.1f}, {high:.1f}]" in (out / "leaderboard.md").read_text()
    with (out / "leaderboard.csv").open() as file:
        found = [row["value"] for row in csv.DictReader(file) if row["metric"] == "broken"]
    assert found == ["0.0", "25.0"]
    assert "Broken" in (out / "leaderboard.tex").read_text()
    printed(page, run, "--out", out / "page.html", "--no-clips")
    text = (out / "page.html").read_text()
    data = json.loads(re.search(r'id="page-data">(.*?)</script>', text, re.DOTALL)[1])  # type: ignore[index]
    place = [column["metric"] for column in data["columns"]].index("broken")
    cells = {line["method"]: line["cells"][place]["number"] for line in data["lines"]}
    assert cells == {"vanilla": "0.0", "rrs": number}


@pytest.mark.usefixtures("broken")
def test_a_foreign_metric_is_compared_between_runs(tmp_path: Path) -> None:
    before, after = run_in(tmp_path / "a", 5), run_in(tmp_path / "b", 9)
    changes = json.loads(printed(compare, before, after, "--json"))["changes"]
    (change,) = (one for one in changes if (one["metric"], one["cell_a"][-3:]) == ("broken", "rrs"))
    assert (change["value_a"], change["value_b"], change["difference"]) == (25.0, 45.0, 20.0)
    assert change["low"] < 20.0 < change["high"]


@pytest.mark.usefixtures("broken")
def test_a_foreign_metric_is_told_after_a_stress() -> None:
    marks = {f"q{number}": "d" if number < 3 else "a" for number in range(12)}
    after = judged(HARMFUL, marks, method="rrs~benign-finetuning")
    rows = leaderboard(judged(HARMFUL, dict.fromkeys(marks, "a"), method="rrs") + after)
    values = {row.metric: row.value for row in rows}
    assert (values["broken"], values["broken_after"]) == (0.0, 25.0)
    assert metric_of("broken_after").title == "Broken after"


def test_every_metric_says_what_a_table_needs() -> None:
    names = [metric.name for metric in metrics()]
    assert {"asr", "orr", "hs", "nsi", "avg_nsi", "asr_change", "text"} <= set(names)
    assert names == list(dict.fromkeys(names))
    for metric in metrics():
        assert metric_of(metric.name).name == metric.name
        assert metric.title
        assert metric.better in ("lower", "higher")
        assert metric.bounds[0] < metric.bounds[1]


def test_an_unknown_metric_is_refused_by_name() -> None:
    with pytest.raises(RegistryError, match="unknown metric 'ars'"):
        metric_of("ars")
