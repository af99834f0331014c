"""A run as a static site in a folder, and on a stand-in of the hub."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest
import typer
import yaml
from made_hub import TOKEN, serving
from made_run import edit_json, finished_run, tampered
from typer.testing import CliRunner, Result

from greaves.base.errors import GreavesError
from greaves.leaderboards.commands.publish import publish
from greaves.leaderboards.commands.submission import submit
from greaves.leaderboards.publish import hub, reproduce
from greaves.leaderboards.publish.site import Published, index_page
from greaves.leaderboards.submission.contents import read_submission
from greaves.recipe.reading import read_plan

PROGRAM = """
import typer
from greaves.commands import cli
from greaves.leaderboards.commands.publish import publish
cli.app.command()(publish)
cli.main()
"""


@pytest.fixture
def run(tmp_path_factory: pytest.TempPathFactory, tmp_path: Path) -> Path:
    return finished_run(tmp_path_factory, tmp_path / "run")


def invoke(*arguments: object) -> Result:
    app = typer.Typer()
    app.command()(publish)
    return CliRunner().invoke(app, [str(each) for each in arguments], catch_exceptions=False)


def files(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


class Links(HTMLParser):
    """Addresses that a page names, and tags it has."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self.tags: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.found += [value or "" for name, value in attrs if name in ("href", "src")]


def test_a_site_holds_all_it_links_to_and_fetches_nothing(run: Path, tmp_path: Path) -> None:
    site = tmp_path / "site"
    result = invoke(run, "--to", site, "--author", "Doe & Söhne")
    assert result.exit_code == 0, result.stderr
    text = (site / "index.html").read_text()
    links = Links(text)
    assert len(links.found) >= 8
    for link in links.found:
        assert (site / link).is_file(), link
    assert "script" not in links.tags
    assert not re.search(r"https?://", text)
    assert "pocket: shows that the machinery works" in text
    assert "greaves validate submission-small.zip" in text
    assert "{Doe \\&amp; Söhne}" in text
    assert str(tmp_path).encode() not in b"".join(files(site).values())
    place = site / "runs/small"
    assert yaml.safe_load((place / "CITATION.cff").read_text())["authors"] == [
        {"name": "Doe & Söhne"}
    ]
    assert "torch==" in (place / "versions.txt").read_text()
    assert "<html" in (place / "index.html").read_text()[:200]


def test_publishing_again_changes_nothing_and_another_run_joins(run: Path, tmp_path: Path) -> None:
    site = tmp_path / "site"
    invoke(run, "--to", site)
    before = files(site)
    invoke(run, "--to", site)
    assert files(site) == before
    invoke(run, "--to", site, "--name", "second")
    text = (site / "index.html").read_text()
    assert '<article id="small">' in text
    assert '<article id="second">' in text
    assert {name: data for name, data in files(site).items() if "runs/small" in name} == {
        name: data for name, data in before.items() if "runs/small" in name
    }


def test_the_recipe_of_a_site_can_be_run_with_the_data_beside_it(run: Path, tmp_path: Path) -> None:
    invoke(run, "--to", tmp_path / "site")
    place = tmp_path / "site/runs/small"
    (place / "aiah").mkdir()
    plan = read_plan(place / "recipe.yaml")
    assert [str(cell) for cell in plan.cells] == [
        "pocket / vanilla / seed 0",
        "pocket / other / seed 0",
    ]


@pytest.mark.parametrize("mark", [None, "{}", "[]", '{"format": 2, "runs": {}}'])
def test_a_folder_that_is_not_ours_is_left_alone(
    run: Path, tmp_path: Path, mark: str | None
) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home/index.html").write_text("mine")
    if mark is not None:
        (tmp_path / "home/greaves-site.json").write_text(mark)
    before = files(tmp_path / "home")
    with pytest.raises(GreavesError, match="did not make; nothing was changed; give --to a new"):
        publish(run, to=str(tmp_path / "home"))
    assert files(tmp_path / "home") == before


def test_a_run_that_does_not_hold_is_not_published(run: Path, tmp_path: Path) -> None:
    verdicts = run / "cells/pocket/other/seed-0/verdicts.pocket-rules.jsonl"
    kept = verdicts.read_text()
    verdicts.write_text("".join(kept.splitlines(keepends=True)[1:]))
    result = invoke(run, "--to", tmp_path / "site")
    assert result.exit_code == 2
    assert "no verdict by pocket-rules@1" in result.stderr
    assert not (tmp_path / "site/index.html").exists()
    verdicts.write_text(kept)
    assert invoke(run, "--to", tmp_path / "site").exit_code == 0


