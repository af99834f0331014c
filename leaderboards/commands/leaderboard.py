"""`greaves leaderboard`: a run folder's verdicts as a table."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from greaves.base.errors import GreavesError
from greaves.base.run_folder import RunFolder
from greaves.base.store import write_text
from greaves.leaderboards.board import categories
from greaves.leaderboards.board.notes import notes_on, stress_notes
from greaves.leaderboards.board.table import board_of, detectable_differences
from greaves.leaderboards.board.text_rows import text_notes, text_rows
from greaves.leaderboards.compare import beside
from greaves.leaderboards.figures.options import RunPath
from greaves.leaderboards.read.run_slices import shown_verdicts, slices_of
from greaves.leaderboards.show import render, terminal
from greaves.leaderboards.show.latex import latex


def leaderboard(
    run: RunPath,
    json_output: Annotated[
        bool, typer.Option("--json", help="Print the rows as JSON and nothing else.")
    ] = False,
    out_dir: Annotated[
        Path | None,
        typer.Option(
            help="Where to write leaderboard.md, .csv, .json and .tex; the run folder if unset."
        ),
    ] = None,
    judge: Annotated[
        str | None, typer.Option(help="Only the verdicts of this judge (name or name@version).")
    ] = None,
    published: Annotated[
        bool, typer.Option("--published", help="Set the run beside published tables instead.")
    ] = False,
    by_category: Annotated[
        bool, typer.Option("--by-category", help="Show each task by category instead.")
    ] = False,
    table: Annotated[
        list[str] | None,
        typer.Option(help="Only this published table (2, 3, 4 or aiah); repeatable."),
    ] = None,
) -> None:
    """Compare the methods of a run, with 95 % confidence intervals."""
    folder = RunFolder.open(run)
    if by_category:
        _show_categories(folder, judge, out_dir or run, json_output)
        return
    facts = folder.facts()
    slices = slices_of(folder, judge)
    rows, tests = board_of(slices, label=facts.label)
    rows += text_rows(folder, label=facts.label)
    target = out_dir or run
    if published or table:
        tables = beside.beside(rows, _kept(folder), names=table or ())
        file = target / "leaderboard.published.md"
        write_text(file, beside.markdown(tables, label=facts.label))
        if json_output:
            plain = render.rounded(beside.as_plain(tables))
            typer.echo(json.dumps(plain, indent=1, allow_nan=False))
        else:
            beside.show(tables, terminal.console(), label=facts.label)
            typer.echo(f"Written: {file}")
        return
    remarks = [*_outdated(folder), *_second_opinions(folder, judge), *notes_on(slices)]
    remarks += [*detectable_differences(tests)]
    remarks += [*stress_notes(cell.facts() for cell in folder.cells()), *text_notes(folder)]
    title = f"Leaderboard: {facts.name}"
    page = render.markdown(rows, title=title, notes=remarks, hashes=facts.hashes)
    plain = render.as_plain(rows)
    render.write(target, page, plain)
    write_text(target / "leaderboard.tex", latex(rows, title=title))
    write_text(target / "leaderboard.tests.csv", render.tests_as_csv(tests))
    if json_output:
        typer.echo(render.as_json(plain), nl=False)
    else:
        terminal.show(rows, terminal.console(), notes=remarks)
        typer.echo(f"Written: {target / 'leaderboard'}.md, .csv, .json, .tex, .tests.csv")


def _show_categories(run: RunFolder, judge: str | None, target: Path, as_json: bool) -> None:
    rows = categories.by_category(shown_verdicts(run, judge))
    if not rows:
        known = ", ".join(sorted({verdict.judge for verdict in run.verdicts()})) or "none"
        what = f"no task with several categories was judged (judges: {known})"
        raise GreavesError(what, where=str(run.path))
    write_text(target / "leaderboard.categories.csv", categories.as_csv(rows))
    if as_json:
        plain = [render.rounded(row.model_dump()) for row in rows]
        typer.echo(json.dumps(plain, indent=1, allow_nan=False))
    else:
        terminal.show_categories(rows, terminal.console())
        typer.echo(f"Written: {target / 'leaderboard.categories.csv'}")


def _second_opinions(folder: RunFolder, judge: str | None) -> list[str]:
    names = sorted(folder.second_opinions()) if judge is None else []
    return [f"second opinions are not shown: {', '.join(names)}; see --judge"] if names else []


def _outdated(folder: RunFolder) -> list[str]:
    why = "it answered an earlier version of the recipe or its data"
    do = "bring it up to date with: greaves run"
    return [f"{cell} is left out: {why}; {do}" for cell in folder.outdated()]


def _kept(folder: RunFolder) -> list[beside.Kept]:
    """The RRS cells of a run and the share of safety features each keeps; seeds count once."""
    facts = [cell.facts() for cell in folder.cells()]
    return list(
        dict.fromkeys(
            beside.Kept(one["model"], one["method"], one["config"].get("top_percent"))
            for one in facts
            if one.get("registered_method") == "rrs"
        )
    )
