"""`greaves publish`."""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from greaves.base.run_folder import RunFolder
from greaves.base.store import write_text
from greaves.leaderboards.commands.submission import told
from greaves.leaderboards.publish import hub


def publish(
    run: Annotated[Path, typer.Argument(help="A finished run folder.")],
    to: Annotated[str, typer.Option(help="A folder for the site, or hub:USER/NAME.")],
    name: Annotated[
        str, typer.Option(help="What the site calls the run; the recipe's name if unset.")
    ] = "",
    author: Annotated[list[str] | None, typer.Option(help="Whom to cite; repeatable.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON and nothing else.")] = False,
) -> None:
    """Make a static site of a run, or push it to the Hugging Face hub."""
    folder = RunFolder.open(run)
    name = name or folder.facts().name
    if to.startswith("hub:"):
        written = _to_hub(hub.repo_of(to), folder, name, author or [])
    else:
        from greaves.leaderboards.publish.site import publish_to

        with told():
            publish_to(Path(to), folder, name, author or [])
        written = [str(Path(to) / "index.html")]
    if as_json:
        typer.echo(json.dumps({"run": str(run), "name": name, "published": written}))
    else:
        typer.echo("\n".join(f"Published: {each}" for each in written))


def _to_hub(repo: str, run: RunFolder, name: str, authors: list[str]) -> list[str]:
    """Make the site in a temporary folder, then push it and what can be downloaded from it."""
    from greaves.leaderboards.publish import site

    hub.token()  # told before the work, not after
    with tempfile.TemporaryDirectory(prefix="greaves-publish-") as work:
        space, dataset = Path(work) / "space", Path(work) / "dataset"
        with told():
            submission = site.publish_to(space, run, name, authors)
        shutil.copytree(space / "runs" / name, dataset, ignore=shutil.ignore_patterns("index.html"))
        write_text(space / "README.md", site.space_card(submission))
        write_text(dataset / "README.md", site.dataset_card(submission, repo, authors))
        return hub.push(repo, dataset=dataset, space=space)