def test_hostile_names_stay_text(run: Path) -> None:
    invoke_submit = typer.Typer()
    invoke_submit.command()(submit)
    CliRunner().invoke(invoke_submit, [str(run)], catch_exceptions=False)
    evil = "<script>alert(1)</script>"

    def change(rows: list[dict[str, object]]) -> None:
        for row in rows:
            row.update(method=evil, label=evil)

    file = tampered(run / "submission-small.zip", edit_json("leaderboard.json", change))
    submission = read_submission(file)
    page = index_page([Published("runs/x", submission, submission.table(), [evil], [evil])])
    assert "<script" not in page
    assert page.count("&lt;script&gt;") >= 3
    assert "{<script>" in reproduce.bibtex(submission, [evil])


def python(program: str, *arguments: object, **environment: str) -> tuple[str, str]:
    """Runs a program with the token set and the hub allowed, and gives what it prints."""
    done = subprocess.run(
        [sys.executable, "-c", program, *map(str, arguments)],
        env={**os.environ, "HF_TOKEN": TOKEN, "HF_HUB_OFFLINE": "0", **environment},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert TOKEN not in done.stdout + done.stderr
    return done.stdout, done.stderr


def test_a_run_goes_to_the_hub_as_dataset_and_static_space(run: Path) -> None:
    with serving() as server:
        printed, errors = python(
            PROGRAM, "publish", run, "--to", "hub:me/small", HF_ENDPOINT=server.address
        )
        assert printed.splitlines() == [
            f"Published: {server.address}/datasets/me/small",
            f"Published: {server.address}/spaces/me/small",
        ], errors
        dataset, space = server.repos["dataset", "me/small"], server.repos["space", "me/small"]
    assert [each.get("sdk") for each in server.created] == [None, "static"]
    assert {"submission-small.zip", "leaderboard.csv", "README.md"} <= set(dataset)
    assert {"index.html", "runs/small/index.html", "README.md"} <= set(space)
    assert space["runs/small/submission-small.zip"] == dataset["submission-small.zip"]
    _, head, body = space["README.md"].decode().split("---\n")
    assert yaml.safe_load(head)["sdk"] == "static"
    assert body.strip().startswith("# ")
    assert TOKEN.encode() not in b"".join([*dataset.values(), *space.values()])


PUSH = """
import os, sys
from pathlib import Path
from greaves.base.errors import GreavesError
from greaves.leaderboards.publish.hub import push
for os.environ["HF_ENDPOINT"] in sys.argv[2:]:
    try:
        print(*push("me/small", dataset=Path(sys.argv[1]), space=Path(sys.argv[1])))
    except GreavesError as error:
        print(error)
"""


def test_repositories_that_are_there_are_filled_again(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("one")
    with serving() as server:
        printed, errors = python(PUSH, tmp_path, server.address, server.address)
        assert len(printed.splitlines()) == 2, errors
        assert len(set(printed.splitlines())) == 1
        assert server.repos["dataset", "me/small"] == {"a.txt": b"one"}
        assert len(server.created) == 4


def test_what_the_hub_refuses_is_one_line_without_the_token(tmp_path: Path) -> None:
    with serving(401) as unknown, serving(403) as forbidden, serving(418) as teapot:
        addresses = [each.address for each in (unknown, forbidden, teapot)]
        printed, errors = python(PUSH, tmp_path, *addresses, "http://127.0.0.1:9")
    assert printed.splitlines() == [
        "hub:me/small: the hub does not accept the token in HF_TOKEN; "
        "make a new one with write access",
        "hub:me/small: the token in HF_TOKEN may not write there; make one with write access",
        "hub:me/small: the hub answered with HTTP 418; try again later",
        "hub:me/small: the hub cannot be reached (ConnectError); "
        "check the network and HF_ENDPOINT, and publish again",
    ], errors


def test_offline_mode_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    with pytest.raises(GreavesError, match="HF_HUB_OFFLINE forbids to reach the hub; unset it"):
        hub.push("me/small", dataset=tmp_path, space=tmp_path)


def test_a_token_comes_from_the_environment_alone(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HF_TOKEN", raising=False)
    with pytest.raises(GreavesError, match="no token for the hub; set HF_TOKEN"):
        publish(run, to="hub:me/small")


@pytest.mark.parametrize("place", ["hub:", "hub:me", "hub:me/a/b", "hub:../x", "hub:me/é"])
def test_a_place_that_is_none_is_refused(run: Path, place: str) -> None:
    with pytest.raises(GreavesError, match="is no place on the hub; hub:USER/NAME"):
        publish(run, to=place)


def test_json_says_where(run: Path, tmp_path: Path) -> None:
    said = json.loads(invoke(run, "--to", tmp_path / "site", "--json").stdout)
    assert said["published"] == [str(tmp_path / "site/index.html")]
