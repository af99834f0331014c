"""The static site of runs, and the README files of what goes to the hub.

The pages are templates: plain HTML with its style inside; no script, nothing fetched.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from pydantic import TypeAdapter, ValidationError

from greaves.base.errors import GreavesError
from greaves.base.run_folder import RunFolder
from greaves.base.store import write_json, write_text
from greaves.leaderboards.board.notes import notes
from greaves.leaderboards.board.row import Row
from greaves.leaderboards.publish import reproduce
from greaves.leaderboards.show import render, wide
from greaves.leaderboards.submission.contents import Submission, read_submission
from greaves.leaderboards.submission.pack import write_submission

FORMAT = 1
MARK = "greaves-site.json"
"""The file that makes a folder a site of ours: format, and the runs with their authors."""

_PAGES = Environment(
    loader=PackageLoader("greaves.leaderboards.publish"),
    autoescape=select_autoescape(["html"]),
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
)
_RUNS: TypeAdapter[dict[str, list[str]]] = TypeAdapter(dict[str, list[str]])


class Published(NamedTuple):
    """One run of a site.

    Attributes:
        folder: of its files, relative to the index.
        submission: what was packed.
        rows: its leaderboard.
        notes: what a reader must be told beside it.
    """

    folder: str
    submission: Submission
    rows: Sequence[Row]
    notes: Sequence[str]
    authors: Sequence[str]


def publish_to(folder: Path, run: RunFolder, name: str, authors: Sequence[str]) -> Submission:
    """Write a run into a site, which is made if it is not there; other runs of it stay.

    Publishing the same run again gives the same files.

    Args:
        folder: a site of ours, an empty folder, or nothing yet.
        name: what the run is called; its folder and submission get that name.

    Raises:
        GreavesError: the folder holds something else, or the run cannot be submitted.
    """
    runs = site_runs(folder)
    _write_mark(folder, runs)  # first: a folder that we began is ours, whatever happens next
    place = folder / "runs" / name
    submission = write_submission(run, name, place / f"submission-{name}.zip")
    _write_run(place, run, submission, authors)
    runs[name] = list(authors)
    _write_mark(folder, runs)
    write_text(folder / ".nojekyll", "")
    write_text(folder / "index.html", index_page(_published(folder, runs)))
    return submission


def site_runs(folder: Path) -> dict[str, list[str]]:
    """Runs of a site -> their authors; none if there is nothing there yet.

    Raises:
        GreavesError: the folder is not a site of ours and not empty.
    """
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return {}
    try:
        content: dict[str, Any] = json.loads((folder / MARK).read_text(encoding="utf-8"))
        if content.get("format") != FORMAT:
            raise ValueError
        return _RUNS.validate_python(content["runs"])
    except (OSError, ValueError, KeyError, AttributeError, ValidationError):
        what = "holds something that `greaves publish` did not make; nothing was changed"
        raise GreavesError(what, where=str(folder), do="give --to a new or empty folder") from None


def _write_mark(folder: Path, runs: dict[str, list[str]]) -> None:
    write_json(folder / MARK, {"format": FORMAT, "runs": dict(sorted(runs.items()))})


def _write_run(place: Path, run: RunFolder, submission: Submission, authors: Sequence[str]) -> None:
    from greaves.leaderboards.page import write_page  # seconds

    manifest, verdicts = submission.manifest, submission.verdicts()
    title, rows = reproduce.title(manifest), submission.table()
    page = render.markdown(rows, title=title, notes=notes(verdicts), hashes=manifest.hashes)
    render.write(place, page, render.as_plain(rows))
    write_text(place / "recipe.yaml", reproduce.recipe(manifest))
    write_text(place / "versions.txt", reproduce.constraints(manifest))
    write_text(place / "CITATION.cff", reproduce.citation_cff(submission, authors))
    write_page(run, place / "index.html")


def _published(folder: Path, runs: dict[str, list[str]]) -> list[Published]:
    """Every run of the site, read from its submission: the index says what the downloads hold."""
    found = []
    for name, authors in sorted(runs.items()):
        submission = read_submission(folder / "runs" / name / f"submission-{name}.zip")
        remarks = notes(submission.verdicts())
        found.append(Published(f"runs/{name}", submission, submission.table(), remarks, authors))
    return found


def index_page(runs: Sequence[Published]) -> str:
    """The index of a site: every run with its table, downloads, citation and commands."""
    known = {"wide": wide, "reproduce": reproduce, "downloads": _downloads}
    return _PAGES.get_template("index.html").render(runs=runs, **known)


def _downloads(name: str) -> dict[str, str]:
    every = "records, recipe, hashes and versions; every number can be computed again from it"
    return {
        f"submission-{name}.zip": every,
        "leaderboard.md": "the table as Markdown",
        "leaderboard.csv": "the rows as CSV",
        "leaderboard.json": "the rows as JSON",
        "recipe.yaml": "what was run",
        "versions.txt": "package versions, for pip",
        "CITATION.cff": "citation",
    }


def space_card(submission: Submission) -> str:
    """README of the static Space: a head of YAML fields for the hub, then Markdown."""
    name, title = f"Greaves {submission.manifest.name}", reproduce.title(submission.manifest)
    head = {"title": name, "sdk": "static", "app_file": "index.html", "pinned": False}
    return f"---\n{yaml.safe_dump(head, sort_keys=False)}---\n\n# {render.escaped(title)}\n"


def dataset_card(submission: Submission, repo: str, authors: Sequence[str]) -> str:
    """README of the dataset: what it holds, how to check it, how to repeat and cite it."""
    title = reproduce.title(submission.manifest)
    tags = ["audio", "safety", "leaderboard", "greaves"]
    return _PAGES.get_template("dataset.md").render(
        head=yaml.safe_dump({"pretty_name": title, "tags": tags, "viewer": False}, sort_keys=False),
        title=render.escaped(title),
        repo=repo,
        name=submission.manifest.name,
        commands="\n".join(reproduce.commands(submission.manifest)),
        citation=reproduce.bibtex(submission, authors).rstrip("\n"),
    )
