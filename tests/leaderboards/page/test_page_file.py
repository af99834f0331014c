"""The page as a file: what is in it, escaped how, and what it may fetch. No browser needed."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import typer
from hostile_run import CLIP, HOSTILE, METHOD, QUESTIONS, SAMPLES, write_run
from typer.testing import CliRunner

from greaves.base.errors import GreavesError
from greaves.base.run_folder import RunFolder
from greaves.leaderboards.commands.page import page as command
from greaves.leaderboards.page import write_page
from greaves.leaderboards.page.html import as_json_script


class Page(HTMLParser):
    """A page as a browser would split it: scripts with their attributes and content, tags."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.content: dict[int, str] = {}
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        self.tags.append((f"/{tag}", {}))

    def handle_data(self, data: str) -> None:
        place = len(self.tags) - 1
        self.content[place] = self.content.get(place, "") + data

    def of(self, tag: str) -> list[tuple[dict[str, str | None], str]]:
        return [
            (attributes, self.content.get(place, ""))
            for place, (name, attributes) in enumerate(self.tags)
            if name == tag
        ]

    def json(self, identity: str) -> Any:
        return next(
            json.loads(text) for found, text in self.of("script") if found.get("id") == identity
        )

    def policy(self) -> dict[str, str]:
        meta = [found for found, _ in self.of("meta") if "http-equiv" in found]
        return dict(part.strip().split(" ", 1) for part in str(meta[0]["content"]).split(";"))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    return write_run(tmp_path_factory.mktemp("run"))


@pytest.fixture(scope="module")
def written(run: RunFolder) -> Page:
    return Page(write_page(run, run.path / "page.html"))


def test_no_text_of_the_run_becomes_markup(written: Page) -> None:
    names = [name for name, _ in written.tags]
    assert names.count("script") == 4
    assert "img" not in names
    assert not [key for _, found in written.tags for key in found if key.startswith("on")]


def test_every_response_comes_back_from_the_page_as_it_was(written: Page) -> None:
    read = written.json("transcript-data")
    group = next(
        one for one in read["groups"] if (one["method"], one["task"]) == (METHOD, "aiah-text-only")
    )
    assert len(group["items"]) == QUESTIONS
    said = [read["texts"][one[2]] for _, answers in group["items"] for one in answers]
    assert said == list(HOSTILE) * QUESTIONS
    assert [one[3] for _, answers in group["items"][:1] for one in answers] == [0, 1, 0, 0, 0]
    judges = {read["texts"][judge] for judge, *_ in group["items"][0][1][0][4]}
    assert judges == {"rules@1", "other@2"}


def test_json_in_the_page_holds_nothing_that_ends_or_breaks_a_script() -> None:
    hostile = "<!-- </script> & \u2028\u2029 \ud800 \x00"
    text = as_json_script({"a": hostile})
    assert not set("<>&\u2028\u2029\x00") & set(text)
    text.encode()
    assert json.loads(text) == {"a": hostile}


def test_policy_allows_the_two_scripts_by_hash_and_no_network(written: Page) -> None:
    policy = written.policy()
    scripts = [text for found, text in written.of("script") if "type" not in found]
    hashes = [
        f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
        for text in scripts
    ]
    assert policy["default-src"] == "'none'"
    assert policy["script-src"].split() == hashes
    assert policy["media-src"] == policy["img-src"] == "data:"
    assert "unsafe" not in " ".join(policy.values())


def test_nothing_refers_to_another_place(written: Page) -> None:
    links = [
        value
        for _, found in written.tags
        for name, value in found.items()
        if name in ("src", "href", "srcset", "action", "data")
    ]
    assert links == ["data:,"]
    assert "url(" not in written.of("style")[0][1]


def test_two_judges_of_one_task_never_share_a_column(written: Page) -> None:
    data = written.json("page-data")
    found = {(one["metric"], one["task"], one["judge"]) for one in data["columns"]}
    assert {("asr", "aiah-text-only", "rules@1"), ("asr", "aiah-text-only", "other@2")} <= found
    assert len(found) == len(data["columns"])


def test_numbers_are_those_of_the_leaderboard(written: Page) -> None:
    data = written.json("page-data")
    place = next(
        place
        for place, one in enumerate(data["columns"])
        if (one["metric"], one["task"], one["judge"]) == ("asr", "aiah-audio-text", "rules@1")
    )
    values = {line["method"]: line["cells"][place]["value"] for line in data["lines"]}
    assert values == {"vanilla": 45.0, "rrs": 5.0, METHOD: 100.0}


def test_categories_weigh_every_question_alike(written: Page) -> None:
    cells = written.json("page-data")["categories"]
    found = {
        one["category"]: (one["value"], one["n_questions"])
        for one in cells
        if (one["method"], one["task"]) == ("vanilla", "aiah-audio-text")
    }
    # questions 0-8 of 20 are harmful in all samples; even ones are theft
    assert found == {"theft": (50.0, 10), "<s>damage</s>": (40.0, 10)}


def test_clips_are_embedded_once(written: Page) -> None:
    clips = written.json("transcript-data")["clips"]
    encoded = base64.b64encode(CLIP.read_bytes()).decode()
    assert clips == [f"data:audio/ogg;base64,{encoded}"]


def test_clips_can_lie_beside_the_page(run: RunFolder, tmp_path: Path) -> None:
    target = write_page(run, tmp_path / "a" / "p.html", assets_dir=tmp_path / "a" / "my clips")
    found = Page(target)
    (source,) = found.json("transcript-data")["clips"]
    assert re.fullmatch(r"my%20clips/[0-9a-f]{16}\.ogg", source)
    copied = target.parent / source.replace("%20", " ")
    assert copied.read_bytes() == CLIP.read_bytes()
    assert found.policy()["media-src"] == "'self' file:"


def test_a_clip_that_is_not_audio_stays_out(tmp_path: Path) -> None:
    secret = tmp_path / "secret.ogg"
    secret.write_text("a private key")
    run = write_run(tmp_path / "run", clip=secret)
    assert Page(write_page(run, tmp_path / "p.html")).json("transcript-data")["clips"] == []


def test_command_writes_the_page_and_says_where(run: RunFolder, tmp_path: Path) -> None:
    app = typer.Typer()
    app.command()(command)
    target, plot = tmp_path / "out.html", tmp_path / "plot.svg"
    options = ["--out", str(target), "--no-clips", "--plot", str(plot)]
    result = CliRunner().invoke(app, [str(run.path), *options])
    assert result.exit_code == 0, result.output
    assert f"Written: {target}" in result.output
    assert f"Written: {plot}" in result.output
    assert plot.read_text().startswith("<svg")
    transcripts = Page(target).json("transcript-data")
    assert transcripts["clips"] == []
    assert len(transcripts["groups"][0]["items"][0][1]) == SAMPLES


def test_a_run_without_verdicts_has_no_page(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    for path in run.path.rglob("verdicts.*"):
        path.unlink()
    with pytest.raises(GreavesError, match="no verdicts yet"):
        write_page(run, tmp_path / "p.html")
