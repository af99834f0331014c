"""`greaves fetch`: a run from behind a URL, as a folder that every other command reads."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from typer import Argument, Option

from greaves.base.errors import StoreError
from greaves.run.cluster.remote import fetch as copy
from greaves.run.cluster.remote import is_url


def fetch(
    url: Annotated[str, Argument(help="URL of a run: s3://, gs://, ...")],
    to: Annotated[
        Path | None, Option(help="Folder to copy it to. Default: runs/<last part of the URL>.")
    ] = None,
) -> None:
    """Copy a run from a URL to a folder, or bring an earlier copy up to date."""
    if not is_url(url):
        raise StoreError("not a URL", where=url, do="a folder needs no copy")
    folder = to or Path("runs") / url.rstrip("/").rpartition("/")[2]
    copy(url, folder)
    typer.echo(f"Written: {folder}")
    typer.echo(f"next: greaves leaderboard {folder}")
