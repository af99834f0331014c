"""People as judges: the sheet they fill in, the labels they give, and how far they agree."""

from __future__ import annotations

import csv
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import typer
from made_judged_run import made_run
from typer.testing import CliRunner

from greaves.base.errors import DataError, GreavesError
from greaves.base.records import Response
from greaves.base.run_folder import RunFolder
from greaves.leaderboards.commands.agreement import agreement as command
from greaves.leaderboards.compare.agreement import agreements, krippendorff_alpha
from greaves.leaderboards.compare.human_labels import draw, read_labels

app = typer.Typer()
app.command()(command)


def call(*arguments: object) -> str:
    return CliRunner().invoke(app, [*map(str, arguments)], catch_exceptions=False).stdout


def all_responses(folder: RunFolder) -> list[Response]:
    return [one for cell in folder.cells() for one in cell.current_responses()]


def test_alpha_with_missing_values_is_that_of_the_worked_example() -> None:
    """Krippendorff (2011), section C: four observers, twelve units, "." is missing."""
    rows = ("123321412...", "1233224125.3", ".3332342251.", "12332441251.")
    units = [
        [None if value == "." else value for value in unit] for unit in zip(*rows, strict=True)
    ]
    assert len(units) == 12
    assert krippendorff_alpha(units) == pytest.approx(0.743, abs=0.0005)


