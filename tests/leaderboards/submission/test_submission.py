"""A run is packed, and a stranger finds whatever was changed in it."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer
from made_run import OTHER, VANILLA, edit_json, edit_lines, finished_run, tampered
from typer.testing import CliRunner, Result

from greaves.base import machine
from greaves.base.errors import GreavesError
from greaves.base.machine import GitState
from greaves.leaderboards.commands.submission import submit, validate
from greaves.leaderboards.submission import checks
from greaves.leaderboards.submission.archive import unzipped
from greaves.leaderboards.submission.contents import read_submission


def invoke(command: Callable[..., None], *arguments: object) -> Result:
    app = typer.Typer()
    app.command()(command)
    return CliRunner().invoke(app, [str(each) for each in arguments], catch_exceptions=False)


@pytest.fixture
def run(tmp_path_factory: pytest.TempPathFactory, tmp_path: Path) -> Path:
    return finished_run(tmp_path_factory, tmp_path / "run")


@pytest.fixture(scope="module")
def untouched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = finished_run(tmp_path_factory, tmp_path_factory.mktemp("packed") / "run")
    assert invoke(submit, folder).exit_code == 0
    return folder / "submission-small.zip"


@pytest.fixture
def packed(untouched: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(untouched, tmp_path))


def problems_of(file: Path) -> list[str]:
    """What `greaves validate` prints of a file it refuses."""
    result = invoke(validate, file)
    assert result.exit_code == 2
    assert result.stdout == ""
    return result.stderr.splitlines()


def test_a_submission_is_valid_and_says_so_in_one_line(packed: Path) -> None:
    result = invoke(validate, packed)
    assert result.exit_code == 0, result.stderr
    assert len(result.stdout.splitlines()) == 1
    assert "valid (2 cells, " in result.stdout
    found = json.loads(invoke(validate, packed, "--json").stdout)
    assert found["valid"] is True
    assert found["judged_again"] == ["pocket-rules@1"]


def test_the_same_run_packs_to_the_same_bytes_without_a_path_of_the_machine(run: Path) -> None:
    packed, again = run / "one.zip", run / "two.zip"
    for target in (packed, again):
        assert invoke(submit, run, "--out", target).exit_code == 0
    assert again.read_bytes() == packed.read_bytes()
    members = unzipped(packed)
    for name, data in members.items():
        assert str(run.parent).encode() not in data, name
        assert b'"/' not in data, name
    question = json.loads(members[f"{VANILLA}/questions.jsonl"].splitlines()[0])
    assert re.fullmatch(r"[\w-]+\.ogg", question["question"]["clip"])
    assert len(question["clip_sha256"]) == 64
    manifest = json.loads(members["submission.json"])
    assert manifest["recipe"]["benchmarks"]["aiah"]["data"] == "aiah"
    assert manifest["hardware"]["cores"] >= 1
    assert manifest["versions"]["torch"]


def first(lines: list[dict[str, Any]]) -> dict[str, Any]:
    return lines[0]


QUESTIONS, RESPONSES, VERDICTS = (
    f"{OTHER}/{name}.jsonl" for name in ("questions", "responses", "verdicts.pocket-rules")
)
CHANGES: dict[str, tuple[Callable[[dict[str, bytes]], None], str]] = {
    "question missing": (
        edit_lines(QUESTIONS, lambda lines: lines.pop(0)),
        r"questions.jsonl: aiah-audio-text question '.*': missing; another cell has it",
    ),
    "question changed": (
        edit_lines(QUESTIONS, lambda lines: first(lines)["question"].update(text="Hello?")),
        "not as another cell has it",
    ),
    "response missing": (
        edit_lines(RESPONSES, lambda lines: lines.pop(0)),
        "sample 0: no response",
    ),
    "response doubled": (
        edit_lines(RESPONSES, lambda lines: lines.append(lines[0])),
        r"responses.jsonl: .* sample 0: occurs twice",
    ),
    "response foreign": (
        edit_lines(RESPONSES, lambda lines: lines.append({**lines[0], "key": "0" * 64})),
        "foreign line; no question has its key",
    ),
    "keys swapped": (
        edit_lines(
            RESPONSES,
            lambda lines: (
                lines[0].update(key=lines[1]["key"]) or lines[1].update(key=lines[2]["key"])
            ),
        ),
        "does not match its question in .*key",
    ),
    "other sample seed": (
        edit_lines(RESPONSES, lambda lines: first(lines).update(sample_seed=7)),
        "does not match its question in sample_seed",
    ),
    "verdict missing": (
        edit_lines(VERDICTS, lambda lines: lines.pop(0)),
        "sample 0: no verdict by pocket-rules@1",
    ),
    "verdict doubled": (
        edit_lines(VERDICTS, lambda lines: lines.append(lines[0])),
        r"verdicts: .* by pocket-rules@1: occurs twice",
    ),
    "verdict foreign": (
        edit_lines(VERDICTS, lambda lines: lines.append({**lines[0], "key": "0" * 64})),
        "foreign line; no response has its key",
    ),
    "verdict of another method": (
        edit_lines(VERDICTS, lambda lines: first(lines).update(method="vanilla")),
        "does not match its response in method",
    ),
    "verdict edited": (
        edit_lines(
            VERDICTS,
            lambda lines: first(lines).update(outcome="unscored", reason="could not tell"),
        ),
        r"outcome 'unscored', judged again '\w+'",
    ),
    "row edited": (
        edit_json("leaderboard.json", lambda rows: rows[0].update(value=99.5)),
        r"leaderboard.json: orr of vanilla on pocket \(.*\): value 99.5, recomputed",
    ),
    "interval edited": (
        edit_json("leaderboard.json", lambda rows: rows[0].update(low=99.0, high=100.0)),
        "low 99.0, recomputed",
    ),
    "field missing": (
        edit_json("leaderboard.json", lambda rows: rows[0].pop("n_unscored")),
        "n_unscored absent, recomputed 0",
    ),
    "row missing": (
        edit_json("leaderboard.json", lambda rows: rows.pop()),
        "leaderboard.json: .*: missing, recomputed",
    ),
    "row invented": (
        edit_json("leaderboard.json", lambda rows: rows.append({**rows[0], "method": "best"})),
        "of best on pocket .*: no verdicts give this row",
    ),
    "task version": (
        edit_json(
            "submission.json",
            lambda said: said["tasks"]["aiah-audio-text"].update(version="0"),
        ),
        "task aiah-audio-text has version 0 of aiah, installed is version 1",
    ),
    "cell left out": (
        edit_json("submission.json", lambda said: said["cells"].pop()),
        "fewer cells than the recipe has models times methods",
    ),
    "another seed": (
        edit_json("submission.json", lambda said: said["cells"][1].__setitem__(2, 5)),
        r"pocket / other has seeds \[5\], the recipe \[0\]",
    ),
    "another method under the name of vanilla": (
        edit_json(
            "submission.json",
            lambda said: said["recipe"]["methods"][0].update(method="rrs", name="vanilla"),
        ),
        "'rrs' is called vanilla, against which NSI is measured",
    ),
    "weights not told": (
        edit_json(f"{OTHER}/cell.json", lambda cell: cell.update(fingerprint="f" * 64)),
        "fingerprint is not among the hashes",
    ),
    "not a record": (
        lambda members: members.update({RESPONSES: members[RESPONSES] + b"{}\n"}),
        r"responses.jsonl:17: not a Response record",
    ),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_is_found_though_its_hash_was_forged(packed: Path, change: str) -> None:
    edit, message = CHANGES[change]
    lines = problems_of(tampered(packed, edit))
    assert any(re.search(message, line) for line in lines), lines


def test_a_changed_member_is_found_by_its_hash(packed: Path) -> None:
    edit = edit_json("leaderboard.json", lambda rows: None)
    lines = problems_of(tampered(packed, edit, sums=False))
    assert len(lines) == 1
    assert "leaderboard.json: changed after packing" in lines[0]


def test_every_problem_gets_its_line(packed: Path) -> None:
    def edit(members: dict[str, bytes]) -> None:
        CHANGES["verdict edited"][0](members)
        CHANGES["row edited"][0](members)
        CHANGES["response doubled"][0](members)

    lines = problems_of(tampered(packed, edit))
    assert all(line.startswith("greaves: ") for line in lines)
    for name in ("verdict edited", "row edited", "response doubled"):
        assert any(re.search(CHANGES[name][1], line) for line in lines), name


def test_hostile_text_cannot_steer_the_terminal(packed: Path) -> None:
    edit = edit_json("leaderboard.json", lambda rows: rows[0].update(method="\x1b[2J\nok"))
    lines = problems_of(tampered(packed, edit))
    assert not any("\x1b" in line for line in lines)
    assert all(line.startswith("greaves: ") for line in lines)


def test_a_run_that_is_not_finished_is_not_submitted(run: Path) -> None:
    ledger = run / "cells/pocket/other/seed-0/responses.jsonl"
    ledger.write_text("".join(ledger.read_text().splitlines(keepends=True)[:-1]))
    result = invoke(submit, run)
    assert result.exit_code == 2
    assert "no response" in result.stderr
    assert not list(run.glob("*submission*"))
    shutil.rmtree(run / "cells/pocket/other")
    with pytest.raises(GreavesError, match="1 of 2 cells have not started; finish the run"):
        submit(run)


def test_a_run_of_another_version_is_one_line(run: Path) -> None:
    edited = json.loads((run / "run.json").read_text())
    edited["recipe"]["later"] = 1
    (run / "run.json").write_text(json.dumps(edited))
    with pytest.raises(GreavesError, match=r"run\.json: the recipe in it is not one"):
        submit(run)


def test_a_name_that_leaves_the_folder_is_refused(run: Path) -> None:
    with pytest.raises(GreavesError, match=r"--name: '\.\./x' cannot name a submission"):
        submit(run, name="../x")


def test_a_dirty_tree_must_be_marked(packed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = GitState(commit="c" * 40, dirty=False)
    monkeypatch.setattr(checks, "git_state", lambda: here)
    own = machine.source_hash()
    assert not list(checks.code(here, own, {}))
    (line,) = checks.code(here, "0" * 64, {})
    assert "git.dirty is false, but the source files are not those of commit cccc" in line
    assert not list(checks.code(GitState(commit="c" * 40, dirty=True), "0" * 64, {}))
    edit = edit_json("submission.json", lambda said: said.update(git={"commit": "c" * 40}))
    with pytest.raises(GreavesError, match=r"git\.dirty: Field required"):
        read_submission(tampered(packed, edit))
