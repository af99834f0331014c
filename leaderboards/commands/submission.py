"""`greaves submit`, `greaves validate`, `greaves merge`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from greaves.base.run_folder import RunFolder
from greaves.leaderboards.figures.options import FinishedRun, OnlyJson
from greaves.leaderboards.show import render
from greaves.leaderboards.show.render import printable
from greaves.leaderboards.submission import merge as merging
from greaves.leaderboards.submission.checks import problems
from greaves.leaderboards.submission.contents import Submission, read_submission
from greaves.leaderboards.submission.pack import RefusedError, refuse_broken, write_submission
from greaves.leaderboards.submission.record_checks import installed_rule_judges, judges_of

_LONGEST = 500  # characters of a line about foreign content


def submit(
    run: FinishedRun,
    name: Annotated[
        str, typer.Option(help="What boards call the submission; the run's name if unset.")
    ] = "",
    out: Annotated[
        Path | None, typer.Option(help="File to write; RUN/submission-NAME.zip if unset.")
    ] = None,
    as_json: OnlyJson = False,
) -> None:
    """Pack a run so that anybody can compute its numbers again."""
    folder = RunFolder.open(run)
    name = name or folder.facts().name
    target = out or run / f"submission-{name}.zip"
    with told():
        submission = write_submission(folder, name, target)
    if as_json:
        _print_json({"file": str(target), **_facts(submission)})
    else:
        typer.echo(f"Written: {target} ({_words(submission)})")
        typer.echo(f"next: greaves validate {target}")


def validate(
    file: Annotated[Path, typer.Argument(help="A submission, as `greaves submit` packs it.")],
    as_json: OnlyJson = False,
) -> None:
    """Compute every number of a submission again, and refuse it if anything does not match."""
    submission = read_submission(file)
    if as_json:
        found = problems(submission)
        _print_json({"file": str(file), "valid": not found, "problems": found} | _facts(submission))
        raise typer.Exit(2 if found else 0)
    with told():
        refuse_broken(file, submission)
    typer.echo(f"{file}: valid ({_words(submission)})")


def merge(
    files: Annotated[list[Path], typer.Argument(help="Valid submissions.")],
    out_dir: Annotated[
        Path, typer.Option(help="Where to write leaderboard.md, .csv and .json.")
    ] = Path("merged"),
    as_json: OnlyJson = False,
) -> None:
    """Join submissions into one board; other judges, tasks or questions get tables of their own."""
    submissions = []
    for file in files:
        submission = read_submission(file)
        with told():
            refuse_broken(file, submission)
        submissions.append(submission)
    board = merging.merge(submissions)
    page = merging.markdown(board)
    rows = merging.as_plain(board)
    render.write(out_dir, page, rows)
    if as_json:
        typer.echo(render.as_json(rows), nl=False)
    else:
        typer.echo(page, nl=False)
        typer.echo(f"Written: {out_dir / 'leaderboard'}.md, .csv, .json")


@contextmanager
def told() -> Iterator[None]:
    """Prints what does not match in a refused submission, one line each; stops with status 2."""
    try:
        yield
    except RefusedError as error:
        for line in error.problems:
            text = printable(f"greaves: {error.place}: {line}"[:_LONGEST])
            typer.echo(text, err=True)
        raise typer.Exit(2) from None


def _facts(submission: Submission) -> dict[str, object]:
    manifest = submission.manifest
    return {
        "name": manifest.name,
        "cells": len(manifest.cells),
        "rows": len(submission.rows),
        "judged_again": sorted(installed_rule_judges(judges_of(submission))),
        "dirty": None if manifest.git is None else manifest.git.dirty,
        "sha256": submission.sha256,
    }


def _words(submission: Submission) -> str:
    facts = _facts(submission)
    judges = judges_of(submission)
    taken = sorted(set().union(*judges.values()) - {*installed_rule_judges(judges)})
    words = [f"{facts['cells']} cells", f"{facts['rows']} rows computed again"]
    if taken:
        words.append(f"verdicts taken as they are: {', '.join(map(printable, taken))}")
    if facts["dirty"]:
        words.append("run from a changed checkout")
    return ", ".join(words)


def _print_json(content: object) -> None:
    typer.echo(json.dumps(content, indent=2))
