"""The static site in a folder: an index, a folder a run, and the file that says it is ours."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from greaves.base.errors import GreavesError
from greaves.base.run_folder import RunFolder
from greaves.base.store import write_json, write_text
from greaves.leaderboards.board.notes import notes
from greaves.leaderboards.publish import reproduce
from greaves.leaderboards.publish.index_html import Published, index_page
from greaves.leaderboards.show import render
from greaves.leaderboards.submission.contents import Submission, read_submission
from greaves.leaderboards.submission.write import write_submission

FORMAT = 1
MARK = "greaves-site.json"
"""The file that makes a folder a site of ours: format, and the runs with their authors."""

_RUNS: TypeAdapter[dict[str, list[str]]] = TypeAdapter(dict[str, list[str]])


def publish_to(folder: Path, run: RunFolder, name: str, authors: Sequence[str]) -> Submission:
    """Write a run into a site, which is made if it is not there; other runs of it stay.

    Publishing the same run again gives the same files.

    Args:
        folder: a site of ours, an empty folder, or nothing yet.
        run: a finished run.
        name: what the run is called; its folder and submission get that name.
        authors: for the citation.

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
        GreavesError: the folder is no site of ours and not empty.
    """
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return {}
    try:
        content: dict[str, Any] = json.loads((folder / MARK).read_text(encoding="utf-8"))
        if content.get("format") != FORMAT:
            raise ValueError
        return _RUNS.validate_python(content["runs"])
    except (OSError, ValueError, KeyError, AttributeError, ValidationError):
        raise GreavesError(
            "holds something that `greaves publish` did not make; nothing was changed",
            where=str(folder),
            do="give --to a new or empty folder",
        ) from None


def _write_mark(folder: Path, runs: dict[str, list[str]]) -> None:
    write_json(folder / MARK, {"format": FORMAT, "runs": dict(sorted(runs.items()))})


def _write_run(place: Path, run: RunFolder, submission: Submission, authors: Sequence[str]) -> None:
    from greaves.leaderboards.page import write_page  # seconds

    manifest, verdicts = submission.manifest, submission.verdicts()
    rows = submission.table()
    page = render.markdown(
        rows, title=reproduce.title(manifest), notes=notes(verdicts), hashes=manifest.hashes
    )
    write_text(place / "leaderboard.md", page)
    write_text(place / "leaderboard.csv", render.as_csv(rows))
    write_text(place / "leaderboard.json", render.as_json(rows))
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
