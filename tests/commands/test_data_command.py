"""`greaves data`: what it prints, and the one line that a mistake gets."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from greaves.commands.data import app
from greaves.data.alignment.plan import draw_plan
from greaves.data.alignment.spec import read_spec
from greaves.data.folders import EMBEDDED


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


def pocket(kind: str, out: Path, *more: str) -> Result:
    given = ("--from", "pocket", "--per-category", "1", "--out", str(out))
    return run("build", kind, *given, *more)


def test_a_pocket_mirror_set_is_built_without_hub_server_or_key(tmp_path: Path) -> None:
    built = pocket("mirror", tmp_path / "mirror", "--json")
    assert built.exit_code == 0
    assert json.loads(built.stdout)["counts"] == {"harmful": 6, "benign": 6}
    checked = run("check", str(tmp_path / "mirror"))
    assert checked.exit_code == 0
    assert "mirror: 6 harmful, 6 benign, 0 left out" in checked.stdout


def test_a_parallel_set_plans_to_take_over_the_embedded_mirror_set() -> None:
    options = {"kind": "parallel", "source": {"from": "pocket"}, "mirror": "pocket"}
    plan = draw_plan(read_spec(None, options))
    assert [about["name"] for about in plan.sources] == ["pocket grammar", "Mirror set pocket"]
    taken = [Path(item.clip_from) for item in plan.items if item.clip_from]
    assert len(taken) == 200
    assert taken[0] == EMBEDDED / "mirror" / "clips" / "mirror-harmful-000.ogg"
    assert len(plan.items) == 400


@pytest.mark.parametrize(
    ("kind", "arguments", "message"),
    [
        ("diagonal", (), "kind: input should be 'basic', 'mirror' or 'parallel'"),
        ("mirror", ("--from", "nowhere"), "source"),
        ("mirror", ("--per-category", "0"), "per_category: input should be greater"),
        ("mirror", ("--rewriter", "localhost:8000"), "rewriter.endpoint: string should match"),
        ("mirror", ("--rewriter", "http://h/v1"), "needs the name of a model (--rewriter-model)"),
        ("mirror", ("--mirror", "pocket"), "`mirror` is for a parallel set"),
        ("mirror", ("--from", "released"), "source.folder: field 'folder' is missing"),
        ("mirror", ("--from", "pocket", "--dataset", "x"), "unknown field 'dataset'"),
        ("basic", ("--released", "/nowhere"), "there is no such folder"),
        ("basic", ("--dataset", "/nowhere"), "the dataset cannot be loaded"),
        ("parallel", ("--from", "pocket", "--mirror", "./nowhere"), "no such data folder"),
        ("basic", ("--recipe", "/nowhere.yaml"), "cannot be read"),
    ],
)
def test_a_mistake_gets_one_line(
    tmp_path: Path, kind: str, arguments: tuple[str, ...], message: str
) -> None:
    error = run("build", kind, "--out", str(tmp_path / "set"), *arguments).exception
    assert message in str(error)
    assert "\n" not in str(error)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("kind: mirror\nsource: {from: beavertails, dataste: x}\n", "did you mean 'dataset'?"),
        ("kind: mirror\nvoice: {engine: robot}\n", "voice.engine: input should be"),
        ("kind: [mirror\n", "not YAML"),
        ("- mirror\n", "a recipe is a mapping"),
        ("source: 3\n", "source"),
    ],
)
def test_a_mistake_in_a_recipe_names_file_and_field(
    tmp_path: Path, text: str, message: str
) -> None:
    (tmp_path / "r.yaml").write_text(text)
    given = ("--out", str(tmp_path / "set"), "--recipe", str(tmp_path / "r.yaml"))
    error = str(run("build", "mirror", *given).exception)
    assert message in error
    assert "r.yaml" in error


def test_the_check_fails_and_names_what_is_wrong(tmp_path: Path) -> None:
    assert pocket("basic", tmp_path / "set").exit_code == 0
    (tmp_path / "set" / "clips" / "basic-harmful-0000.wav").write_bytes(b"")
    checked = run("check", str(tmp_path / "set"))
    assert "basic-harmful-0000: the clip is an empty file" in checked.stderr
    assert "2 faults" in str(checked.exception)
    (tmp_path / "set" / "manifest.json").unlink()
    assert "run the same build again" in str(run("check", str(tmp_path / "set")).exception)
