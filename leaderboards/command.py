"""`greaves leaderboard`: a run folder's verdicts as a table."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from greaves.errors import GreavesError
from greaves.leaderboards import render, terminal
from greaves.leaderboards.notes import notes
from greaves.leaderboards.table import leaderboard as rows_of
from greaves.records import Verdict
from greaves.run_folder import RunFolder
from greaves.store import write_text


def leaderboard(
    run: Annotated[Path, typer.Argument(help="The run folder, as `greaves run` left it.")],
    json_output: Annotated[
        bool, typer.Option("--json", help="Print the rows as JSON and nothing else.")
    ] = False,
    out_dir: Annotated[
        Path | None,
        typer.Option(
            help="Where to write leaderboard.md, .csv and .json; the run folder if unset."
        ),
    ] = None,
    judge: Annotated[
        str | None, typer.Option(help="Only the verdicts of this judge (name or name@version).")
    ] = None,
) -> None:
    """Compare the methods of a run, with 95 % confidence intervals."""
    folder = RunFolder.open(run)
    facts = folder.facts()
    verdicts = _of_judge(folder.verdicts(), judge, run)
    rows, remarks = rows_of(verdicts, label=facts.label), notes(verdicts)
    page = render.markdown(
        rows, title=f"Leaderboard: {facts.name}", notes=remarks, hashes=facts.hashes
    )
    target = out_dir or run
    write_text(target / "leaderboard.md", page)
    write_text(target / "leaderboard.csv", render.as_csv(rows))
    write_text(target / "leaderboard.json", render.as_json(rows))
    if json_output:
        typer.echo(render.as_json(rows), nl=False)
    else:
        terminal.show(rows, terminal.console(), notes=remarks)
        typer.echo(f"Written: {target / 'leaderboard'}.md, .csv, .json")


def _of_judge(verdicts: list[Verdict], judge: str | None, run: Path) -> list[Verdict]:
    """The verdicts of one judge, or of all.

    Raises:
        GreavesError: there are no verdicts, or none of that judge.
    """
    if not verdicts:
        raise GreavesError(
            "the run has no verdicts yet", where=str(run), do="answer and judge first: greaves run"
        )
    known = sorted({verdict.judge for verdict in verdicts})
    chosen = {name for name in known if judge in (None, name, name.partition("@")[0])}
    if not chosen:
        raise GreavesError(
            f"no verdicts by judge {judge!r}", where=str(run), do=f"judges: {', '.join(known)}"
        )
    return [verdict for verdict in verdicts if verdict.judge in chosen]