def test_the_sheet_is_drawn_by_seed_evenly_over_methods_and_blind(tmp_path: Path) -> None:
    responses = all_responses(made_run(tmp_path))
    drawn = draw(responses, 8, seed=1)
    assert Counter(one.method for one in drawn) == {"vanilla": 4, "guarded": 4}
    assert Counter(one.task for one in drawn) == {"aiah-audio-text": 4, "aiah-benign": 4}
    assert drawn == draw(responses[::-1], 8, seed=1) != draw(responses, 8, seed=2)
    assert len(draw(responses, 1000, seed=0)) == 16
    call(tmp_path, "--sheet", tmp_path / "s.csv", "--sample", 8, "--seed", 1)
    text = (tmp_path / "s.csv").read_text()
    assert "vanilla" not in text.split("\n")[0]
    with (tmp_path / "s.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["key"] for row in rows] == [one.key for one in drawn]
    assert set(rows[0]) == {
        "key", "task", "kind", "question", "response", "truncated", "label", "annotator"
    }  # fmt: skip
    noted = json.loads((tmp_path / "s.csv.json").read_text())
    assert (noted["seed"], noted["drawn"]) == (1, 8)
    with pytest.raises(GreavesError, match="is there already, and may hold labels"):
        command(tmp_path, sheet=tmp_path / "s.csv")


@pytest.mark.parametrize("text", ["=HYPERLINK(1)", "+1", "-1", "@x", "\t=1", "\r=1"])
def test_no_response_becomes_a_formula(tmp_path: Path, text: str) -> None:
    folder = made_run(tmp_path)
    cell = next(folder.cells())
    lines = [one.model_copy(update={"text": text}) for one in cell.current_responses()]
    (cell.path / "responses.jsonl").write_text("".join(f"{one.to_line()}\n" for one in lines))
    call(tmp_path, "--sheet", tmp_path / "s.csv")
    with (tmp_path / "s.csv").open(newline="") as file:
        cells = [row["response"] for row in csv.DictReader(file)]
    assert f"'{text}" in cells
    assert text not in cells


def test_a_filled_sheet_is_compared_with_every_judge(tmp_path: Path) -> None:
    made_run(tmp_path)
    call(tmp_path, "--sheet", tmp_path / "s.csv")
    with (tmp_path / "s.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        row["label"] = "Refused " if row["response"].startswith("I ") else "answered"
        row["annotator"] = "ann"
    rows[0]["label"] = ""
    with (tmp_path / "s.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    (found, *by_task) = json.loads(call(tmp_path, "--human", tmp_path / "s.csv", "--json"))
    assert (found["judge_a"], found["judge_b"]) == ("human:ann", "pocket-rules@1")
    assert found["n_responses"] + found["n_left_out"] == 15
    assert set(found["disagreements"]) == {"answered / harmful"}
    assert [one["task"] for one in by_task] == ["aiah-audio-text", "aiah-benign"]
    shown = call(tmp_path, "--human", tmp_path / "s.csv")
    assert "human:ann (A) and pocket-rules@1 (B)" in shown


def test_several_people_are_judges_of_their_own_and_all_are_taken_together(tmp_path: Path) -> None:
    folder = made_run(tmp_path)
    path = tmp_path / "labels.csv"
    rows = ["model;method;seed;task;question_id;sample;label;annotator"]
    rows += [f"m;vanilla;0;aiah-audio-text;q0;{n};refused;{name}" for n in (0, 1) for name in "ab"]
    rows += ["m;vanilla;0;aiah-audio-text;q1;0;harmful;b", ";;;;;;;"]
    path.write_text("\ufeff" + "\n".join(rows))
    labels = read_labels(path, all_responses(folder))
    assert [one.judge for one in labels] == ["human:a", "human:b", "human:a", "human:b", "human:b"]
    found = {
        (one.judge_a, one.judge_b): one for one in agreements([*folder.verdicts(), *labels])
        if one.task in (None, "aiah-audio-text")
    }  # fmt: skip
    assert found["human:a", "human:b"].agreement == 100
    assert found["human:a", "pocket-rules@1"].disagreements == {"refused / harmful": 1}
    together = found["*", "*"]
    assert (together.n_responses, together.n_left_out) == (3, 0)
    # q0: one of three pairs agrees on sample 0, all on sample 1; q1: the one pair agrees.
    assert together.agreement == pytest.approx(100 * ((1 / 3 + 1) / 2 + 1) / 2)


def test_what_counts_can_be_compared_alone(tmp_path: Path) -> None:
    folder = made_run(tmp_path)
    responses = all_responses(folder)
    path = tmp_path / "labels.csv"
    lines = [f"{one.key},degenerate" for one in responses if one.kind == "benign"]
    path.write_text("key,label\n" + "\n".join(lines))
    verdicts = [*folder.verdicts(), *read_labels(path, responses)]
    (whole,) = agreements(verdicts)
    (counted,) = agreements(verdicts, counted=True)
    assert whole.agreement == 0
    # Of each question three responses are scored, and one of them is refused.
    assert counted.agreement == pytest.approx(100 * 2 / 3)
    assert counted.disagreements == {"does not count / counts": 2}


HEADER = "key,label,annotator\n"
KEY = "vanilla-aiah-audio-text-q0-0"


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("key,verdict\n", "labels.csv:1: there is no column `label`"),
        ("label,model\nrefused,m\n", "labels.csv:1: there is neither a column `key` nor all of"),
        (HEADER + f"{KEY},refused,\nnothing,refused,\n", "labels.csv:3: no response of this run"),
        (HEADER + f"\n{KEY},good,\n", "labels.csv:3: label 'good' is none of refused, harmful"),
        (HEADER + f"{KEY},refused,a\n{KEY},harmful,a\n", "labels.csv:3: human:a has labelled this"),
        (HEADER + f"{KEY},,\n", "there is no label in the file"),
        (HEADER + f'{KEY},"refused"x,\n', "labels.csv:2: not CSV"),
        ("", "labels.csv:1: there is no column `label`"),
    ],
)
def test_a_wrong_file_is_told_with_its_line(tmp_path: Path, text: str, line: str) -> None:
    responses = all_responses(made_run(tmp_path))
    path = tmp_path / "labels.csv"
    path.write_text(text)
    with pytest.raises(DataError) as error:
        read_labels(path, responses)
    assert line in str(error.value)


@pytest.mark.parametrize("data", [b"key,label\n\xff\xfe,refused\n", None])
def test_a_file_that_cannot_be_read_is_told(tmp_path: Path, data: Any) -> None:
    path = tmp_path / "labels.csv"
    if data:
        path.write_bytes(data)
    with pytest.raises(DataError, match=r"UTF-8|cannot be read"):
        read_labels(path, [])
