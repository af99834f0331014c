"""Submissions on one board: side by side only where they measured the same."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer
from made_run import OTHER, VANILLA, edit_json, edit_lines, finished_run, tampered
from typer.testing import CliRunner, Result

from greaves.base.errors import GreavesError
from greaves.base.run_folder import RunFolder
from greaves.leaderboards.commands.submission import merge as command
from greaves.leaderboards.commands.submission import write_submission
from greaves.leaderboards.submission.contents import read_submission
from greaves.leaderboards.submission.merge import Board, as_plain, markdown, merge


@pytest.fixture
def pack(tmp_path_factory: pytest.TempPathFactory, tmp_path: Path) -> Callable[[str], Path]:
    """Packs the small run under a name."""
    run = RunFolder.open(finished_run(tmp_path_factory, tmp_path / "run"))

    def packed(name: str) -> Path:
        write_submission(run, name, tmp_path / f"{name}.zip")
        return tmp_path / f"{name}.zip"

    return packed


def invoke(*arguments: object) -> Result:
    app = typer.Typer()
    app.command()(command)
    return CliRunner().invoke(app, [str(each) for each in arguments], catch_exceptions=False)


def tables(board: Board, metric: str) -> dict[str, set[int]]:
    """Submission -> tables in which rows of a metric stand."""
    found: dict[str, set[int]] = {}
    for entry in board.entries:
        if entry.row.metric == metric:
            found.setdefault(entry.submission, set()).add(entry.table)
    return found


def test_equal_methods_of_two_submissions_stand_apart_in_one_table(
    pack: Callable[[str], Path], tmp_path: Path
) -> None:
    result = invoke(pack("alice"), pack("bob"), "--out-dir", tmp_path / "board")
    assert result.exit_code == 0, result.stderr
    for method in ("vanilla (alice)", "vanilla (bob)", "other (alice)", "other (bob)"):
        assert f"| pocket | {method} |" in result.stdout
    assert (tmp_path / "board/leaderboard.md").read_text() in result.stdout
    rows = json.loads((tmp_path / "board/leaderboard.json").read_text())
    assert {row["submission"] for row in rows} == {"alice", "bob"}
    assert {row["table"] for row in rows} == {1}
    places = [(row["submission"], row["method"], row["metric"], row["task"]) for row in rows]
    assert len(set(places)) == len(places)
    with (tmp_path / "board/leaderboard.csv").open() as file:
        assert [row["submission"] for row in csv.DictReader(file)] == [
            row["submission"] for row in rows
        ]


def test_places_within_a_submission_are_not_shown_as_places_on_the_board(
    pack: Callable[[str], Path],
) -> None:
    board = merge([read_submission(pack("alice")), read_submission(pack("bob"))])
    assert all(entry.row.rank is None for entry in board.entries)
    assert "**" not in markdown(board)


def other_judge(members: dict[str, bytes]) -> None:
    """Verdicts of an older version of the judge, with rows to match."""

    def rename(records: list[dict[str, Any]]) -> None:
        for record in records:
            record["judge"] = "pocket-rules@0"

    for folder in (VANILLA, OTHER):
        edit_lines(f"{folder}/verdicts.pocket-rules.jsonl", rename)(members)
    edit_json("leaderboard.json", rename)(members)


def test_another_judge_gets_columns_of_its_own(pack: Callable[[str], Path], tmp_path: Path) -> None:
    older = tampered(pack("bob"), other_judge)
    result = invoke(pack("alice"), older, "--out-dir", tmp_path / "board")
    assert result.exit_code == 0, result.stderr
    rows = json.loads((tmp_path / "board/leaderboard.json").read_text())
    assert {(row["judge"], row["table"]) for row in rows} == {
        ("pocket-rules@1", 1),
        ("pocket-rules@0", 2),
    }
    first, second = result.stdout.split("# Merged leaderboard, table 2")
    assert "(bob)" not in first.split("## Notes")[0]
    assert "(alice)" not in second.split("## Notes")[0]


def new_version(members: dict[str, bytes]) -> None:
    edit_json("submission.json", lambda said: said["tasks"]["aiah-audio-text"].update(version="9"))(
        members
    )


def new_question(members: dict[str, bytes]) -> None:
    for folder in (VANILLA, OTHER):
        edit_lines(
            f"{folder}/questions.jsonl", lambda lines: lines[0]["question"].update(text="Hm?")
        )(members)


def new_sampling(members: dict[str, bytes]) -> None:
    edit_json(
        "submission.json",
        lambda said: said["recipe"]["benchmarks"]["aiah"].update(temperature=0.5),
    )(members)


@pytest.mark.parametrize(
    ("change", "orr"), [(new_version, 1), (new_question, 1), (new_sampling, 2)]
)
def test_what_was_asked_otherwise_is_not_ranked_beside_it(
    pack: Callable[[str], Path], change: Callable[[dict[str, bytes]], None], orr: int
) -> None:
    board = merge([read_submission(pack("alice")), read_submission(tampered(pack("bob"), change))])
    for metric in ("asr", "nsi", "avg_nsi"):
        assert tables(board, metric) == {"alice": {1}, "bob": {2}}, metric
    assert tables(board, "orr") == {"alice": {1}, "bob": {orr}}
    columns: dict[tuple[int, str, str | None], set[str]] = {}
    for entry in board.entries:
        place = (entry.table, entry.row.metric, entry.row.task)
        columns.setdefault(place, set()).add(entry.basis)
    assert all(len(bases) == 1 for bases in columns.values())
    assert len(as_plain(board)) == len(board.entries)


def test_other_weights_and_a_dirty_tree_are_told(pack: Callable[[str], Path]) -> None:
    def change(members: dict[str, bytes]) -> None:
        for folder in (VANILLA, OTHER):
            edit_json(f"{folder}/cell.json", lambda cell: cell.update(fingerprint="f" * 64))(
                members
            )
        git = {"commit": "c" * 40, "dirty": True}
        edit_json("submission.json", lambda said: said.update(git=git))(members)

    board = merge([read_submission(pack("alice")), read_submission(tampered(pack("bob"), change))])
    text = "\n".join(board.notes)
    assert "Model pocket is not the same weights everywhere: alice " in text
    assert f"bob {'f' * 12}" in text
    assert "bob: run from a changed checkout of commit cccccccccccc" in text


def test_two_of_one_name_and_the_same_twice_are_refused(pack: Callable[[str], Path]) -> None:
    file = pack("alice")
    with pytest.raises(GreavesError, match="submission 'alice' is given twice"):
        merge([read_submission(file), read_submission(file)])
    twin = tampered(file, edit_json("submission.json", lambda said: said.update(label="x")))
    with pytest.raises(GreavesError, match="two submissions are called 'alice'; pack one"):
        merge([read_submission(file), read_submission(twin)])


def test_a_submission_that_does_not_hold_is_not_merged(
    pack: Callable[[str], Path], tmp_path: Path
) -> None:
    edit = edit_json("leaderboard.json", lambda rows: rows[0].update(value=0.1))
    result = invoke(pack("alice"), tampered(pack("bob"), edit), "--out-dir", tmp_path / "board")
    assert result.exit_code == 2
    assert "value 0.1, recomputed" in result.stderr
    assert not (tmp_path / "board").exists()
